"""Boxes of voxels: around a place, and around a region."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

Window = tuple[slice, slice, slice]


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
