"""Images as the network saw them, and its answer back on the image: numpy and scipy alone.

Goes along with a model that is handed on. `plan` is what lies beside the network as `plan.json`;
affines take indices to millimetres, RAS+ (NIfTI).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
_Affine = NDArray[np.float64]
Shape = tuple[int, int, int]
Image = tuple[Array, _Affine]
"""Voxels (i, j, k), and where they lie."""


def prepare(images: Mapping[str, Image], plan: Mapping[str, Any]) -> Image:
    """Return the images of one case as the network saw those it learnt from.

    Args:
        images: By channel; optional ones may be missing.
        plan: Spacing, intensities and channels.

    Returns:
        An array (channel, i, j, k), 0 where a channel is missing, and where it lies.

    Raises:
        ValueError: An image is not 3D, or holds NaN.
    """
    for channel, (voxels, _) in images.items():
        if voxels.ndim != 3 or not np.isfinite(voxels).all():
            msg = f"channel {channel} has shape {voxels.shape}, or NaN; give one 3D image"
            raise ValueError(msg)
    voxels, affine = next(iter(images.values()))
    shape, grid = _working_grid(voxels.shape, affine, plan)
    stack = np.zeros((len(plan["channels"]), *shape), np.float32)
    for number, channel in enumerate(plan["channels"]):
        if channel in images:
            onto = _resampled(*images[channel], shape, grid)
            stack[number] = _normalised(onto, plan["intensity"].get(channel))
    return stack, grid


def restore(probabilities: Array, affine: _Affine, shape: Shape, onto: _Affine) -> Array:
    """Return probabilities (class, i, j, k) of the prepared image on the grid of the image.

    Args:
        probabilities: What the network says.
        affine: Where they lie.
        shape: Of the first image.
        onto: Where it lies.
    """
    return np.stack([_resampled(one, affine, shape, onto) for one in probabilities])


def _working_grid(shape: Shape, affine: _Affine, plan: Mapping[str, Any]) -> tuple[Shape, _Affine]:
    """Return the grid on which the network works: axes nearest to RAS, at the plan's spacing."""
    old = np.linalg.norm(affine[:3, :3], axis=0)
    axes = _axes(affine[:3, :3] / old, plan["stacked"], _thick(old))
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, axis in enumerate(axes):
        step[axis, new] = np.sign(affine[new, axis]) or 1
        step[axis, 3] = shape[axis] - 1 if step[axis, new] < 0 else 0
    turned, size = affine @ step, np.array([shape[axis] for axis in axes])
    spacing, wanted = old[list(axes)], np.array(plan["spacing_mm"])
    if not np.allclose(spacing, wanted, rtol=0.02):
        count = np.maximum(1, np.round(size * spacing / wanted)).astype(int)
        scale = size / count  # whole voxels, so the edges stay in place
        finer = np.diag([*scale, 1.0])
        finer[:3, 3] = (scale - 1) / 2
        turned, size = turned @ finer, count
    return (int(size[0]), int(size[1]), int(size[2])), turned


def _axes(cosines: _Affine, stacked: int | None, thick: int | None) -> list[int]:
    """Return for each axis of the world the image's axis that is taken for it."""
    left, axes = np.abs(cosines), [0, 0, 0]
    for turn in range(3):
        new, axis = (int(n) for n in np.unravel_index(int(np.argmax(left)), (3, 3)))
        if turn == 0 and stacked is not None and thick is not None:
            new, axis = stacked, thick  # slices far apart lie along one axis in all images
        axes[new] = axis
        left[new, :] = left[:, axis] = -1
    return axes


def _thick(spacing: _Affine) -> int | None:
    """Return the axis whose steps are at least twice as long as all others."""
    axis = int(np.argmax(spacing))
    return axis if spacing[axis] >= 2 * np.delete(spacing, axis).max() else None


def _resampled(voxels: Array, affine: _Affine, shape: Shape, onto: _Affine) -> Array:
    """Return an image on another grid: smoothed where that is coarser, then mixed linearly."""
    step = np.linalg.inv(affine) @ onto
    if voxels.shape == shape and np.allclose(step, np.eye(4), atol=1e-6):
        return voxels
    stride = np.abs(step[:3, :3]).max(axis=1)
    sigma = np.where(stride > 1.2, 0.5 * np.sqrt(np.maximum(stride**2 - 1, 0)), 0)
    if sigma.any():
        voxels = ndimage.gaussian_filter(voxels, sigma, mode="nearest")
    found = ndimage.affine_transform(
        voxels, step[:3, :3], step[:3, 3], output_shape=shape, order=1, mode="nearest"
    )
    return np.asarray(found, np.float32)


def _normalised(voxels: Array, fixed: Mapping[str, float] | None) -> Array:
    """Return voxels clipped, centred and scaled: as planned, or by their own statistics."""
    if fixed is None:
        low, high = np.percentile(voxels, [0.5, 99.5])
        clipped = np.clip(voxels, low, high)
        mean, std = float(clipped.mean()), float(clipped.std())
    else:
        clipped = np.clip(voxels, fixed["low"], fixed["high"])
        mean, std = fixed["mean"], fixed["std"]
    return np.asarray((clipped - mean) / max(std, 1e-6), np.float32)
