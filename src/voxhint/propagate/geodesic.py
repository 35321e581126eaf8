"""Geodesic distance in millimetres: ways from seeds to voxels that edges in the image lengthen."""

import inspect
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from scipy import ndimage

from voxhint.core import Grid, Volume

FAR_MM = np.float32(1e6)
"""Where no seed is, or no way leads to it."""

_BUCKETS = 2**16  # of waiting voxels, by the length of their way
_RIM = np.float32(0)  # cost of what lies beyond the image: no way leads there


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
        steep = compiled(_slope)(smooth, spacing.astype(np.float32))
        uneven = steep[near & (steep > 0)]  # air clipped to one value has no slope, says nothing
        typical = float(np.median(uneven)) if uneven.size else 1.0
        steep /= np.float32(typical)
        squares += np.square(steep, out=steep)
    squares /= np.float32(len(images))
    return np.sqrt(squares, out=squares)


def geodesic_mm(
    seeds: Bool[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    edge_weight: float,
) -> Float32[np.ndarray, "i j k"]:
    """Measure the shortest way from the seeds to every voxel, where edges make ways longer.

    A step of length d mm over slope s costs d sqrt(1 + (edge_weight s)^2). With `edge_weight` 0
    this is the distance along the 26-neighbour grid. Ways grow from the seeds, the shortest first,
    so that each voxel is looked at about once however much ways wind.

    Args:
        seeds: Where ways start.
        steep: Slope of the image, from `edge_cost`.
        grid: Gives the spacing.
        edge_weight: How much longer one typical slope makes a millimetre.

    Returns:
        Millimetres (of detour); 1e6 where there is no seed.

    Source:
        Criminisi, Sharp and Blake 2008, "GeoS: Geodesic Image Segmentation", eq. 3, along
        ways that grow in the order of Dial 1969, "Algorithm 360: shortest-path forest with
        topological ordering".
    """
    return nearest_mark(seeds.astype(np.int32), steep, grid, edge_weight=edge_weight)[0]


def nearest_mark(
    marks: Int32[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    edge_weight: float,
    limit_mm: float = np.inf,
) -> tuple[Float32[np.ndarray, "i j k"], Int32[np.ndarray, "i j k"]]:
    """Measure the shortest way from any mark to every voxel, and say from which mark it comes.

    Args:
        marks: Numbers from 1 where ways start, 0 elsewhere.
        steep: As for `geodesic_mm`.
        grid: Gives the spacing.
        edge_weight: As for `geodesic_mm`.
        limit_mm: Longer ways are not followed: what they would lead to is as far as can be.

    Returns:
        Millimetres as from `geodesic_mm`, and the number of the mark; 0 where no way leads.
    """
    away = np.full(np.array(marks.shape) + 2, FAR_MM, np.float32)  # a rim saves asking for borders
    owner = np.pad(marks, 1)
    away[owner > 0] = 0
    cost = np.sqrt(1 + (edge_weight * steep) ** 2).astype(np.float32)
    steps, halves = _steps(grid)
    longest = 2 * float(halves.max()) * float(cost.max())
    width = np.float32(max(2 * halves.min(), longest / _BUCKETS))  # no step leads less far
    cost = np.pad(cost, 1, constant_values=_RIM)
    compiled(_grow)(away, owner, cost, steps, halves, width, np.float32(limit_mm))
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


def _steps(grid: Grid) -> tuple[Int64[np.ndarray, "26 3"], Float32[np.ndarray, " 26"]]:
    """Return the steps to the 26 neighbours of a voxel, and half their millimetres."""
    steps = [step for step in itertools.product((-1, 0, 1), repeat=3) if step != (0, 0, 0)]
    lengths = [float(np.linalg.norm(np.array(step) * grid.spacing_mm)) for step in steps]
    return np.array(steps, np.int64), np.array(lengths, np.float32) / np.float32(2)


def _slope(smooth, spacing):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    # Length of the gradient by central differences, one-sided at the rim, in one pass.
    found = np.zeros(smooth.shape, np.float32)
    for i in range(smooth.shape[0]):
        i0, i1 = max(i - 1, 0), min(i + 1, smooth.shape[0] - 1)
        for j in range(smooth.shape[1]):
            j0, j1 = max(j - 1, 0), min(j + 1, smooth.shape[1] - 1)
            for k in range(smooth.shape[2]):
                k0, k1 = max(k - 1, 0), min(k + 1, smooth.shape[2] - 1)
                square = np.float32(0)
                if i1 > i0:
                    square += (
                        (smooth[i1, j, k] - smooth[i0, j, k]) / ((i1 - i0) * spacing[0])
                    ) ** 2
                if j1 > j0:
                    square += (
                        (smooth[i, j1, k] - smooth[i, j0, k]) / ((j1 - j0) * spacing[1])
                    ) ** 2
                if k1 > k0:
                    square += (
                        (smooth[i, j, k1] - smooth[i, j, k0]) / ((k1 - k0) * spacing[2])
                    ) ** 2
                found[i, j, k] = np.sqrt(square)
    return found


def _grow(away, owner, cost, steps, halves, width, limit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0912, PLR0913, PLR0915
    # Voxels wait in buckets of `width` mm, doubly linked; one whose way gets shorter moves.
    # Links are int32: 2^31 voxels would need 40 GiB here.
    hops = (steps[:, 0] * away.shape[1] + steps[:, 1]) * away.shape[2] + steps[:, 2]
    away, owner, cost = away.ravel(), owner.ravel(), cost.ravel()
    count = np.int64(2 * halves.max() * cost.max() / width) + 3
    first = np.full(count, -1, np.int32)
    after, before = np.full(away.size, -1, np.int32), np.full(away.size, -2, np.int32)
    waiting = 0
    for v in range(away.size):
        if owner[v] > 0:
            after[v], before[v] = first[0], -1
            if first[0] >= 0:
                before[first[0]] = v
            first[0] = v
            waiting += 1
    bucket = 0
    while waiting > 0:
        v = first[bucket]
        if v < 0:
            bucket = bucket + 1 if bucket + 1 < count else 0
            continue
        first[bucket] = after[v]
        if after[v] >= 0:
            before[after[v]] = -1
        before[v] = -2  # it waits no more
        waiting -= 1
        for n in range(len(hops)):
            u = v + hops[n]
            way = away[v] + halves[n] * (cost[v] + cost[u])
            if way < away[u] and way <= limit and cost[u] > 0:
                if before[u] == -2:
                    waiting += 1
                else:
                    if before[u] >= 0:
                        after[before[u]] = after[u]
                    else:
                        first[np.int64(away[u] / width) % count] = after[u]
                    if after[u] >= 0:
                        before[after[u]] = before[u]
                away[u], owner[u] = way, owner[v]
                to = np.int64(way / width) % count
                after[u], before[u] = first[to], -1
                if first[to] >= 0:
                    before[first[to]] = u
                first[to] = u


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function, compiled; numba takes a while to load."""
    import numba

    # what checks the shapes of arguments while tests run cannot be compiled
    found: Callable[..., Any] = numba.njit(cache=True)(inspect.unwrap(function))
    return found
