"""What each hint proves of each voxel: classes present, classes ruled out, and classes likely."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import assert_never

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from scipy import ndimage

from voxhint.core import (
    UNDRAWN,
    Box,
    Diameter,
    Grid,
    Hint,
    LabelSet,
    Points,
    Soft,
    Strokes,
    Tag,
    Turn,
)
from voxhint.core.sparse_constraints import draw_conclusions

_Classes = Float32[np.ndarray, "class i j k"]

_NEAR_VOXELS = 3  # around hints
_RIM = 2  # settled voxels around the open ones, from which distances start
_CORE, _BALL_CORE = 0.5, 0.65  # of half the width of a box and of a ball: objects fill the middle
_TIE = 1.0001  # voxels equally near a middle are all taken, whatever the rounding
_MARGIN = 0.15  # of a diameter: how far beyond the ball an object may still reach


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What the hints of one case say before anything is propagated.

    `proven` and `possible` are facts that every mask must respect; `likely` is a guess that only
    guides spreading.
    """

    proven: Float32[np.ndarray, "class i j k"]
    """How surely the voxel is of the class: 1 for a sure click or stroke, 0 where none is."""

    possible: Float32[np.ndarray, "class i j k"]
    """1 where the class may be, 0 where a hint rules it out, between where a soft hint doubts."""

    likely: Float32[np.ndarray, "class i j k"]
    """Trust in places that follow from the shape of a box or a ball; 0 elsewhere."""

    grid: Grid

    drawn_whole: bool = False
    """Whether whole slices were drawn: their gaps, not their voxels, say how far they speak."""

    open_labels: tuple[int, ...] = ()
    """Labels that the case does not show, and that may be where it shows background."""

    @property
    def settled(self) -> Bool[np.ndarray, "i j k"]:
        """Return the voxels of which every class is decided, with nothing left to propagate."""
        return np.asarray((self.proven.max(0) >= 1) | ((self.possible > 0).sum(0) <= 1))

    @property
    def marks(self) -> tuple[Int64[np.ndarray, "n 3"], UInt8[np.ndarray, " n"]]:
        """Return the index and the class of each voxel of which a mark shows the class."""
        shown = self.proven > 0.5  # of one class at most
        index = np.argwhere(shown.any(0))
        return index, shown[:, *index.T].argmax(0).astype(np.uint8)

    def shown(self, number: int) -> Int64[np.ndarray, "n 3"]:
        """Return the index of each voxel that hints of a class span: marks, boxes and balls."""
        shown = self.proven[number] > 0.5
        if self.likely[number].any():
            shown = shown | (self.possible[number] > 0)
        return np.argwhere(shown)

    @property
    def near(self) -> Bool[np.ndarray, "i j k"]:
        """Return the voxels near hints: what is typical of an image is measured there."""
        shown = np.asarray((self.proven.max(0) > 0.5) | (self.likely.max(0) > 0))
        return _around_hints(shown)

    def bounds(self, planes: slice, turn: Turn) -> tuple[_Classes, _Classes]:
        """Return the least and the greatest chance of each class in planes of the turned grid."""
        proven, possible = (turn.view(one)[:, planes] for one in (self.proven, self.possible))
        return proven, np.maximum(possible, proven)

    def cropped(self, part: tuple[slice, slice, slice]) -> "Constraints":
        """Return the constraints of a box of voxels."""
        inner = (slice(None), *part)
        fields = {name: getattr(self, name)[inner] for name in ("proven", "possible", "likely")}
        return replace(self, grid=self.grid.cropped(part), **fields)

    def open_box(self) -> tuple[slice, slice, slice] | None:
        """Return the box around all voxels that are not settled and a rim, None without any."""
        found, open_ = [], ~self.settled
        for axis in range(3):
            rest = tuple(other for other in range(3) if other != axis)
            along = np.flatnonzero(open_.any(rest))
            if not along.size:
                return None
            found.append(slice(max(0, int(along[0]) - _RIM), int(along[-1]) + 1 + _RIM))
        return found[0], found[1], found[2]


def constraints_of(grid: Grid, hints: Sequence[Hint], labels: LabelSet) -> Constraints:
    """Lay every hint of a case onto its grid.

    A negative tag rules its label out; a box rules it out outside, as does a diameter with doubt at
    its rim; points, scribbles and drawn slices prove their class where they lie. Where all
    foreground labels are ruled out, background is proven. The rest stays unknown.

    Args:
        grid: Where results lie: the grid of the case's first channel.
        hints: Hints of one case, all inside the grid.
        labels: Names of the classes.

    Returns:
        Facts and guesses for every voxel and class.

    Raises:
        BadHintError: A hint names an unknown label.
        GridMismatchError: A drawn or soft hint lies on another grid.
    """
    shape = (len(labels.names), *grid.shape)
    proven, likely = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    possible = np.ones(shape, np.float32)
    for hint in hints:
        _lay(hint, proven, possible, grid=grid, labels=labels)
    for name in labels.foreground:
        shaped = [h for h in hints if isinstance(h, Box | Diameter) and h.label == name]
        if shaped:
            number = labels.number(name)
            likely[number], reached = _lay_shapes(shaped, grid)
            possible[number] = np.minimum(possible[number], reached)
    draw_conclusions(proven, possible)
    drawn_whole = any(isinstance(h, Strokes) and h.complete for h in hints)
    return Constraints(proven, possible, likely, grid, drawn_whole, open_labels(hints, labels))


def spoken_of(hints: Sequence[Hint], labels: LabelSet) -> set[int]:
    """Return the classes that hints of a case show or tag, background included."""
    spoken = {0}
    for hint in hints:
        if isinstance(hint, Strokes):
            drawn = np.flatnonzero(np.bincount(hint.classes.ravel(), minlength=UNDRAWN + 1))
            spoken |= {int(number) for number in drawn if number != UNDRAWN}
        else:
            spoken.add(labels.number(hint.label))
    return spoken


def open_labels(hints: Sequence[Hint], labels: LabelSet) -> tuple[int, ...]:
    """Return the labels that may be where a case shows background.

    They are those that the case does not show, and that are tagged unknown or outlined in some
    cases only.

    Args:
        hints: Of one case.
        labels: Names of the classes, and which are optional.
    """
    told = [h for h in hints if not (isinstance(h, Tag) and h.state == "unknown")]
    asked = {*labels.optional, *(h.label for h in hints if isinstance(h, Tag))}
    return tuple(sorted({labels.number(name) for name in asked} - spoken_of(told, labels)))


def _lay(
    hint: Hint,
    proven: Float32[np.ndarray, "class i j k"],
    possible: Float32[np.ndarray, "class i j k"],
    *,
    grid: Grid,
    labels: LabelSet,
) -> None:
    match hint:
        case Tag():
            _rule_out_by_tag(possible, grid, hint, labels)
        case Points():
            _prove_points(proven, grid, hint, labels)
        case Strokes():
            grid.require_same(hint.grid)
            for number in range(len(labels.names)):
                proven[number][hint.classes == number] = 1
        case Soft():
            grid.require_same(hint.grid)
            number = labels.number(hint.label)
            proven[number] = np.fmax(proven[number], hint.probability)  # NaN says nothing
            possible[number] = np.fmin(possible[number], hint.probability)
        case Box() | Diameter():
            labels.number(hint.label)  # laid together afterwards: a label may have several
        case _:
            assert_never(hint)


def _rule_out_by_tag(
    possible: Float32[np.ndarray, "class i j k"], grid: Grid, tag: Tag, labels: LabelSet
) -> None:
    number = labels.number(tag.label)
    if tag.state != "absent":
        return
    if tag.z_range_mm is None:
        possible[number] = 0
        return
    low, high = tag.z_range_mm
    height = places_mm(grid)[2]
    possible[number][(height >= low) & (height <= high)] = 0


def _prove_points(
    proven: Float32[np.ndarray, "class i j k"], grid: Grid, points: Points, labels: LabelSet
) -> None:
    i, j, k = nearest_voxels(grid, points.positions_mm)
    np.maximum.at(proven[labels.number(points.label)], (i, j, k), points.confidence)


def _around_hints(shown: Bool[np.ndarray, "i j k"]) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels around those that hints show."""
    return np.asarray(ndimage.binary_dilation(shown, iterations=_NEAR_VOXELS))


def around_marks(
    index: Int64[np.ndarray, "n 3"], shape: tuple[int, int, int]
) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels around some of a large image, as `_around_hints` does."""
    found = np.zeros(shape, np.bool_)
    reach = range(-_NEAR_VOXELS, _NEAR_VOXELS + 1)
    for step in product(reach, repeat=3):
        if np.abs(step).sum() <= _NEAR_VOXELS:
            near = index + step
            found[tuple(near[((near >= 0) & (near < shape)).all(1)].T)] = True
    return found


def nearest_voxels(
    grid: Grid, positions_mm: Float64[np.ndarray, "n 3"]
) -> Int64[np.ndarray, "3 n"]:
    """Return the index of the voxel nearest to each place."""
    index = np.round(grid.to_index(positions_mm)).astype(np.int64)
    return np.asarray(np.clip(index, 0, np.array(grid.shape) - 1).T)


def places_mm(grid: Grid) -> tuple[Float32[np.ndarray, "i j k"], ...]:
    """Return world x, y and z of every voxel's centre."""
    index = [np.arange(n, dtype=np.float32) for n in grid.shape]
    i, j, k = index[0][:, None, None], index[1][:, None], index[2]
    m = grid.affine.astype(np.float32)
    return tuple(m[w, 0] * i + m[w, 1] * j + m[w, 2] * k + m[w, 3] for w in range(3))


def _lay_shapes(
    shapes: Sequence[Box | Diameter], grid: Grid
) -> tuple[Float32[np.ndarray, "i j k"], Float32[np.ndarray, "i j k"]]:
    """Return where objects are likely (their cores), and where they are possible."""
    places = places_mm(grid)
    slack = float(grid.spacing_mm.max())  # a person's box is right to about a voxel
    core, reached = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    for shape in shapes:
        inner, beyond_mm, rim_mm = _shape(shape, places, slack)
        core[inner] = 1
        np.maximum(reached, np.clip(1 - beyond_mm / rim_mm, 0, 1), out=reached)
    return core, reached


def _shape(
    shape: Box | Diameter, places: Sequence[Float32[np.ndarray, "i j k"]], slack: float
) -> tuple[Bool[np.ndarray, "i j k"], Float32[np.ndarray, "i j k"], float]:
    """Return the core, the distance beyond the outline, and how far doubt reaches."""
    if isinstance(shape, Box):
        middle, half = (shape.low_mm + shape.high_mm) / 2, (shape.high_mm - shape.low_mm) / 2
        away = [np.abs(p - np.float32(m)) for p, m in zip(places, middle, strict=True)]
        round_core = sum(
            (a / np.float32(max(h, slack / 2))) ** 2 for a, h in zip(away, half, strict=True)
        )
        beyond = np.max([a - np.float32(h) for a, h in zip(away, half, strict=True)], axis=0)
        inner = np.asarray(round_core <= max(_CORE**2, _TIE * float(np.min(round_core))))
        return inner, beyond, slack
    squares = [(p - np.float32(c)) ** 2 for p, c in zip(places, shape.centre_mm, strict=True)]
    away_mm = np.sqrt(squares[0] + squares[1] + squares[2])
    radius = shape.diameter_mm / 2
    inner = away_mm <= max(_BALL_CORE * radius, _TIE * float(away_mm.min()))
    return inner, away_mm - np.float32(radius), max(slack, _MARGIN * shape.diameter_mm)


def reach_of(
    hint: Box | Diameter, grid: Grid
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Return the lowest and the highest world coordinates at which an object may still be."""
    slack = float(grid.spacing_mm.max())
    if isinstance(hint, Box):
        return hint.low_mm - slack, hint.high_mm + slack
    beyond = hint.diameter_mm / 2 + max(slack, _MARGIN * hint.diameter_mm)
    return hint.centre_mm - beyond, hint.centre_mm + beyond
