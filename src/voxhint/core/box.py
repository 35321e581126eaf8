"""Boxes: around a place, around a region, and their corners."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

Window = tuple[slice, slice, slice]


def corners(low: Iterable[Any], high: Iterable[Any]) -> Float64[np.ndarray, "8 3"]:
    """Return the eight corners of a box; the last axis goes from low to high first.

    Args:
        low: Least place along each axis.
        high: Greatest place.
    """
    ends = np.meshgrid(*zip(low, high, strict=True), indexing="ij")
    return np.array(ends, np.float64).reshape(3, 8).T


def window_around(middle: Sequence[Any], size: Sequence[int], shape: Sequence[int]) -> Window:
    """Return a window around a voxel, moved so that it lies inside an image.

    Args:
        middle: Index of the voxel, whole numbers.
        size: Voxels of the window; along axes that the image does not fill it is the image's.
        shape: Voxels of the image.

    Returns:
        A slice for each axis.
    """
    low = [
        int(np.clip(m - s // 2, 0, max(0, n - s)))
        for m, s, n in zip(middle, size, shape, strict=True)
    ]
    i, j, k = (slice(a, min(a + s, n)) for a, s, n in zip(low, size, shape, strict=True))
    return i, j, k


def bounding_box(
    region: Bool[np.ndarray, "i j k"], room: tuple[int, int, int] = (0, 0, 0)
) -> Window:
    """Return the smallest box around a region, and some voxels more to each side.

    Args:
        region: With a voxel at least.
        room: Voxels more along each axis, as far as the image goes.

    Returns:
        A slice for each axis.
    """
    ((i, j, k),) = ndimage.find_objects(region.astype(np.int8))
    i, j, k = (slice(max(0, b.start - r), b.stop + r) for b, r in zip((i, j, k), room, strict=True))
    return i, j, k
