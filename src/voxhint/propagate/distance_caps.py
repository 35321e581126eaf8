"""Propagation scale: how far the hints of a label speak, from how they lie in all cases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32, Int64
from scipy import ndimage
from scipy.spatial import cKDTree

from voxhint.core import Grid, LabelSet
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.propagate.constraints import Constraints

FEWEST_MARKS = 3
"""Marks that tell how far marks lie apart."""

_MARKS = 80  # of a case and label looked at
_PLACES = 4000  # of a case and label, or of all that is not the label
_GAP = 0.75  # quantile of the distances to the next mark
_REACHED = 0.65  # of that quantile
_EXTENT = 0.6  # of the length of a stroke: people draw along what they see
_SPANNED = 0.5  # of the length of a label across slices that are drawn whole
_APART = 0.7  # of the way to surrounding hints of other classes: beyond half of it those are nearer
_SECTORS = 48  # around a mark, in its slice
_CLOSED = 36  # of them that hold other hints where those surround it
_FIELD = 0.05  # of the field of view, where nothing else tells


@dataclass(frozen=True, slots=True)
class Spread:
    """How widely the marks of one label lie in one case."""

    mm: float
    """Root mean square distance from their middle."""

    chance: float
    """Variance of its logarithm by the choice of marks."""

    count: int
    """Clicks or strokes."""


@dataclass(frozen=True, slots=True)
class Marks:
    """How the marks of one label lie in one case: clicks, or strokes in one slice each."""

    extent_mm: float
    """Median length of a mark within its slice; 0 for clicks."""

    gap_mm: float | None
    """Upper quartile of the distance from a mark to the next of the label; None for fewer than
    three. What is marked at random lies as near to its nearest mark as marks lie to each other,
    whatever its shape: in a ring, a tube or a sheet too, whose middle is not its own."""

    apart_mm: float | None
    """Usual distance from a mark to the hints of other classes that surround it in its slice;
    None where they surround none."""

    span_mm: float | None = None
    """Length of the image across slices drawn whole, times the share of them that show the label;
    None where none is drawn whole. Its mean over cases is how long the label is across slices, if
    these were chosen at random."""

    spread: Spread | None = None
    """None for fewer than three marks, and for slices drawn whole, which cut off what they do not
    cross."""

    @property
    def speaks(self) -> bool:
        """Return whether it says how far the label reaches; a single click does not."""
        return self.extent_mm > 0 or self.gap_mm is not None or self.apart_mm is not None


def measure_marks(
    constraints: Constraints | SparseConstraints, labels: LabelSet
) -> dict[str, Marks]:
    """Measure the marks of each label of a case.

    Args:
        constraints: What the hints of the case prove.
        labels: Names of the classes.

    Returns:
        For each foreground label that clicks or strokes show, or that slices drawn whole lack.
    """
    (index, classes), grid = constraints.marks, constraints.grid
    if not len(index):
        return {}
    index -= index.min(0)  # the box around the marks is all that is looked at
    shown = np.zeros(index.max(0) + 1, np.bool_)
    shown[tuple(index.T)] = True
    axis = _slice_axis(shown, grid)
    found = {}
    for number, name in enumerate(labels.names):
        if number and (classes == number).any():
            found[name] = _marks(index[classes == number], index[classes != number], grid, axis)
    return _with_spans(found, constraints, labels, axis) if constraints.drawn_whole else found


def _with_spans(
    found: Mapping[str, Marks],
    constraints: Constraints | SparseConstraints,
    labels: LabelSet,
    axis: int,
) -> dict[str, Marks]:
    """Return marks in slices drawn whole, with how far these lie apart and how many show them."""
    (index, classes), grid = constraints.marks, constraints.grid
    drawn, spacing = np.unique(index[:, axis]), float(grid.spacing_mm[axis])
    gap = spacing * (int(np.diff(drawn).max()) if len(drawn) > 1 else 1)  # that is bridged
    told = {}
    for name in labels.foreground:
        number = labels.number(name)
        showing = len(np.unique(index[classes == number, axis]))
        span = spacing * grid.shape[axis] * showing / len(drawn)
        if showing:
            told[name] = replace(found[name], gap_mm=gap, span_mm=span, spread=None)
        elif number not in constraints.open_labels:
            told[name] = Marks(0.0, None, None, span)
    return told


def _slice_axis(hinted: Bool[np.ndarray, "i j k"], grid: Grid) -> int:
    """Return the axis across the slices drawn in: the coarsest, or along which fewest touch."""
    spacing = grid.spacing_mm
    coarse = int(np.argmax(spacing))
    if spacing[coarse] > 1.5 * np.median(spacing):
        return coarse
    touching = [
        int((np.diff(hinted.astype(np.int8), axis=axis) == 0)[_low(hinted, axis)].sum())
        for axis in range(3)
    ]
    return int(np.argmin(touching))


def _low(hinted: Bool[np.ndarray, "i j k"], axis: int) -> Bool[np.ndarray, "a b c"]:
    """Return the hinted voxels that have a next one along an axis."""
    return np.asarray(hinted[(slice(None),) * axis + (slice(None, -1),)])


def label_marks(
    seeds: Bool[np.ndarray, "i j k"], grid: Grid, axis: int | None = None
) -> Int32[np.ndarray, "i j k"]:
    """Number the marks of a class from 1: a stroke ends with its slice.

    Args:
        seeds: Voxels of one class.
        grid: Their grid.
        axis: Across the slices that were drawn in; found from the seeds if not given.

    Returns:
        Their numbers; 0 where nothing is marked.
    """
    flat = np.ones((3, 3, 3), np.bool_)
    axis = _slice_axis(seeds, grid) if axis is None else axis
    flat[(slice(None),) * axis + ([0, 2],)] = False
    return np.asarray(ndimage.label(seeds, flat)[0], np.int32)


def gaps_mm(marks: Int32[np.ndarray, "i j k"], grid: Grid) -> Float64[np.ndarray, " mark"]:
    """Measure the straight way from each of some marks to the nearest other one.

    Args:
        marks: From `label_marks`.
        grid: Their grid.

    Returns:
        Millimetres for evenly chosen marks; empty for a single mark.
    """
    index = np.argwhere(marks)
    owner = marks[tuple(index.T)]
    places = index * grid.spacing_mm
    count = int(marks.max())
    step = max(1, -(-count // _MARKS))
    if 1 < count == len(owner):  # single voxels, which are numbered in their order
        return np.asarray(cKDTree(places).query(places[::step], k=[2])[0])[:, 0]
    gaps = []
    for mark in range(1, count + 1, step):
        rest = _some(places[owner != mark])
        if len(rest):
            away, _ = cKDTree(rest).query(_some(places[owner == mark]))
            gaps.append(float(np.min(away)))
    return np.array(gaps)


def typical_gap(gaps: Float[np.ndarray, " mark"]) -> float:
    """Return the upper quartile of the ways from marks to the next: few lie further apart."""
    return float(np.quantile(gaps, _GAP))


def _marks(
    index: Int64[np.ndarray, "n 3"], other: Int64[np.ndarray, "m 3"], grid: Grid, axis: int
) -> Marks:
    corner = index.min(0)
    index, other = index - corner, other - corner
    seeds = np.zeros(index.max(0) + 1, np.bool_)
    seeds[tuple(index.T)] = True
    parts = label_marks(seeds, grid, axis)
    owner = parts[tuple(index.T)]
    places = index * grid.spacing_mm
    flat = [a for a in range(3) if a != axis]
    count = int(parts.max())
    extents, apart = [], []
    for mark in range(1, count + 1, -(-count // _MARKS)):
        own = places[owner == mark]
        extents.append(float(np.linalg.norm(own.max(0) - own.min(0))))
        beside = other[other[:, axis] == index[owner == mark][0, axis]] * grid.spacing_mm
        apart.append(_surrounded(own[:, flat], beside[:, flat]))
    if count < FEWEST_MARKS:
        return Marks(float(np.median(extents)), None, _median(apart))
    return Marks(
        float(np.median(extents)),
        typical_gap(gaps_mm(parts, grid)),
        _median(apart),
        spread=_spread(places, owner),
    )


def _spread(places: Float64[np.ndarray, "n 3"], owner: Int32[np.ndarray, " n"]) -> Spread | None:
    """Return how widely marks lie, and how that changes where one of them is left out.

    Source:
        Efron and Stein 1981, "The jackknife estimate of variance".
    """
    places = places - places.mean(0)
    counts = np.bincount(owner)[1:].astype(np.float64)
    sums = np.stack([np.bincount(owner, along)[1:] for along in places.T])
    squares = np.bincount(owner, (places**2).sum(1))[1:]
    rest = counts.sum() - counts
    without = (squares.sum() - squares) / rest - ((sums / rest) ** 2).sum(0)
    whole = squares.sum() / counts.sum() * len(counts) / (len(counts) - 1)
    if without.min() <= 0:
        return None
    logs = np.log(without) / 2
    return Spread(float(np.sqrt(whole)), float((len(counts) - 1) * logs.var()), len(counts))


def _surrounded(
    own: Float64[np.ndarray, "n 2"], others: Float64[np.ndarray, "m 2"]
) -> float | None:
    """Return the usual distance to hints around a mark in its slice; None if they leave it open."""
    if not len(others):
        return None
    ways = others - own.mean(0)
    sector = np.floor((np.arctan2(*ways.T) / np.pi + 1) / 2 * _SECTORS).astype(np.int64)
    nearest = np.full(_SECTORS + 1, np.inf)
    np.minimum.at(nearest, sector, np.linalg.norm(ways, axis=1))
    closed = nearest[np.isfinite(nearest)]
    return float(np.median(closed)) if len(closed) >= _CLOSED else None


def _median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are known."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _usual(values: Iterable[float | None]) -> float:
    return _median(values) or 0.0


def _some(places: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "m 3"]:
    return places[:: max(1, -(-len(places) // _PLACES))]


def distance_caps(
    measured: Iterable[Mapping[str, Marks]], grids: Sequence[Grid], labels: LabelSet
) -> dict[str, float]:
    """Decide for each label how far from its hints it may be found, where nothing else is shown.

    Args:
        measured: What `measure_marks` found in some or all cases.
        grids: Their grids.
        labels: Names of the classes.

    Returns:
        Millimetres for each foreground label: the most that follows from how far its marks lie
        apart, how long its strokes are, and how far away the hints are that surround them, each as
        the median over cases. Slices drawn whole are bridged, but not beyond half of the length
        that the label has across them. Where none of these is known, a twentieth of the field of
        view.
    """
    cases = list(measured)
    fields = [np.linalg.norm(np.array(g.shape) * g.spacing_mm) for g in grids]
    least = float(np.median([g.spacing_mm.max() for g in grids]))
    caps = {}
    for name in labels.foreground:
        cap = _cap([case[name] for case in cases if name in case])
        caps[name] = max(cap, least) if cap > 0 else _FIELD * float(np.median(fields))
    return caps


def _cap(every: Sequence[Marks]) -> float:
    """Return how far a label may be found from its hints; 0 where its marks do not tell."""
    marks = [mark for mark in every if mark.span_mm != 0]
    bridged = _REACHED * _usual(mark.gap_mm for mark in marks)
    if spans := [mark.span_mm for mark in every if mark.span_mm is not None]:
        return min(bridged, _SPANNED * float(np.mean(spans)))
    drawn_along = _EXTENT * _usual(mark.extent_mm for mark in marks)
    return max(bridged, drawn_along, _APART * _usual(mark.apart_mm for mark in marks))
