"""Propagation over whole scans: the nearest labels compete at a voxel, two of them are kept.

The competition is that of `soft_label`. Ways end where no label may reach any more, or where others
are nearer, so that time and memory grow with the voxels and hardly with the classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from voxhint.core import Grid, LabelSet, Volume
from voxhint.core.box import Window
from voxhint.core.compact import CompactSoftLabel, SparseConstraints
from voxhint.core.volume import STEPS
from voxhint.propagate.competition import Nearest, Rules
from voxhint.propagate.constraints import around_hints
from voxhint.propagate.distance_caps import label_marks
from voxhint.propagate.geodesic import cost_of_ways, edge_cost, nearest_mark, way_to_next
from voxhint.propagate.likelihood import BINS, class_tables
from voxhint.propagate.soft_label import (
    EDGE_WEIGHT,
    LIKELIHOOD,
    geodesic_stretch,
    presumed_trust,
    usual_cap,
)

_LIMIT = 3.0  # of the largest cap: how far ways of labels are followed
_ROOM = 1.02  # of the largest cap: how far ways of background are followed
_BAND = 2.0  # caps around marks of labels: beyond them background is presumed

_Index = Int64[np.ndarray, "n 3"]


def propagate_over_scan(
    constraints: SparseConstraints,
    images: Sequence[Volume],
    labels: LabelSet,
    *,
    caps_mm: Mapping[str, float],
) -> CompactSoftLabel:
    """Propagate the hints of a large case: `propagate_hints` without arrays for each class.

    Args:
        constraints: From `sparse_constraints_of`. Labels with a room are left out: `fill_rooms`
            looks for them.
        images: Channels on the grid of the constraints.
        labels: Names of the classes.
        caps_mm: How far each label reaches, from `distance_caps`.

    Returns:
        The two likeliest classes of each voxel and how far to trust them.
    """
    caps = np.array([np.inf, *(caps_mm[name] for name in labels.foreground)], np.float32)
    index, classes = constraints.marks
    shown = [index[classes == number] for number in range(len(caps))]
    roomed = [*constraints.room_of]
    unshown = np.array([not len(index) for index in shown])
    unshown[roomed] = False
    possible = np.asarray(constraints.elsewhere > 0)
    free = possible.copy()  # labels that no box or ball holds
    free[[0, *roomed]] = False
    competing = [int(number) for number in np.flatnonzero(free) if len(shown[number])]
    untold = unshown & possible
    untold[0] = False
    if not competing:
        presumed = presumed_trust(unshown) if free.any() else 1.0
        first, second, first_prob, trust = _blank(constraints.grid.shape, presumed)
        return CompactSoftLabel(first, second, first_prob, trust, untold, constraints)
    band = _band([shown[number] for number in competing], caps[competing], constraints.grid)
    scan = _Scan.of(shown, [image.cropped(band) for image in images], band)
    limit = _LIMIT * float(caps[competing].max())  # for all: it matters which label is nearest
    nearest = Nearest.of(scan.grid.shape, limit)
    for number in sorted(competing, key=lambda number: float(caps[number])):
        caps[number] *= np.float32(scan.join(number, limit, nearest))
    ground = Nearest.of(scan.grid.shape, _ROOM * float(caps[competing].max()), kept=1)
    if len(scan.shown[0]):
        scan.join(0, ground.step_mm * 2**16, ground)
    rules = Rules(caps, usual_cap(caps), presumed_trust(unshown))
    margin = rules.margin_mm(nearest, ground, float(scan.grid.spacing_mm.min()) / 2)
    found = _blank(constraints.grid.shape, rules.presumed)
    rules.settle(nearest, ground, margin, scan.tables, scan.bins, [part[band] for part in found])
    first, second, first_prob, trust = found
    return CompactSoftLabel(first, second, first_prob, trust, untold, constraints)


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """The band of a scan that labels may reach, and what is the same for all classes."""

    shown: Sequence[_Index]
    """Where each class was shown in the band."""

    cost: Float32[np.ndarray, "i j k"]
    """Of a millimetre; 1 in tissue that is usual near hints."""

    tables: Float32[np.ndarray, "channel class bin"]
    bins: UInt8[np.ndarray, "channel i j k"]
    grid: Grid

    @staticmethod
    def of(shown: Sequence[_Index], images: Sequence[Volume], band: Window) -> "_Scan":
        grid = images[0].grid
        moved = [index - [along.start for along in band] for index in shown]
        shown = [index[((index >= 0) & (index < grid.shape)).all(1)] for index in moved]
        places = [tuple(index.T) for index in shown]
        near = np.zeros(grid.shape, np.bool_)
        for place in places:
            near[place] = True
        near = around_hints(near)
        tables = np.empty((len(images), len(shown), BINS), np.float32)
        bins = np.empty((len(images), *grid.shape), np.uint8)
        for image, table, numbers in zip(images, tables, bins, strict=True):
            table[:], numbers[:] = class_tables(image, places, near)
        tables *= np.float32(LIKELIHOOD / len(images))
        cost = cost_of_ways(edge_cost(images, near), EDGE_WEIGHT)
        cost /= np.float32(np.median(cost[near]))
        return _Scan(shown, cost, tables, bins, grid)

    def join(self, number: int, limit_mm: float, nearest: Nearest) -> float:
        """Let a class join where ways to it are short enough.

        Returns:
            How much longer ways between its marks are than straight lines.
        """
        index = self.shown[number]
        rim = np.ceil(limit_mm / self.grid.spacing_mm).astype(int) + 1
        first = index.min(0)
        low = np.maximum(first - rim, 0)
        high = np.minimum(index.max(0) + 1 + rim, self.grid.shape)
        i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        window, grid = (i, j, k), self.grid.cropped((i, j, k))
        own = np.zeros(index.max(0) - first + 1, np.bool_)
        own[tuple((index - first).T)] = True
        parts = label_marks(own, grid) if number else own.astype(np.int32)
        marks = np.zeros(grid.shape, np.int32)
        marks[tuple((index - low).T)] = parts[tuple((index - first).T)]
        cost = np.ascontiguousarray(self.cost[window])
        limit = nearest.limit_mm(window, limit_mm)
        way, owner = nearest_mark(marks, cost, grid, limit_mm=limit)
        nearest.add(number, window, way, owner)
        if not number:
            return 1.0
        return geodesic_stretch(way_to_next(way, owner, cost, grid), parts, grid)


def _band(shown: Sequence[_Index], caps: Float32[np.ndarray, " class"], grid: Grid) -> Window:
    """Return the box that any label may reach."""
    boxes = []
    for index, cap in zip(shown, caps, strict=True):
        if len(index):
            rim = np.ceil(_BAND * cap / grid.spacing_mm) + 1
            boxes.append((index.min(0) - rim, index.max(0) + 1 + rim))
    low = np.maximum(np.min([box[0] for box in boxes], axis=0), 0).astype(int)
    high = np.minimum(np.max([box[1] for box in boxes], axis=0), grid.shape)
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
