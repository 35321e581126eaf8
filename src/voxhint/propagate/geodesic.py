"""Geodesic distance in millimetres: ways from seeds to voxels that edges in the image lengthen."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt16
from scipy import ndimage

from voxhint.core import Grid, Volume
from voxhint.core.box import Window

FAR_MM = np.float32(1e6)
"""Where no seed is, or no way leads to it."""

_UNFILLED, _LED = -1, 2  # sweeps in which a row changed last: it holds nothing yet, the first


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
        steep = slope(smooth, spacing)
        uneven = steep[near & (steep > 0)]  # air clipped to one value has no slope, says nothing
        typical = float(np.median(uneven)) if uneven.size else 1.0
        steep /= np.float32(typical)
        squares += np.square(steep, out=steep)
    squares /= np.float32(len(images))
    return np.sqrt(squares, out=squares)


def slope(
    smooth: Float32[np.ndarray, "i j k"], spacing_mm: Float64[np.ndarray, "3"]
) -> Float32[np.ndarray, "i j k"]:
    """Return the length of the gradient per millimetre, of a grid's voxels."""
    found: Float32[np.ndarray, "i j k"] = compiled(_slope)(smooth, spacing_mm.astype(np.float32))
    return found


def geodesic_mm(
    seeds: Bool[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    edge_weight: float,
) -> Float32[np.ndarray, "i j k"]:
    """Measure the shortest way from the seeds to every voxel, where edges make ways longer.

    A step of length d mm over slope s costs d sqrt(1 + (edge_weight s)^2). With `edge_weight` 0
    this is the distance along the 26-neighbour grid.

    Args:
        seeds: Where ways start.
        steep: Slope of the image, from `edge_cost`.
        grid: Gives the spacing.
        edge_weight: How much longer one typical slope makes a millimetre.

    Returns:
        Millimetres (of detour); 1e6 where there is no seed.

    Source:
        Criminisi, Sharp and Blake 2008, "GeoS: Geodesic Image Segmentation", eq. 3.
    """
    return nearest_mark(seeds.astype(np.int32), cost_of_ways(steep, edge_weight), grid)[0]


def cost_of_ways(
    steep: Float32[np.ndarray, "i j k"], edge_weight: float
) -> Float32[np.ndarray, "i j k"]:
    """Return what a millimetre costs in each voxel: sqrt(1 + (edge_weight slope)^2)."""
    cost = steep * np.float32(edge_weight)
    np.square(cost, out=cost)
    cost += 1
    return np.sqrt(cost, out=cost)


def nearest_mark(
    marks: Int32[np.ndarray, "i j k"],
    cost: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    limit_mm: float | Float32[np.ndarray, "i j k"] = np.inf,
) -> tuple[Float32[np.ndarray, "i j k"], Int32[np.ndarray, "i j k"]]:
    """Measure the shortest way from any mark to every voxel, and say from which mark it comes.

    The image is swept there and back until no way gets shorter. Rows whose neighbours did not
    change are passed over, so that time grows with the voxels that ways lead to.

    Args:
        marks: Numbers from 1 where ways start, 0 elsewhere.
        cost: From `cost_of_ways`.
        grid: Gives the spacing.
        limit_mm: Only shorter ways are followed; may differ from voxel to voxel.

    Returns:
        Millimetres as from `geodesic_mm`, and the number of the mark; 0 where no way leads.

    Source:
        Toivanen 1996, "New geodesic distance transforms for gray-scale images", repeated until
        nothing changes.
    """
    away = np.empty(marks.shape, np.float32)
    np.minimum(limit_mm, FAR_MM, out=away)
    owner = np.ascontiguousarray(marks).copy()
    away[owner > 0] = 0
    latest = np.where(owner.max(2) > 0, _LED, 0).astype(np.int32)
    filled = (np.zeros((0, 0, 0, 1), np.uint16), np.float32(0), FAR_MM)
    starts = (np.zeros((0, 3), np.int64), np.zeros(0, np.int32))
    args = (latest, np.ascontiguousarray(cost), np.zeros(3, np.int64), filled, starts)
    compiled(_sweep)(away, owner, *args, _halves(grid))
    away[owner == 0] = FAR_MM
    return away, owner


def _halves(grid: Grid) -> Float32[np.ndarray, "2 2 2"]:
    """Return half the millimetres of a step, by whether it leads along each axis."""
    halves = np.zeros((2, 2, 2), np.float32)
    for step in np.ndindex(2, 2, 2):
        halves[step] = np.linalg.norm(grid.spacing_mm * step) / 2
    return halves


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """The shortest ways from the marks of one class, in a window of a scan."""

    away: Float32[np.ndarray, "a b c"]
    """Millimetres, where an owner is."""

    owner: Int32[np.ndarray, "a b c"]
    """Number of the nearest mark; 0 where no way leads."""

    led: Bool[np.ndarray, "a b"]
    """Rows that ways lead to: others hold nothing, and take no time to fill or to look at."""

    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class WayFinder:
    """Finds ways of one class after the other over a scan, each in the memory of the last."""

    cost: Float32[np.ndarray, "i j k"]
    """From `cost_of_ways`."""

    grid: Grid
    away: Float32[np.ndarray, " voxels"]
    owner: Int32[np.ndarray, " voxels"]

    @staticmethod
    def over(cost: Float32[np.ndarray, "i j k"], grid: Grid) -> "WayFinder":
        """Return the finder of a scan."""
        return WayFinder(cost, grid, np.empty(cost.size, np.float32), np.empty(cost.size, np.int32))

    def ways(
        self,
        index: Int64[np.ndarray, "n 3"],
        numbers: Int32[np.ndarray, " n"],
        window: Window,
        longest: UInt16[np.ndarray, "i j k kept"],
        step_mm: float,
        limit_mm: float,
    ) -> Ways:
        """Measure ways as `nearest_mark` does; they last until the next are asked for.

        Args:
            index: Where ways start.
            numbers: Of the mark that each of these voxels belongs to, from 1.
            window: Ways do not leave it.
            longest: Of each voxel of the scan, in steps: ways longer than the last are not
                followed there.
            step_mm: Millimetres of a step.
            limit_mm: Longer ways are followed nowhere.

        Returns:
            The ways.
        """
        shape = tuple(along.stop - along.start for along in window)
        size = int(np.prod(shape))
        away, owner = (one[:size].reshape(shape) for one in (self.away, self.owner))
        latest = np.full(shape[:2], _UNFILLED, np.int32)
        corner = np.array([along.start for along in window])
        limits = (longest, np.float32(step_mm), np.float32(limit_mm))
        starts = (index - corner, numbers)
        args = (latest, self.cost, corner, limits, starts)
        compiled(_sweep)(away, owner, *args, _halves(self.grid))
        return Ways(away, owner, latest >= _LED, window)


def way_to_next(
    away: Float32[np.ndarray, "i j k"],
    owner: Int32[np.ndarray, "i j k"],
    cost: Float32[np.ndarray, "i j k"],
    grid: Grid,
    led: Bool[np.ndarray, "i j"] | None = None,
) -> Float32[np.ndarray, " mark"]:
    """Measure the shortest way from each mark to another one.

    The way to the nearest other mark crosses the border between what is nearest to the two, so it
    is the least sum of ways over pairs of neighbours on such borders.

    Args:
        away: From `nearest_mark`.
        owner: From `nearest_mark`.
        cost: As for `nearest_mark`.
        grid: Gives the spacing.
        led: Rows that ways lead to; None for all.

    Returns:
        Millimetres for mark 1, 2 and so on; 1e6 for a mark that meets no other.
    """
    rows = np.ones(away.shape[:2], np.bool_) if led is None else led
    found = np.full(int(owner[rows].max(initial=0)) + 1, FAR_MM, np.float32)
    compiled(_meet)(away, owner, rows, cost, grid.spacing_mm / 2, found)
    return found[1:]


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


def _meet(away, owner, led, cost, halves, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901
    for i in range(away.shape[0]):
        for j in range(away.shape[1]):
            if not led[i, j]:
                continue
            for k in range(away.shape[2]):
                one = owner[i, j, k]
                if one == 0:
                    continue
                for axis in range(3):
                    p, q, r = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                    if p == away.shape[0] or q == away.shape[1] or r == away.shape[2]:
                        continue
                    two = owner[p, q, r] if led[p, q] else 0
                    if two > 0 and two != one:
                        step = np.float32(halves[axis]) * (cost[i, j, k] + cost[p, q, r])
                        way = away[i, j, k] + away[p, q, r] + step
                        found[one] = min(found[one], way)
                        found[two] = min(found[two], way)


def _sweep(away, owner, latest, cost, corner, limits, starts, halves):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0912, PLR0913, PLR0915
    # `latest` is the sweep in which a row changed last. `halves` are half the millimetres of a
    # step by whether it leads along each axis.
    rows, columns, length = away.shape
    (longest, unit, limit), (index, numbers) = limits, starts
    ahead, right, up = corner

    last = longest.shape[3] - 1
    for one in range(len(index)):
        i, j, k = index[one]
        if latest[i, j] < 0:
            for r in range(length):
                way = longest[ahead + i, right + j, up + r, last] * unit
                away[i, j, r], owner[i, j, r] = min(way, limit), 0
            latest[i, j] = 2  # the first sweep, there and back
        away[i, j, k], owner[i, j, k] = 0, numbers[one]
    best, source = np.empty(length, np.float32), np.empty(length, np.int32)
    sweep, changed = 1, True
    while changed:
        sweep, changed = sweep + 1, False
        back = -1 if sweep % 2 == 0 else 1
        for step in range(rows * columns):
            row = step if back < 0 else rows * columns - 1 - step
            i, j = row // columns, row % columns
            ways, marks = away[i, j], owner[i, j]
            here = cost[ahead + i, right + j, up : up + length]
            shorter = False
            for side in range(4):  # three rows of the plane before, and the row before
                p, q = (i, j + back) if side == 3 else (i + back, j - 1 + side)
                if not (0 <= p < rows and 0 <= q < columns) or latest[p, q] < sweep - 1:
                    continue
                if not shorter:
                    if latest[i, j] < 0:
                        for r in range(length):
                            way = longest[ahead + i, right + j, up + r, last] * unit
                            ways[r], marks[r] = min(way, limit), 0
                        latest[i, j] = 0
                    best[:], source[:], shorter = ways, -1, True
                beside, there = away[p, q], cost[ahead + p, right + q, up : up + length]
                flat, slant = halves[abs(p - i), abs(q - j), 0], halves[abs(p - i), abs(q - j), 1]
                number = np.int32(3 * side)
                for k in range(1, length - 1):  # without branches, for several voxels at once
                    own, most, came = here[k], best[k], source[k]
                    way = beside[k - 1] + slant * (there[k - 1] + own)
                    less = way < most
                    most = way if less else most
                    came = number if less else came
                    way = beside[k] + flat * (there[k] + own)
                    less = way < most
                    most = way if less else most
                    came = number + np.int32(1) if less else came
                    way = beside[k + 1] + slant * (there[k + 1] + own)
                    less = way < most
                    best[k] = way if less else most
                    source[k] = number + np.int32(2) if less else came
                for k in (0, length - 1):
                    for r in range(max(0, k - 1), min(length, k + 2)):
                        way = beside[r] + (flat if r == k else slant) * (there[r] + here[k])
                        if way < best[k]:
                            best[k], source[k] = way, np.int32(number + r - k + 1)
            if shorter:
                shorter = False
                for k in range(length):
                    if source[k] >= 0:
                        side, r = source[k] // 3, k + source[k] % 3 - 1
                        p, q = (i, j + back) if side == 3 else (i + back, j - 1 + side)
                        ways[k], marks[k], shorter = best[k], owner[p, q, r], True
            half = halves[0, 0, 1]
            if shorter or latest[i, j] >= sweep - 1:
                for k in range(1, length):
                    way = ways[k - 1] + half * (here[k - 1] + here[k])
                    if way < ways[k]:
                        ways[k], marks[k], shorter = way, marks[k - 1], True
                for k in range(length - 2, -1, -1):
                    way = ways[k + 1] + half * (here[k + 1] + here[k])
                    if way < ways[k]:
                        ways[k], marks[k], shorter = way, marks[k + 1], True
            if shorter:
                latest[i, j], changed = sweep, True


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function, compiled; numba takes a while to load."""
    import numba

    # what checks the shapes of arguments while tests run cannot be compiled
    found: Callable[..., Any] = numba.njit(cache=True)(inspect.unwrap(function))
    return found
