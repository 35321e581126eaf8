"""Pseudo-modalities: several views of the only channel of a study, for networks that join them."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from voxhint.core.errors import BadRecipeError

_Image = Float32[np.ndarray, "i j k"]
_Millimetres = tuple[float, float, float]

_WINDOWS: Mapping[str, tuple[float, float]] = {
    "soft-tissue": (-160.0, 240.0),
    "wide": (-450.0, 550.0),
}
"""Views of a CT between two HU."""

_VIEWS = ("plain", *_WINDOWS, "gradient", "smooth", "style")
"""plain: the channel itself; style: the same, but training repaints it at every step."""

_EDGE_MM = 1.0  # standard deviation of the Gaussian that a gradient is taken over, at least a voxel
_CONTRAST = 0.3  # difference of neighbours that smoothing takes for an edge; images have std 1
_WANDER = 1.5  # voxels of the finest axis that smoothing reaches, one standard deviation
_STEADY = 0.9  # of the longest step at which diffusion invents no new extreme


def require_views(names: Sequence[str], channels: Sequence[str], hu: Collection[str]) -> None:
    """Refuse views that cannot be made.

    Args:
        names: Of views.
        channels: Of the study.
        hu: Channels measured in HU.

    Raises:
        BadRecipeError: A view is unknown, there are several channels, or windows of no CT.
    """
    strange = [name for name in names if name not in _VIEWS]
    if strange or len(set(names)) < len(names):
        msg = f"pseudo_modalities are '{', '.join(names)}'; name some of {', '.join(_VIEWS)} once"
        raise BadRecipeError(msg)
    if names and len(channels) > 1:
        msg = (
            f"pseudo_modalities are views of an only channel, and the study has {len(channels)}; "
            "leave them out"
        )
        raise BadRecipeError(msg)
    if names and channels[0] not in hu:
        _require_no_window(names, channels[0])


def _require_no_window(names: Sequence[str], channel: str) -> None:
    """Refuse windows of what is no CT.

    Raises:
        BadRecipeError: There is one.
    """
    windows = [name for name in names if name in _WINDOWS]
    if windows:
        others = ", ".join(name for name in _VIEWS if name not in _WINDOWS)
        msg = (
            f"pseudo_modalities {', '.join(windows)} are windows in HU, and channel "
            f"'{channel}' is no CT; use {others}"
        )
        raise BadRecipeError(msg)


def view(name: str, raw: _Image, plain: _Image, spacing_mm: _Millimetres) -> _Image:
    """Return one view of an image.

    Args:
        name: One of `_VIEWS`.
        raw: Voxels in their own unit.
        plain: The same, clipped, centred and scaled as the plan says.
        spacing_mm: Distance of voxel centres.

    Returns:
        About as large in its values as `plain`, on the same grid.
    """
    match name:
        case "gradient":
            return _gradient(plain, spacing_mm)
        case "smooth":
            return _smooth(plain, spacing_mm)
        case "plain" | "style":
            return plain
        case _:
            return _window(raw, *_WINDOWS[name])


def _window(raw: _Image, low: float, high: float) -> _Image:
    """Return values clipped to a window and scaled from -2 to 2."""
    return np.asarray(4 * (np.clip(raw, low, high) - low) / (high - low) - 2, np.float32)


def _gradient(plain: _Image, spacing_mm: _Millimetres) -> _Image:
    """Return how steep an image is for each millimetre, centred and scaled by its own statistics.

    A constant image gives 0.
    """
    sigma = [max(1.0, _EDGE_MM / step) for step in spacing_mm]
    parts = []
    for axis, step in enumerate(spacing_mm):
        order = [int(axis == other) for other in range(3)]
        found = ndimage.gaussian_filter(plain, sigma, order=order, mode="nearest")
        parts.append(found / step)
    steep = np.sqrt(np.sum(np.square(parts), 0))
    return np.asarray((steep - steep.mean()) / max(float(steep.std()), 1e-3), np.float32)


def _smooth(plain: _Image, spacing_mm: _Millimetres) -> _Image:
    """Return an image smoothed, but not over edges.

    Diffusion between neighbours that slows down where they differ; slices far apart exchange
    less. The mean stays, and no value leaves the range of the image.

    Source:
        Perona and Malik 1990, "Scale-space and edge detection using anisotropic diffusion",
        equation 7 with the second conductance.
    """
    ease = [1 / step**2 for step in spacing_mm]
    time = (_WANDER * min(spacing_mm)) ** 2 / 2
    steps = math.ceil(time * 2 * sum(ease) / _STEADY)
    found = plain.astype(np.float32)
    for _ in range(steps):
        change = np.zeros_like(found)
        for axis, rate in enumerate(ease):
            difference = np.diff(found, axis=axis)
            flow = (rate * time / steps) * difference / (1 + (difference / _CONTRAST) ** 2)
            lead = [(0, 0)] * 3
            lead[axis] = (1, 1)
            change += np.diff(np.pad(flow, lead), axis=axis)
        found += change
    return found
