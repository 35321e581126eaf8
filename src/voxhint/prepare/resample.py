"""Carry an array from one grid to another, through world millimetres."""

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from voxhint.core import Grid

_ALONG = 1e-9  # voxels a voxel: axes that turn by less run along each other
_TOGETHER = 16  # planes
_TRUNCATE = 4.0  # standard deviations of a Gaussian that count


def resample(
    array: Float32[np.ndarray, "i j k"],
    source: Grid,
    target: Grid,
    *,
    nearest: bool = False,
    outside: float | None = None,
) -> Float32[np.ndarray, "a b c"]:
    """Sample an array at the voxel centres of another grid.

    Where the target is coarser the array is smoothed first, so that thin structures thin out
    rather than vanish at random.

    Args:
        array: Values on `source`.
        source: Where the array lies.
        target: Where it is wanted.
        nearest: Take the nearest voxel (ids) instead of the linear mixture (values).
        outside: Value beyond the source; None continues its border.

    Returns:
        Values on `target`; the same array if both grids are one.
    """
    if source.same(target, tol_mm=1e-6):
        return array
    step = np.linalg.inv(source.affine) @ target.affine
    if not nearest:
        array = _smooth(array, source, target)
    apart = np.abs(step[:3, :3] - np.diag(step.diagonal()[:3])).max()
    if not nearest and outside is None and apart < _ALONG:
        return _by_axis(array, step, target.shape)
    return ndimage.affine_transform(
        array,
        step[:3, :3],
        step[:3, 3],
        output_shape=target.shape,
        order=0 if nearest else 1,
        mode="nearest" if outside is None else "constant",
        cval=outside or 0.0,
    ).astype(np.float32)


def _by_axis(
    array: Float32[np.ndarray, "i j k"], step: Float64[np.ndarray, "4 4"], shape: tuple[int, ...]
) -> Float32[np.ndarray, "a b c"]:
    """Return the linear mixture on a grid whose axes run along those of the array.

    Some planes are mixed at a time, one axis after the other: of a fine grid that takes a fifth of
    the time of `ndimage.affine_transform`, or less.
    """
    i, j, k = (step[n, n] * np.arange(shape[n]) + step[n, 3] for n in range(3))
    found = np.empty(shape, np.float32)
    for first in range(0, shape[0], _TOGETHER):
        planes = slice(first, first + _TOGETHER)
        found[planes] = _mixed(_mixed(_mixed(array, 0, i[planes]), 1, j), 2, k)
    return found


def _mixed(
    array: Float32[np.ndarray, "i j k"], axis: int, at: Float64[np.ndarray, " n"]
) -> Float32[np.ndarray, "a b c"]:
    """Return the linear mixture at places along an axis; its ends go on beyond the array."""
    last = array.shape[axis] - 1
    at = np.clip(at, 0, last)
    low = np.minimum(at.astype(np.intp), max(0, last - 1))
    share = (at - low).astype(np.float32).reshape([-1 if n == axis else 1 for n in range(3)])
    below, above = array.take(low, axis), array.take(np.minimum(low + 1, last), axis)
    above -= below
    above *= share
    below += above
    return below


def reach_of(source: Grid, target: Grid, planes: slice, axis: int = 0) -> range:
    """Return the planes of the source that planes of the target are sampled from.

    Args:
        source: Its axes run along those of the target.
        target: Where values are wanted.
        planes: Of the target, across an axis.
        axis: Which one.

    Returns:
        Numbers of planes, one at least.
    """
    if source.same(target, tol_mm=1e-6):
        return range(planes.start, planes.stop)
    step = np.linalg.inv(source.affine) @ target.affine
    first, last = (step[axis, axis] * n + step[axis, 3] for n in (planes.start, planes.stop - 1))
    rim, count = int(_TRUNCATE * _sigma(source, target)[axis] + 0.5), source.shape[axis]
    start = int(np.clip(np.floor(first) - rim, 0, count - 1))
    return range(start, int(np.clip(np.floor(last) + 2 + rim, start + 1, count)))


def _sigma(source: Grid, target: Grid) -> Float64[np.ndarray, "3"]:
    """Return how far an array is blurred along each source axis: by what the target steps over."""
    step = np.abs(np.linalg.inv(source.affine[:3, :3]) @ target.affine[:3, :3])
    stride = step.max(axis=1)  # source voxels that one target step spans
    # a Gaussian with half the full width of the step keeps what the coarse grid can carry
    return np.where(stride > 1.2, 0.5 * np.sqrt(np.maximum(stride**2 - 1, 0)), 0)


def _smooth(
    array: Float32[np.ndarray, "i j k"], source: Grid, target: Grid
) -> Float32[np.ndarray, "i j k"]:
    sigma = _sigma(source, target)
    if not sigma.any():
        return array
    return ndimage.gaussian_filter(array, sigma, mode="nearest", truncate=_TRUNCATE)
