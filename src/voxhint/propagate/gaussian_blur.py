"""Gaussian blur of an image in one pass over its planes, compiled."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from voxhint.propagate.compiled import compiled

_WIDE = 4.0  # standard deviations after which weights are left out


def blurred(
    voxels: Float32[np.ndarray, "i j k"],
    sigma: Sequence[float] | Float64[np.ndarray, "3"],
    *,
    out: Float32[np.ndarray, "i j k"] | None = None,
) -> Float32[np.ndarray, "i j k"]:
    """Return an image blurred as `scipy.ndimage.gaussian_filter` does; it is mirrored at its rim.

    Args:
        voxels: Of any layout in memory.
        sigma: Standard deviation along each axis, in voxels.
        out: Where to write it; a new array if None.
    """
    radii = np.array([int(_WIDE * one + 0.5) for one in sigma], np.int64)
    weights = np.zeros((3, radii.max() + 1), np.float32)
    for own, one, radius in zip(weights, sigma, radii, strict=True):
        away = np.arange(radius + 1)
        bell = np.exp(-0.5 * (away / one) ** 2) if radius else np.ones(1)
        own[: radius + 1] = bell / (2 * bell.sum() - bell[0])
    found = np.empty(voxels.shape, np.float32) if out is None else out
    compiled(_blur)(voxels, weights, radii, found)
    return found


def _blur(voxels, weights, radii, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0912
    # Planes are blurred along j and k first; as many as are mixed along i are kept of them.
    rows, columns, length = voxels.shape
    plane, row = (
        np.empty((columns, length), np.float32),
        np.empty(length + 2 * radii[2], np.float32),
    )
    kept, done = np.empty((2 * radii[0] + 1, columns, length), np.float32), 0
    for i in range(rows):
        while done < min(rows, i + radii[0] + 1):
            for j in range(columns):
                for k in range(length):
                    plane[j, k] = voxels[done, j, k]
            flat = kept[done % len(kept)]
            done += 1
            middle = row[radii[2] : radii[2] + length]
            for j in range(columns):
                own = plane[j]
                for k in range(length):
                    middle[k] = weights[1, 0] * own[k]
                for away in range(1, radii[1] + 1):
                    low, high = (j - away) % (2 * columns), (j + away) % (2 * columns)
                    one = plane[min(low, 2 * columns - 1 - low)]
                    two, weight = plane[min(high, 2 * columns - 1 - high)], weights[1, away]
                    for k in range(length):
                        middle[k] += weight * (one[k] + two[k])
                for away in range(radii[2]):
                    inside = away % (2 * length)
                    inside = min(inside, 2 * length - 1 - inside)
                    row[radii[2] - 1 - away] = middle[inside]
                    row[radii[2] + length + away] = middle[length - 1 - inside]
                mixed = flat[j]
                for k in range(length):
                    mixed[k] = weights[2, 0] * middle[k]
                for away in range(1, radii[2] + 1):
                    one, two = row[radii[2] - away :], row[radii[2] + away :]
                    weight = weights[2, away]
                    for k in range(length):
                        mixed[k] += weight * (one[k] + two[k])
        for j in range(columns):
            mixed, own = found[i, j], kept[i % len(kept), j]
            for k in range(length):
                mixed[k] = weights[0, 0] * own[k]
            for away in range(1, radii[0] + 1):
                low, high = (i - away) % (2 * rows), (i + away) % (2 * rows)
                one = kept[min(low, 2 * rows - 1 - low) % len(kept), j]
                two = kept[min(high, 2 * rows - 1 - high) % len(kept), j]
                weight = weights[0, away]
                for k in range(length):
                    mixed[k] += weight * (one[k] + two[k])
