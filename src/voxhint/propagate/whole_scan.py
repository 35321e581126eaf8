"""Propagation over whole scans: each class in a window of its own, two classes kept a voxel.

The competition is that of `soft_label`. Ways end where no label may reach any more, so that time
grows with what labels may reach and memory with the voxels, not with both times the classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt8

from voxhint.core import UNDRAWN, Grid, LabelSet, Volume
from voxhint.core.compact import CompactSoftLabel, SparseConstraints
from voxhint.core.volume import STEPS
from voxhint.propagate.competition import Race, Rules, borders
from voxhint.propagate.constraints import around_hints
from voxhint.propagate.distance_caps import label_marks
from voxhint.propagate.geodesic import edge_cost, nearest_mark, way_to_next
from voxhint.propagate.likelihood import BINS, class_tables
from voxhint.propagate.soft_label import (
    EDGE_WEIGHT,
    LIKELIHOOD,
    geodesic_stretch,
    presumed_trust,
    usual_cap,
)

_LIMIT = 3.0  # caps within which ways of a label are followed
_ROOM = 1.02  # of the largest cap: how far ways of background are followed
_BAND = 2.0  # caps around marks of labels: beyond them background is presumed
_PLANES = 16  # in which classes compete together

Part = tuple[slice, slice, slice]


def propagate_over_scan(
    constraints: SparseConstraints,
    images: Sequence[Volume],
    labels: LabelSet,
    *,
    caps_mm: Mapping[str, float],
) -> CompactSoftLabel:
    """Propagate the hints of a large case: `propagate_hints` without arrays for each class.

    Args:
        constraints: From `sparse_constraints_of`; a mark of a label at least.
        images: Channels on the grid of the constraints.
        labels: Names of the classes.
        caps_mm: How far each label reaches, from `distance_caps`.

    Returns:
        The two likeliest classes of each voxel and how far to trust them.
    """
    caps = np.array([np.inf, *(caps_mm[name] for name in labels.foreground)], np.float32)
    band = _band(constraints, caps)
    scan = _Scan.of(constraints, [image.cropped(band) for image in images], band)
    ways = []
    for number in scan.competing:
        way, stretch = scan.ways_to(number, _LIMIT * float(caps[number]))
        caps[number] *= np.float32(stretch)
        ways.append(way)
    reach = _ROOM * float(caps[list(scan.competing)].max())
    ways.append(scan.ways_to(0, reach)[0] if scan.shown[0] else _nowhere(scan.seeds.shape))
    presumed = presumed_trust(~scan.shown)
    rules = Rules(
        caps,
        usual_cap(caps),
        _margin(ways, caps, scan.seeds.shape, constraints.grid),
        presumed,
    )
    found = _blank(constraints.grid.shape, presumed)
    _compete(ways, scan, rules, [part[band] for part in found])
    untold = ~scan.shown & (constraints.elsewhere > 0)
    untold[0] = False
    first, second, first_prob, trust = found
    return CompactSoftLabel(first, second, first_prob, trust, untold, constraints)


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """The band of a scan that labels may reach, and what is the same for all classes."""

    seeds: UInt8[np.ndarray, "i j k"]
    shown: Bool[np.ndarray, " class"]
    """Classes that have a seed in the case."""

    competing: tuple[int, ...]
    """Labels that have one, and that no tag rules out."""

    steep: Float32[np.ndarray, "i j k"]
    plain: float
    """What a millimetre costs in tissue that is usual near hints."""

    tables: Float32[np.ndarray, "channel class bin"]
    bins: UInt8[np.ndarray, "channel i j k"]
    grid: Grid

    @staticmethod
    def of(constraints: SparseConstraints, images: Sequence[Volume], band: Part) -> "_Scan":
        count = len(constraints.elsewhere)
        seeds = np.ascontiguousarray(constraints.seeds[band])
        at = [np.nonzero(seeds == number) for number in range(count)]
        shown = np.array([len(places[0]) > 0 for places in at])
        competing = [n for n in range(1, count) if shown[n] and constraints.elsewhere[n]]
        near = around_hints(seeds != UNDRAWN)
        tables = np.empty((len(images), count, BINS), np.float32)
        bins = np.empty((len(images), *seeds.shape), np.uint8)
        for image, table, numbers in zip(images, tables, bins, strict=True):
            table[:], numbers[:] = class_tables(image, at, near)
        steep = edge_cost(images, near)
        costs = np.sqrt(1 + (EDGE_WEIGHT * steep[near]) ** 2)
        plain = float(np.median(costs))
        grid = images[0].grid
        return _Scan(seeds, shown, tuple(competing), steep, plain, tables, bins, grid)

    def ways_to(self, number: int, limit_mm: float) -> tuple["_Way", float]:
        """Return the ways to a class, and how much longer they are than straight lines."""
        index = np.nonzero(self.seeds == number)
        rim = np.ceil(limit_mm / self.grid.spacing_mm).astype(int) + 1
        i, j, k = (
            slice(max(0, int(along.min()) - wide), int(along.max()) + 1 + wide)
            for along, wide in zip(index, rim.tolist(), strict=True)
        )
        window = (i, j, k)
        places, grid = self.seeds[window] == number, self.grid.cropped(window)
        steep = self.steep[window]
        marks = label_marks(places, grid) if number else places.astype(np.int32)
        way, owner = nearest_mark(
            marks, steep, grid, edge_weight=EDGE_WEIGHT, limit_mm=limit_mm * self.plain
        )
        stretch = 1.0
        if number:
            next_mm = way_to_next(way, owner, steep, grid, edge_weight=EDGE_WEIGHT)
            stretch = geodesic_stretch(next_mm / self.plain, marks, grid)
        del marks, owner
        way /= np.float32(self.plain)
        way[way > limit_mm] = np.inf
        return _Way(number, window, way.astype(np.float16)), stretch


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """How far it is to a class, within a window of the band."""

    number: int
    window: Part
    away: Float16[np.ndarray, "i j k"]
    """In mm of plain tissue; inf where no way was followed."""

    def within(self, start: int, stop: int) -> tuple[Part, Float32[np.ndarray, "i j k"]]:
        """Return the part of some planes that lies in the window, and the ways there."""
        i, j, k = self.window
        low = min(max(start, i.start), stop)
        high = max(low, min(stop, i.start + len(self.away)))
        inside = self.away[max(0, low - i.start) : max(0, high - i.start)].astype(np.float32)
        return (slice(low - start, high - start), j, k), inside


def _nowhere(shape: tuple[int, ...]) -> _Way:
    """Return the ways to a background that nobody showed."""
    window = (slice(0, 0), slice(0, shape[1]), slice(0, shape[2]))
    return _Way(0, window, np.empty((0, *shape[1:]), np.float16))


def _band(constraints: SparseConstraints, caps: Float32[np.ndarray, " class"]) -> Part:
    """Return the box that any label may reach."""
    boxes = []
    for number in range(1, len(caps)):
        index = constraints.shown(number)
        if len(index):
            rim = np.ceil(_BAND * caps[number] / constraints.grid.spacing_mm) + 1
            boxes.append((index.min(0) - rim, index.max(0) + 1 + rim))
    low = np.maximum(np.min([box[0] for box in boxes], axis=0), 0).astype(int)
    high = np.minimum(np.max([box[1] for box in boxes], axis=0), constraints.grid.shape)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k


def _blank(shape: tuple[int, int, int], presumed: float) -> tuple[Any, ...]:
    """Return the four arrays of a soft label where no hint reaches: background."""
    classes = (np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
    return (
        *classes,
        np.full(shape, STEPS, np.uint16),
        np.full(shape, np.rint(presumed * STEPS), np.uint16),
    )


def _slabs(count: int, overlap: int = 0) -> Iterator[tuple[int, int]]:
    for start in range(0, count, _PLANES):
        yield start, min(start + _PLANES + overlap, count)


def _margin(
    ways: Sequence[_Way], caps: Float32[np.ndarray, " class"], shape: Sequence[int], grid: Grid
) -> float:
    """Return how far from hints the borders between classes usually lie, in mm."""
    known = []
    for start, stop in _slabs(shape[0], overlap=1):
        size = (stop - start, *shape[1:])
        nearest, around = (np.full(size, np.inf, np.float32) for _ in range(2))
        number = np.ones(size, np.uint8)
        for way in ways:
            part, away = way.within(start, stop)
            if way.number == 0:
                around[part] = away
                continue
            nearer = away < nearest[part]
            nearest[part][nearer] = away[nearer]
            number[part][nearer] = way.number
        np.minimum(around, caps[number], out=around)
        number[nearest >= around] = 0
        known.append(
            borders(number, np.minimum(nearest, around, out=nearest), last=size[0] <= _PLANES)
        )
    reached = np.concatenate(known)
    least = float(grid.spacing_mm.min()) / 2
    return max(float(np.median(reached)) if reached.size else 0.0, least)


def _compete(ways: Sequence[_Way], scan: _Scan, rules: Rules, found: Sequence[Any]) -> None:
    """Fill the four arrays of a soft label in the band."""
    tables = scan.tables * np.float32(LIKELIHOOD / len(scan.tables))
    for start, stop in _slabs(len(scan.seeds)):
        size = (stop - start, *scan.seeds.shape[1:])
        race = Race.of(size)
        bins = scan.bins[:, start:stop]
        around = np.full(size, np.inf, np.float32)
        for way in ways:
            part, away = way.within(start, stop)
            if way.number == 0:
                around[part] = away
            else:
                race.add(way.number, part, away, tables[:, way.number], bins, rules)
        race.settle(around, tables[:, 0], bins, rules, [one[start:stop] for one in found])
