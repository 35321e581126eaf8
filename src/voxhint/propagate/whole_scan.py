"""Propagation over whole scans: the nearest labels compete at a voxel, two of them are kept.

The competition is that of `soft_label`. Ways end where no label may reach any more, or where others
are nearer, so that time and memory grow with the voxels and hardly with the classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from voxhint.core import Grid, LabelSet, Volume
from voxhint.core.box import Window, bounding_box
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.core.volume import STEPS
from voxhint.propagate.competition import Likelihood, Nearest, Rules
from voxhint.propagate.constraints import around_marks
from voxhint.propagate.distance_caps import label_marks
from voxhint.propagate.edge_cost import cost_of_ways, edge_cost
from voxhint.propagate.geodesic import WayFinder, Ways, way_to_next
from voxhint.propagate.likelihood import BINS, class_tables
from voxhint.propagate.prior import distance_limits
from voxhint.propagate.soft_label import (
    EDGE_WEIGHT,
    LIKELIHOOD,
    geodesic_stretch,
    presumed_trust,
    usual_cap,
)
from voxhint.propagate.voxel_classifier import TaughtCase

_LIMIT = 3.0  # of the largest cap: how far ways of labels are followed
_DETOURS = 1.5  # the same of a cap that grew with the detours of ways
_ROOM = 1.02  # of the largest cap: how far ways of background are followed
_BAND = 2.0  # caps around marks of labels: beyond them background is presumed

_Index = Int64[np.ndarray, "n 3"]


def propagate_over_scan(
    constraints: SparseConstraints,
    images: Sequence[Volume],
    labels: LabelSet,
    *,
    caps_mm: Mapping[str, float],
    taught: TaughtCase | None = None,
    distance_limit: float = np.inf,
) -> CompactSoftLabel:
    """Propagate the hints of a large case: `propagate_hints` without arrays for each class.

    Args:
        constraints: From `sparse_constraints_of`. Labels with a room are left out: `fill_rooms`
            looks for them.
        images: Channels on the grid of the constraints.
        labels: Names of the classes.
        caps_mm: How far each label reaches, from `distance_caps`.
        taught: What the other cases say of this one, if they say anything.
        distance_limit: Most that distance may then speak against a class, as in `Prior`.

    Returns:
        The two likeliest classes of each voxel and how far to trust them.
    """
    one = _Competitors.of(constraints, labels, caps_mm, taught, distance_limit)
    shape = constraints.grid.shape
    if not (one.numbers or one.everywhere):
        return CompactSoftLabel(*_blank(shape, one.presumed), one.untold, constraints)
    band = one.band(constraints.grid)
    later = constraints.drawn_whole and taught is None  # ways must be known first
    scan = _Scan.of(one.shown, images, band, taught, later=later)
    out = {number: scan.turned(constraints.ranged_out(number, band)) for number in one.numbers}
    limit = _LIMIT * one.reach_mm  # for all: it matters which label is nearest
    nearest, stretch = scan.joined(one, limit, out)
    if (longer := _DETOURS * one.stretched(stretch).reach_mm) > limit:
        del nearest
        nearest, stretch = scan.joined(one, longer, out)
    one = one.stretched(stretch)
    if later:
        scan = scan.seen_beside(nearest, one.caps, images, band)
    ground = scan.background(_ROOM * one.reach_mm)
    rules = one.rules(taught, distance_limit)
    margin = rules.margin_mm(nearest, ground, float(scan.finder.grid.spacing_mm.min()) / 2)
    nearest, ground = nearest.turned(scan.turn), ground.turned(scan.turn)
    likelihood = scan.likelihood
    del scan  # its memory goes before the result takes some
    found = _blank(shape, one.presumed)
    rules.settle(nearest, ground, margin, likelihood, [part[band] for part in found])
    return CompactSoftLabel(*found, one.untold, constraints)


@dataclass(frozen=True, slots=True, eq=False)
class _Competitors:
    """Which classes hints show, which labels compete, and how far these reach."""

    shown: Sequence[_Index]
    caps: Float32[np.ndarray, " class"]
    """In mm."""

    free: Bool[np.ndarray, " class"]
    """Labels that are possible, and that no box or ball holds."""

    untold: Bool[np.ndarray, " class"]
    """Labels of which nothing is known."""

    presumed: float
    """Trust in background that no hint is near to."""

    everywhere: bool
    """Whether other cases tell of labels far from hints, too."""

    @staticmethod
    def of(
        known: SparseConstraints,
        labels: LabelSet,
        caps_mm: Mapping[str, float],
        taught: TaughtCase | None,
        distance_limit: float,
    ) -> "_Competitors":
        """Return those of a case."""
        index, classes = known.marks
        shown = [index[classes == number] for number in range(len(labels.names))]
        caps = np.array([np.inf, *(caps_mm[name] for name in labels.foreground)], np.float32)
        unshown = np.array([not len(index) for index in shown])
        unshown[[*known.room_of, *(soft.number for soft in known.softs)]] = False
        possible = np.asarray(known.elsewhere > 0)
        free = possible.copy()
        free[[0, *known.room_of]] = False
        everywhere = taught is not None and bool(np.isfinite(distance_limit))
        untold = unshown & possible
        if taught is not None and everywhere:
            untold &= ~taught.classifier.shown
        untold[0] = False
        presumed = presumed_trust(unshown) if free.any() else 1.0
        return _Competitors(shown, caps, free, untold, presumed, everywhere)

    def stretched(self, stretch: Mapping[int, float]) -> "_Competitors":
        """Return the same with caps as long as ways are that lead as far."""
        caps = self.caps.copy()
        for number, times in stretch.items():
            caps[number] *= np.float32(times)
        return replace(self, caps=caps)

    def rules(self, taught: TaughtCase | None, distance_limit: float) -> Rules:
        """Return what they compete by."""
        alone = Rules(self.caps, usual_cap(self.caps), self.presumed)
        if taught is None:
            return alone
        told = taught.classifier.shown
        return replace(
            alone,
            limits=distance_limits(told, distance_limit),
            rarity=taught.classifier.rarity,
            anywhere=self.free & told if self.everywhere else None,
        )

    @property
    def numbers(self) -> list[int]:
        """Return the labels that marks show, and that compete."""
        free = np.flatnonzero(self.free).tolist()
        return [number for number in free if len(self.shown[number])]

    @property
    def reach_mm(self) -> float:
        """Return how far the label reaches that reaches furthest."""
        return float(self.caps[self.numbers or slice(1, None)].max())

    def band(self, grid: Grid) -> Window:
        """Return the box that any label may reach; all of the scan where others tell of it."""
        if self.everywhere:
            i, j, k = (slice(0, n) for n in grid.shape)
            return i, j, k
        return _band([self.shown[number] for number in self.numbers], self.caps[self.numbers], grid)


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """The band of a scan that labels may reach, and what is the same for all classes.

    Ways are swept over it row by row, and long rows take less time: they lie along the finer of its
    last two axes.
    """

    turn: tuple[int, int, int]
    """Its axes in the order in which they lie here; the same leads back."""

    shown: Sequence[_Index]
    """Where each class was shown in the band."""

    finder: WayFinder
    """Along a millimetre that costs 1 in tissue that is usual near hints."""

    likelihood: Likelihood

    @staticmethod
    def of(
        shown: Sequence[_Index],
        images: Sequence[Volume],
        band: Window,
        taught: TaughtCase | None,
        *,
        later: bool,
    ) -> "_Scan":
        """Return the band; if `later`, `seen_beside` must tell what intensities say."""
        turn, parts = _turned(images, band)
        grid = parts[0].grid
        moved = [(index - [along.start for along in band])[:, turn] for index in shown]
        shown = [index[((index >= 0) & (index < grid.shape)).all(1)] for index in moved]
        near = around_marks(np.concatenate(shown), grid.shape)
        memory = np.empty(grid.shape, np.float32)
        steep = edge_cost(parts, near, memory=memory)
        cost = cost_of_ways(steep, EDGE_WEIGHT, out=steep)
        known = cost[near]
        cost /= np.float32(np.median(known) if known.size else 1)
        said = None if taught is None else partial(_told, taught, band)
        seen = parts if taught is None and not later else ()
        tables = _tables(seen, shown, near, turn, memory)
        likelihood = Likelihood(*tables, said)
        return _Scan(turn, shown, WayFinder.over(cost, grid, memory), likelihood)

    def seen_beside(
        self,
        nearest: Nearest,
        caps: Float32[np.ndarray, " class"],
        images: Sequence[Volume],
        band: Window,
    ) -> "_Scan":
        """Return the same, but of background only what labels reach says how it looks."""
        ground = tuple(self.shown[0].T)
        ways, labels = (one[:, *ground] for one in (nearest.away, nearest.number))
        near_enough = (ways * np.float32(nearest.step_mm) < caps[labels]) & (labels > 0)
        reached = self.shown[0][near_enough.any(0)]
        seen = [reached if len(reached) else self.shown[0], *self.shown[1:]]
        near = around_marks(np.concatenate(seen), self.finder.grid.shape)
        parts = _turned(images, band)[1]
        return replace(
            self, likelihood=Likelihood(*_tables(parts, seen, near, self.turn, None), None)
        )

    def turned(self, out: Bool[np.ndarray, "i j k"] | None) -> Bool[np.ndarray, "a b c"] | None:
        """Return where a label cannot be, with the axes as they lie here."""
        return None if out is None else np.ascontiguousarray(out.transpose(self.turn))

    def joined(
        self,
        competitors: _Competitors,
        limit_mm: float,
        out: Mapping[int, Bool[np.ndarray, "i j k"] | None],
    ) -> tuple[Nearest, dict[int, float]]:
        """Let all labels join where ways to them are short enough.

        Args:
            competitors: The labels.
            limit_mm: How long ways may be.
            out: Where a label cannot be, though ways to it may lead there; None for anywhere.

        Returns:
            The nearest labels, and how much longer ways between the marks of each label are than
            straight lines.
        """
        nearest, caps = Nearest.of(self.finder.grid.shape, limit_mm), competitors.caps
        order = sorted(competitors.numbers, key=lambda number: float(caps[number]))
        return nearest, {n: self.join(n, limit_mm, nearest, out[n]) for n in order}

    def join(
        self,
        number: int,
        limit_mm: float,
        nearest: Nearest,
        out: Bool[np.ndarray, "i j k"] | None = None,
    ) -> float:
        """Let a label join where ways to it are short enough.

        Args:
            number: The label.
            limit_mm: How long ways may be.
            nearest: What it joins.
            out: As for `joined`.

        Returns:
            How much longer ways between its marks are than straight lines.
        """
        index, grid = self.shown[number], self.finder.grid
        corner = index.min(0)
        own = np.zeros(index.max(0) - corner + 1, np.bool_)
        own[tuple((index - corner).T)] = True
        parts = label_marks(own, grid)
        ways = self._added(number, parts[tuple((index - corner).T)], limit_mm, nearest, out)
        cost, count = self.finder.cost[ways.window], int(parts.max())
        next_mm = way_to_next(ways.away, ways.owner, cost, grid, count, ways.spans)
        return geodesic_stretch(next_mm, parts, grid)

    def background(self, limit_mm: float) -> Nearest:
        """Return the ways to background."""
        ground = Nearest.of(self.finder.grid.shape, limit_mm, kept=1)
        if count := len(self.shown[0]):
            self._added(0, np.ones(count, np.int32), ground.step_mm * 2**16, ground)
        return ground

    def _added(
        self,
        number: int,
        marks: Int32[np.ndarray, " n"],
        limit_mm: float,
        nearest: Nearest,
        out: Bool[np.ndarray, "i j k"] | None = None,
    ) -> Ways:
        index, grid = self.shown[number], self.finder.grid
        rim = np.ceil(limit_mm / grid.spacing_mm).astype(int) + 1
        low = np.maximum(index.min(0) - rim, 0)
        high = np.minimum(index.max(0) + 1 + rim, grid.shape)
        i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        longest = nearest.away[-1]
        ways = self.finder.ways(index, marks, (i, j, k), longest, nearest.step_mm, limit_mm)
        nearest.add(number, ways, out)
        return ways


def _turned(images: Sequence[Volume], band: Window) -> tuple[tuple[int, int, int], list[Volume]]:
    """Return the order of axes that puts the finer of the last two last, and images so turned."""
    whole = images[0].grid.cropped(band)
    turn = (0, 2, 1) if whole.spacing_mm[1] < whole.spacing_mm[2] else (0, 1, 2)
    i, j, k = (whole.shape[axis] for axis in turn)
    grid = Grid((i, j, k), whole.affine[:, [*turn, 3]])
    return turn, [Volume(one.voxels[band].transpose(turn), grid, one.unit) for one in images]


def _tables(
    parts: Sequence[Volume],
    shown: Sequence[_Index],
    near: Bool[np.ndarray, "i j k"],
    turn: tuple[int, int, int],
    memory: Float32[np.ndarray, "i j k"] | None,
) -> tuple[Float32[np.ndarray, "channel class bin"], UInt8[np.ndarray, "channel a b c"]]:
    """Return what intensities say of the classes of a band, and the bins with axes as they were."""
    tables = np.empty((len(parts), len(shown), BINS), np.float32)
    bins = np.empty((len(parts), *near.shape), np.uint8)
    for image, table, numbers in zip(parts, tables, bins, strict=True):
        table[:], numbers[:] = class_tables(image, shown, near, memory=memory)
    tables *= np.float32(LIKELIHOOD / max(1, len(parts)))
    return tables, bins.transpose(0, *(axis + 1 for axis in turn))


def _told(
    taught: TaughtCase, band: Window, first: int, asked: Bool[np.ndarray, "a b c"]
) -> Float32[np.ndarray, "n class"]:
    """Return what other cases tell of planes of a band."""
    box = bounding_box(asked)
    corner = (band[0].start + first, band[1].start, band[2].start)
    i, j, k = (
        slice(along.start + start, along.stop + start)
        for along, start in zip(box, corner, strict=True)
    )
    return taught.of_block((i, j, k), asked[box])


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


def _blank(shape: tuple[int, int, int], presumed: float) -> tuple[Any, Any, Any, Any]:
    """Return the four arrays of a soft label where no hint reaches: background."""
    return (
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        np.full(shape, STEPS, np.uint16),
        np.full(shape, np.rint(presumed * STEPS), np.uint16),
    )
