"""Geodesic distance in millimetres: ways from seeds to voxels that edges in the image lengthen."""

import inspect
import itertools
from collections.abc import Sequence

import numba
import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from scipy import ndimage

from voxhint.core import Grid, Volume

FAR_MM = np.float32(1e6)
"""Where no seed is, or no way leads to it."""

_PASSES = 64  # sweeps of all four directions at most; a way that turns once takes one
_SETTLED = 1e-3  # of the shortest spacing: improvements below it are none
# raster scans whose rows and slices run both ways, so that a way may turn
_DIRECTIONS = ((1, 1, 1), (-1, -1, -1), (1, -1, -1), (-1, 1, 1))


def edge_cost(
    images: Sequence[Volume], near: Bool[np.ndarray, "i j k"], *, blur_mm: float = 0.7
) -> Float32[np.ndarray, "i j k"]:
    """Measure how steep the image is: the slope per millimetre, in typical slopes near the hints.

    Args:
        images: Channels on one grid.
        near: Voxels near hints, whose slopes are the unit: how much of the image lies around them
            changes nothing.
        blur_mm: Standard deviation of the Gaussian that quiets noise before slopes are taken.

    Returns:
        Root mean square over channels of |slope| / median |slope|; about 1 in plain tissue, large
        at edges; free of each image's own scale and offset.
    """
    squares = np.zeros(images[0].grid.shape, np.float32)
    for image in images:
        spacing = image.grid.spacing_mm
        smooth = ndimage.gaussian_filter(image.voxels, blur_mm / spacing)
        slopes = [
            np.gradient(smooth, spacing[axis], axis=axis)
            for axis in range(3)
            if smooth.shape[axis] > 1
        ]
        steep = np.sqrt(sum(s.astype(np.float32) ** 2 for s in slopes))
        uneven = steep[near & (steep > 0)]  # air clipped to one value has no slope, says nothing
        typical = float(np.median(uneven)) if uneven.size else 1.0
        squares += (steep / typical) ** 2
    return np.asarray(np.sqrt(squares / len(images)), np.float32)


def geodesic_mm(
    seeds: Bool[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    edge_weight: float,
) -> Float32[np.ndarray, "i j k"]:
    """Measure the shortest way from the seeds to every voxel, where edges make ways longer.

    A step of length d mm over slope s costs d sqrt(1 + (edge_weight s)^2). With `edge_weight` 0
    this is the distance along the 26-neighbour grid. Raster scans in four directions are repeated
    until no way gets shorter: each costs the same for every voxel, and a few are enough unless
    ways wind.

    Args:
        seeds: Where ways start.
        steep: Slope of the image, from `edge_cost`.
        grid: Gives the spacing.
        edge_weight: How much longer one typical slope makes a millimetre.

    Returns:
        Millimetres (of detour); 1e6 where there is no seed.

    Source:
        Criminisi, Sharp and Blake 2008, "GeoS: Geodesic Image Segmentation", eq. 3, and the raster
        scans of its section 2.2.
    """
    return nearest_mark(seeds.astype(np.int32), steep, grid, edge_weight=edge_weight)[0]


def nearest_mark(
    marks: Int32[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    edge_weight: float,
) -> tuple[Float32[np.ndarray, "i j k"], Int32[np.ndarray, "i j k"]]:
    """Measure the shortest way from any mark to every voxel, and say from which mark it comes.

    Args:
        marks: Numbers from 1 where ways start, 0 elsewhere.
        steep: As for `geodesic_mm`.
        grid: Gives the spacing.
        edge_weight: As for `geodesic_mm`.

    Returns:
        Millimetres as from `geodesic_mm`, and the number of the mark; 0 where no way leads.
    """
    away = np.full(np.array(marks.shape) + 2, FAR_MM, np.float32)  # a rim saves asking for borders
    owner = np.pad(marks, 1)
    if not marks.any():
        return away[1:-1, 1:-1, 1:-1].copy(), marks.copy()
    away[owner > 0] = 0
    cost = np.pad(np.sqrt(1 + (edge_weight * steep) ** 2).astype(np.float32), 1, mode="edge")
    steps, halves = _before(grid)
    least = np.float32(_SETTLED * grid.spacing_mm.min())
    for _ in range(_PASSES):
        gained = [_sweep(away, owner, cost, steps * turn, halves, turn) for turn in _turns()]
        if max(gained) < least:
            break
    inner = (slice(1, -1),) * 3
    return np.ascontiguousarray(away[inner]), np.ascontiguousarray(owner[inner])


def way_to_next(
    away: Float32[np.ndarray, "i j k"],
    owner: Int32[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    edge_weight: float,
) -> Float32[np.ndarray, " mark"]:
    """Measure the shortest way from each mark to another one.

    The way to the nearest other mark crosses the border between what is nearest to the two, so it
    is the least sum of ways over pairs of neighbours on such borders.

    Args:
        away: From `nearest_mark`.
        owner: From `nearest_mark`.
        steep: As for `geodesic_mm`.
        grid: Gives the spacing.
        edge_weight: As for `geodesic_mm`.

    Returns:
        Millimetres for mark 1, 2 and so on; 1e6 for a mark that meets no other.
    """
    found = np.full(int(owner.max()) + 1, FAR_MM, np.float32)
    cost = np.sqrt(1 + (edge_weight * steep) ** 2)
    for axis, spacing in enumerate(grid.spacing_mm):
        low, high = ((slice(None),) * axis + (s,) for s in (slice(None, -1), slice(1, None)))
        border = owner[low] != owner[high]
        ways = away[low] + away[high] + spacing / 2 * (cost[low] + cost[high])
        for side in (low, high):
            np.minimum.at(found, owner[side][border], ways[border].astype(np.float32))
    return found[1:]


def _turns() -> list[Int64[np.ndarray, "3"]]:
    return [np.array(turn, np.int64) for turn in _DIRECTIONS]


def _before(grid: Grid) -> tuple[Int64[np.ndarray, "13 3"], Float32[np.ndarray, " 13"]]:
    """Return the steps to the 13 neighbours that a raster scan met before, and half their mm."""
    steps = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
    lengths = [float(np.linalg.norm(np.array(step) * grid.spacing_mm)) for step in steps]
    return np.array(steps, np.int64), np.array(lengths, np.float32) / np.float32(2)


def _scan(away, owner, cost, steps, halves, turn):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # Shortens ways over one raster scan; the result is the most that one was shortened by.
    shape = away.shape
    gained = np.float32(0)
    for a in range(1, shape[0] - 1):
        i = a if turn[0] > 0 else shape[0] - 1 - a
        for b in range(1, shape[1] - 1):
            j = b if turn[1] > 0 else shape[1] - 1 - b
            for c in range(1, shape[2] - 1):
                k = c if turn[2] > 0 else shape[2] - 1 - c
                found, mark = away[i, j, k], owner[i, j, k]
                for n in range(13):
                    p, q, r = i - steps[n, 0], j - steps[n, 1], k - steps[n, 2]
                    way = away[p, q, r]
                    if way < found:
                        way += halves[n] * (cost[i, j, k] + cost[p, q, r])
                        if way < found:
                            found, mark = way, owner[p, q, r]
                if found < away[i, j, k]:
                    gained = max(gained, away[i, j, k] - found)
                    away[i, j, k], owner[i, j, k] = found, mark
    return gained


# what checks the shapes of arguments while tests run cannot be compiled
_sweep = numba.njit(cache=True)(inspect.unwrap(_scan))
