"""How a voxel is described to what learns from hints: by its surroundings and its place."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from voxhint.core import Volume
from voxhint.propagate.constraints import Constraints, places_mm

_BLURS_MM = (0.7, 1.5, 3.0, 6.0)
_PLACE_MM = np.float32(100)


def voxel_features(
    images: Mapping[str, Volume], constraints: Constraints, channels: Sequence[str]
) -> Float32[np.ndarray, "i j k feature"]:
    """Describe each voxel by its surroundings, free of each image's scale and offset, and place.

    Args:
        images: Channels by name, on one grid.
        constraints: What the hints of the case prove, on that grid.
        channels: Names of all channels of the study.

    Returns:
        For each channel the intensity, plain and blurred by 0.7 to 6 mm, and the slope; then the
        place to the right, the front and the head: of the middle of all hints of labels, in
        decimetres, and in the image, -1 to 1.
    """
    grid = constraints.grid
    near = constraints.near
    described: list[Float32[np.ndarray, "i j k"]] = []
    for name in channels:
        described += surroundings(images.get(name), near)
    middle = _middle(constraints)
    for axis, place in enumerate(places_mm(grid)):
        described.append((place - np.float32(middle[axis])) / _PLACE_MM)
    turn = grid.turn_to_ras()
    for axis, flipped in zip(turn.axes, turn.flips, strict=True):
        count = grid.shape[axis]
        along = (2 * np.arange(count, dtype=np.float32) + 1) / count - 1
        shape = [count if other == axis else 1 for other in range(3)]
        described.append(np.broadcast_to((-along if flipped else along).reshape(shape), grid.shape))
    return np.stack(described, -1)


def _middle(constraints: Constraints) -> Float64[np.ndarray, "3"]:
    """Return the middle of the marks of labels, each class counted once, in world mm."""
    shown = (constraints.proven[1:] > 0.5) | (constraints.likely[1:] > 0)
    middles = [
        constraints.grid.to_world(np.argwhere(seeds).astype(np.float64)).mean(0)
        for seeds in shown
        if seeds.any()
    ]
    if not middles:
        middles = [constraints.grid.to_world((np.array([constraints.grid.shape]) - 1) / 2)[0]]
    return np.asarray(np.mean(middles, axis=0), np.float64)


def surroundings(
    image: Volume | None, near: Bool[np.ndarray, "i j k"]
) -> list[Float32[np.ndarray, "i j k"]]:
    """Describe each voxel of an image: intensity, plain and blurred by 0.7 to 6 mm, and slope.

    Args:
        image: One channel; None where the case lacks it.
        near: Voxels whose intensities and slopes are the unit.

    Returns:
        Six arrays, free of the image's scale and offset; 0 where the channel is absent.
    """
    if image is None:
        return [np.zeros(near.shape, np.float32)] * (len(_BLURS_MM) + 2)
    spacing = image.grid.spacing_mm
    quiet = ndimage.gaussian_filter(image.voxels, _BLURS_MM[0] / spacing)
    low, high = (float(v) for v in np.percentile(quiet[near] if near.any() else quiet, [1, 99]))
    scaled = np.clip((image.voxels - low) / max(high - low, 1e-6), -0.2, 1.2).astype(np.float32)
    blurred = [ndimage.gaussian_filter(scaled, blur / spacing, truncate=3) for blur in _BLURS_MM]
    steep = ndimage.gaussian_gradient_magnitude(scaled, 1 / spacing, truncate=3)
    typical = float(steep[near].mean()) if near.any() else float(steep.mean())
    slope = steep / max(3 * typical, 1e-6)
    return [*(2 * part - 1 for part in (scaled, *blurred)), slope]
