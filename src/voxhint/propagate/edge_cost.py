"""What edges in an image add to ways over it: slopes, and what a millimetre costs for them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64

from voxhint.core import Volume
from voxhint.propagate.compiled import compiled
from voxhint.propagate.gaussian_blur import blurred


def edge_cost(
    images: Sequence[Volume],
    near: Bool[np.ndarray, "i j k"],
    *,
    blur_mm: float = 0.7,
    memory: Float32[np.ndarray, "i j k"] | None = None,
) -> Float32[np.ndarray, "i j k"]:
    """Measure how steep the image is: the slope per millimetre, in typical slopes near the hints.

    Args:
        images: Channels on one grid.
        near: Voxels near hints, whose slopes are the unit: how much of the image lies around them
            changes nothing.
        blur_mm: Standard deviation of the Gaussian that quiets noise before slopes are taken.
        memory: Is written over: new memory takes time in a large image. None takes new memory.

    Returns:
        Root mean square over channels of |slope| / median |slope|; about 1 in plain tissue, large
        at edges; free of each image's own scale and offset.
    """
    squares = _squares(images[0], near, blur_mm, memory)
    for image in images[1:]:
        squares += _squares(image, near, blur_mm, memory)
    for plane in squares:  # which stays in the cache
        np.sqrt(np.divide(plane, np.float32(len(images)), out=plane), out=plane)
    return squares


def _squares(
    image: Volume,
    near: Bool[np.ndarray, "i j k"],
    blur_mm: float,
    memory: Float32[np.ndarray, "i j k"] | None,
) -> Float32[np.ndarray, "i j k"]:
    """Return the squares of slopes, in typical slopes near the hints."""
    spacing = image.grid.spacing_mm
    steep = slope(blurred(image.voxels, blur_mm / spacing, out=memory), spacing)
    known = steep[near]
    uneven = known[known > 0]  # air clipped to one value has no slope, says nothing
    typical = np.float32(np.median(uneven)) if uneven.size else np.float32(1)
    for plane in steep:
        np.square(np.divide(plane, typical, out=plane), out=plane)
    return steep


def slope(
    smooth: Float32[np.ndarray, "i j k"], spacing_mm: Float64[np.ndarray, "3"]
) -> Float32[np.ndarray, "i j k"]:
    """Return the length of the gradient per millimetre, of a grid's voxels."""
    found = np.empty(smooth.shape, np.float32)
    compiled(_slope)(smooth, spacing_mm.astype(np.float32), found)
    return found


def cost_of_ways(
    steep: Float32[np.ndarray, "i j k"],
    edge_weight: float,
    *,
    out: Float32[np.ndarray, "i j k"] | None = None,
) -> Float32[np.ndarray, "i j k"]:
    """Return what a millimetre costs in each voxel: sqrt(1 + (edge_weight slope)^2).

    Args:
        steep: From `edge_cost`.
        edge_weight: How much longer one typical slope makes a millimetre.
        out: Where to write it, which may be `steep`; a new array if None.
    """
    found = np.empty(steep.shape, np.float32) if out is None else out
    for plane, cost in zip(steep, found, strict=True):  # each stays in the cache
        np.multiply(plane, np.float32(edge_weight), out=cost)
        np.add(np.square(cost, out=cost), 1, out=cost)
        np.sqrt(cost, out=cost)
    return found


def _slope(smooth, spacing, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # Length of the gradient by central differences, one-sided at the rim, in one pass.
    rows, columns, length = smooth.shape
    for i in range(rows):
        i0, i1 = max(i - 1, 0), min(i + 1, rows - 1)
        across = np.float32(1) / (max(i1 - i0, 1) * spacing[0])
        for j in range(columns):
            j0, j1 = max(j - 1, 0), min(j + 1, columns - 1)
            beside = np.float32(1) / (max(j1 - j0, 1) * spacing[1])
            low, high, left, right = smooth[i0, j], smooth[i1, j], smooth[i, j0], smooth[i, j1]
            row, steep = smooth[i, j], found[i, j]
            for k in range(length):
                one, two = (high[k] - low[k]) * across, (right[k] - left[k]) * beside
                steep[k] = one * one + two * two
            along = np.float32(0.5) / spacing[2]
            for k in range(1, length - 1):
                one = (row[k + 1] - row[k - 1]) * along
                steep[k] += one * one
            for k in (0, length - 1):
                near, far = max(k - 1, 0), min(k + 1, length - 1)
                one = (row[far] - row[near]) / (max(far - near, 1) * spacing[2])
                steep[k] += one * one
                if length == 1:
                    break
            for k in range(length):
                steep[k] = np.sqrt(steep[k])
