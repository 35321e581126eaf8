"""Carry an array from one grid to another, through world millimetres."""

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from voxhint.core import Grid

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
    return ndimage.affine_transform(
        array,
        step[:3, :3],
        step[:3, 3],
        output_shape=target.shape,
        order=0 if nearest else 1,
        mode="nearest" if outside is None else "constant",
        cval=outside or 0.0,
    ).astype(np.float32)


def reach_of(source: Grid, target: Grid, planes: slice) -> range:
    """Return the planes of the source that planes of the target are sampled from.

    Args:
        source: Its first axis runs along that of the target.
        target: Where values are wanted.
        planes: Of the target.

    Returns:
        Numbers of planes, one at least.
    """
    if source.same(target, tol_mm=1e-6):
        return range(planes.start, planes.stop)
    step = np.linalg.inv(source.affine) @ target.affine
    first, last = (step[0, 0] * at + step[0, 3] for at in (planes.start, planes.stop - 1))
    rim = int(_TRUNCATE * _sigma(source, target)[0] + 0.5)
    start = int(np.clip(np.floor(first) - rim, 0, source.shape[0] - 1))
    return range(start, int(np.clip(np.floor(last) + 2 + rim, start + 1, source.shape[0])))


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
