"""Geodesic distance in millimetres: ways from seeds to voxels that edges in the image lengthen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt16

from voxhint.core import Grid
from voxhint.core.box import Window
from voxhint.propagate.compiled import compiled
from voxhint.propagate.edge_cost import cost_of_ways

FAR_MM = np.float32(1e6)
"""Where no seed is, or no way leads to it."""

_UNFILLED, _LED = -1, 2  # sweeps in which a row changed last: it holds nothing yet, the first


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


def nearest_mark(
    marks: Int32[np.ndarray, "i j k"],
    cost: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    limit_mm: float | Float32[np.ndarray, "i j k"] = np.inf,
) -> tuple[Float32[np.ndarray, "i j k"], Int32[np.ndarray, "i j k"]]:
    """Measure the shortest way from any mark to every voxel, and say from which mark it comes.

    The image is swept there and back until no way gets shorter, in rows along its longest axis.
    Rows whose neighbours did not change are passed over, so that time grows with the voxels that
    ways lead to.

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
    longest = 2 - int(np.argmax(marks.shape[::-1]))  # the last of several: nothing is turned
    owner = np.array(marks.swapaxes(longest, 2), order="C")
    cost = np.ascontiguousarray(cost.swapaxes(longest, 2))
    away = np.empty(owner.shape, np.float32)
    limit = limit_mm.swapaxes(longest, 2) if isinstance(limit_mm, np.ndarray) else limit_mm
    np.minimum(limit, FAR_MM, out=away)
    away[owner > 0] = 0
    latest = np.where(owner.max(2) > 0, _LED, 0).astype(np.int32)
    filled = (np.zeros((0, 0, 0), np.uint16), np.float32(0), FAR_MM)
    starts = (np.zeros((0, 3), np.int64), np.zeros(0, np.int32))
    spans = np.tile(_whole_rows(owner.shape), 3)
    args = (latest, spans, cost, np.zeros(3, np.int64), filled, starts)
    spacing = grid.spacing_mm
    spacing[[longest, 2]] = spacing[[2, longest]]
    compiled(_sweep)(away, owner, *args, _halves(spacing))
    away[owner == 0] = FAR_MM
    back = (one.swapaxes(longest, 2) for one in (away, owner))
    away, owner = (np.ascontiguousarray(one) for one in back)
    return away, owner


def _whole_rows(shape: tuple[int, ...]) -> Int32[np.ndarray, "i j 2"]:
    """Return the first voxel of each row, and the one past its last."""
    return np.tile(np.array((0, shape[2]), np.int32), (*shape[:2], 1))


def _halves(spacing_mm: Float64[np.ndarray, "3"]) -> Float32[np.ndarray, "2 2 2"]:
    """Return half the millimetres of a step, by whether it leads along each axis."""
    halves = np.zeros((2, 2, 2), np.float32)
    for step in np.ndindex(2, 2, 2):
        halves[step] = np.linalg.norm(spacing_mm * step) / 2
    return halves


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """The shortest ways from the marks of one class, in a window of a scan."""

    away: Float32[np.ndarray, "a b c"]
    """Millimetres, where an owner is."""

    owner: Int32[np.ndarray, "a b c"]
    """Number of the nearest mark; 0 where no way leads."""

    spans: Int32[np.ndarray, "a b 2"]
    """Between which voxels of each row ways lead: no others need to be looked at, and rows without
    any hold nothing."""

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
    def over(
        cost: Float32[np.ndarray, "i j k"], grid: Grid, memory: Float32[np.ndarray, "i j k"]
    ) -> "WayFinder":
        """Return the finder of a scan, which writes over memory of its size."""
        return WayFinder(cost, grid, memory.reshape(-1), np.empty(cost.size, np.int32))

    def ways(
        self,
        index: Int64[np.ndarray, "n 3"],
        numbers: Int32[np.ndarray, " n"],
        window: Window,
        longest: UInt16[np.ndarray, "i j k"],
        step_mm: float,
        limit_mm: float,
    ) -> Ways:
        """Measure ways as `nearest_mark` does; they last until the next are asked for.

        Args:
            index: Where ways start.
            numbers: Of the mark that each of these voxels belongs to, from 1.
            window: Ways do not leave it.
            longest: Of each voxel of the scan, in steps: longer ways are not followed there.
            step_mm: Millimetres of a step.
            limit_mm: Longer ways are followed nowhere.

        Returns:
            The ways.
        """
        shape = tuple(along.stop - along.start for along in window)
        size = int(np.prod(shape))
        away, owner = (one[:size].reshape(shape) for one in (self.away, self.owner))
        latest = np.full(shape[:2], _UNFILLED, np.int32)
        spans = np.zeros((*shape[:2], 6), np.int32)
        corner = np.array([along.start for along in window])
        limits = (longest, np.float32(step_mm), np.float32(limit_mm))
        starts = (index - corner, numbers)
        args = (latest, spans, self.cost, corner, limits, starts)
        compiled(_sweep)(away, owner, *args, _halves(self.grid.spacing_mm))
        return Ways(away, owner, spans[..., 4:], window)


def way_to_next(
    away: Float32[np.ndarray, "i j k"],
    owner: Int32[np.ndarray, "i j k"],
    cost: Float32[np.ndarray, "i j k"],
    grid: Grid,
    count: int,
    spans: Int32[np.ndarray, "i j 2"] | None = None,
) -> Float32[np.ndarray, " mark"]:
    """Measure the shortest way from each mark to another one.

    The way to the nearest other mark crosses the border between what is nearest to the two, so it
    is the least sum of ways over pairs of neighbours on such borders.

    Args:
        away: From `nearest_mark`.
        owner: From `nearest_mark`.
        cost: As for `nearest_mark`.
        grid: Gives the spacing.
        count: Of the marks.
        spans: Between which voxels of each row ways lead; None for all.

    Returns:
        Millimetres for mark 1, 2 and so on; 1e6 for a mark that meets no other.
    """
    if spans is None:
        spans = _whole_rows(away.shape)
    found = np.full(count + 1, FAR_MM, np.float32)
    compiled(_meet)(away, owner, spans, cost, grid.spacing_mm / 2, found)
    return found[1:]


def _meet(away, owner, spans, cost, halves, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901
    for i in range(away.shape[0]):
        for j in range(away.shape[1]):
            for k in range(spans[i, j, 0], spans[i, j, 1]):
                one = owner[i, j, k]
                if one == 0:
                    continue
                for axis in range(3):
                    p, q, r = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                    if p == away.shape[0] or q == away.shape[1]:
                        continue
                    if r < spans[p, q, 0] or r >= spans[p, q, 1]:
                        continue
                    two = owner[p, q, r]
                    if two > 0 and two != one:
                        step = np.float32(halves[axis]) * (cost[i, j, k] + cost[p, q, r])
                        way = away[i, j, k] + away[p, q, r] + step
                        found[one] = min(found[one], way)
                        found[two] = min(found[two], way)


def _sweep(away, owner, latest, spans, cost, corner, limits, starts, halves):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0912, PLR0913, PLR0915
    # `latest` is the sweep in which a row changed last. `spans` tell between which of its voxels it
    # changed then, in the sweep before, and ever: what lies beside other voxels is not looked at
    # again. `halves` are half the millimetres of a step by whether it leads along each axis.
    rows, columns, length = away.shape
    (longest, unit, limit), (index, numbers) = limits, starts
    ahead, right, up = corner

    half, offsets, owners = halves[0, 0, 1], np.zeros(12, np.int64), owner.reshape(-1)
    for one in range(len(index)):
        i, j, k = index[one]
        if latest[i, j] < 0:
            most = longest[ahead + i, right + j, up : up + length]
            for r in range(length):
                away[i, j, r] = min(np.float32(most[r]) * unit, limit)
            owner[i, j, :] = 0
            latest[i, j] = 2  # the first sweep, there and back
            spans[i, j] = (k, k + 1, length, 0, k, k + 1)
        away[i, j, k], owner[i, j, k] = 0, numbers[one]
        spans[i, j, 0], spans[i, j, 1] = min(spans[i, j, 0], k), max(spans[i, j, 1], k + 1)
    best, source = np.empty(length, np.float32), np.empty(length, np.int32)
    sweep, changed = 1, True
    while changed:
        sweep, changed = sweep + 1, False
        back = -1 if sweep % 2 == 0 else 1
        for turn in range(12):  # from where a way came
            side, along = turn // 3, turn % 3 - 1
            offsets[turn] = (back if side == 3 else back * columns + side - 1) * length + along
        for step in range(rows * columns):
            at = step if back < 0 else rows * columns - 1 - step
            i, j = at // columns, at % columns
            low, high = length, 0  # what ways from rows beside may shorten
            for side in range(4):  # three rows of the plane before, and the row before
                p, q = (i, j + back) if side == 3 else (i + back, j - 1 + side)
                if 0 <= p < rows and 0 <= q < columns and latest[p, q] >= sweep - 1:
                    low, high = min(low, spans[p, q, 0]), max(high, spans[p, q, 1])
                    if latest[p, q] == sweep:
                        low, high = min(low, spans[p, q, 2]), max(high, spans[p, q, 3])
            seeded = sweep == 2 and latest[i, j] == sweep
            if low >= high and not seeded:
                continue
            ways, marks = away[i, j], owner[i, j]
            here = cost[ahead + i, right + j, up : up + length]
            first, end = length, 0  # what did get shorter
            if low < high:
                low, high = max(low - 1, 0), min(high + 1, length)
                if latest[i, j] < 0:
                    most = longest[ahead + i, right + j, up : up + length]
                    for r in range(length):
                        ways[r] = min(np.float32(most[r]) * unit, limit)
                    marks[:] = 0
                    latest[i, j], spans[i, j] = 0, (length, 0, length, 0, length, 0)
                for k in range(high - low):
                    best[k], source[k] = ways[low + k], -1
                for side in range(4):
                    p, q = (i, j + back) if side == 3 else (i + back, j - 1 + side)
                    if not (0 <= p < rows and 0 <= q < columns) or latest[p, q] < sweep - 1:
                        continue
                    beside, there = away[p, q], cost[ahead + p, right + q, up : up + length]
                    flat = halves[abs(p - i), abs(q - j), 0]
                    slant = halves[abs(p - i), abs(q - j), 1]
                    code = np.int32(3 * side)
                    start, stop = max(low, 1), min(high, length - 1)
                    near, costs = beside[start - 1 : stop + 1], there[start - 1 : stop + 1]
                    own, most = here[start:stop], best[start - low : stop - low]
                    came = source[start - low : stop - low]
                    for k in range(stop - start):  # without branches, for several voxels at once
                        shortest, origin = most[k], came[k]
                        way = near[k] + slant * (costs[k] + own[k])
                        less = way < shortest
                        shortest = way if less else shortest
                        origin = code if less else origin
                        way = near[k + 1] + flat * (costs[k + 1] + own[k])
                        less = way < shortest
                        shortest = way if less else shortest
                        origin = code + np.int32(1) if less else origin
                        way = near[k + 2] + slant * (costs[k + 2] + own[k])
                        less = way < shortest
                        most[k] = way if less else shortest
                        came[k] = code + np.int32(2) if less else origin
                    for k in (0, length - 1):
                        if not low <= k < high:
                            continue
                        for r in range(max(0, k - 1), min(length, k + 2)):
                            way = beside[r] + (flat if r == k else slant) * (there[r] + here[k])
                            if way < best[k - low]:
                                best[k - low], source[k - low] = way, np.int32(code + r - k + 1)
                for k in range(high - low):
                    if source[k] >= 0:
                        voxel = at * length + low + k
                        ways[low + k] = best[k]
                        owners[voxel] = owners[voxel + offsets[source[k]]]
                        first, end = min(first, low + k), low + k + 1
            if seeded:
                first, end = min(first, spans[i, j, 0]), max(end, spans[i, j, 1])
            if first >= end:
                continue
            for k in range(first + 1, length):
                way = ways[k - 1] + half * (here[k - 1] + here[k])
                if way < ways[k]:
                    ways[k], marks[k], end = way, marks[k - 1], max(end, k + 1)
                elif k >= end:
                    break
            for k in range(end - 2, -1, -1):
                way = ways[k + 1] + half * (here[k + 1] + here[k])
                if way < ways[k]:
                    ways[k], marks[k], first = way, marks[k + 1], min(first, k)
                elif k < first:
                    break
            span = spans[i, j]
            if latest[i, j] < sweep:
                span[2], span[3] = (span[0], span[1]) if latest[i, j] == sweep - 1 else (length, 0)
                span[0], span[1] = first, end
            else:
                span[0], span[1] = min(span[0], first), max(span[1], end)
            span[4], span[5] = min(span[4], first), max(span[5], end)
            latest[i, j], changed = sweep, True
