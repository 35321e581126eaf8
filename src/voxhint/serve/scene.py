"""What is needed of a case and of its folder while a person works on it, given by the verb."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.core import Box, Diameter, Grid, Hint, LabelSet, Points, Soft, Strokes, Tag, Volume
from voxhint.core.labels import UNDRAWN
from voxhint.serve.contract import BoxMark, DiameterMark, Layer, Mark, PointMark, Row, TagMark
from voxhint.serve.rounds import Begin
from voxhint.serve.undo_redo import Box3, Drawn


@runtime_checkable
class Answers(Protocol):
    """The mask of an open case, which answers to hints."""

    @property
    def classes(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the class of each voxel."""

    @property
    def sureness(self) -> float | None:
        """Return the mean lead of the first class over the second in the mask, None without any."""

    def answer(self, hints: Sequence[Hint], around: Box3 | None) -> tuple[Box3 | None, str]:
        """Change the mask.

        Args:
            hints: All of the case.
            around: Voxels at which hints came or went; None means everywhere.

        Returns:
            The box of voxels that may have changed, and what a person should know of it.
        """

    def trust(self, prior: Float32[np.ndarray, "class i j k"] | None) -> None:
        """Take what another model says; the next answer everywhere rests on it."""

    def adopt(self, classes: UInt8[np.ndarray, "i j k"]) -> None:
        """Show a mask that a person accepted; later hints change it where they are made."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An open case on the page's grid, whose axes run to the right, to the front and up."""

    images: Mapping[str, Volume]
    """By channel, all on the grid of the first."""

    drawn: Mapping[Layer, Drawn]
    """What the study has drawn, class numbers in Fortran order."""

    answers: Answers
    fixed: tuple[Hint, ...] = ()
    """Soft and partial masks of the study, which stay as they are."""

    layers: dict[str, Callable[[], UInt8[np.ndarray, "i j k"]]] = field(default_factory=dict)
    """What else can be shown, read when asked for: masks as class numbers, others from 0 to 255."""

    @property
    def grid(self) -> Grid:
        """Return the page's grid."""
        return next(iter(self.images.values())).grid


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A case of the study before it is opened."""

    name: str
    marks: tuple[Mark, ...] = ()
    takes_hints: bool = True
    drawings: int = 0
    """Files of drawn hints that the study has of it."""

    sureness: float | None = None


OpenImage = Callable[[Sequence[Volume], LabelSet], Answers]


@runtime_checkable
class _Keeper(Protocol):
    """Writes what was made into the session's folder."""

    def keep_marks(self, marks: Mapping[str, tuple[Hint, ...]]) -> None:
        """Write the tables of all marks."""

    def keep_drawn(self, case: str, layer: Layer, drawn: Drawn) -> None:
        """Write a drawing, on the page's grid."""

    def keep_soft(self, case: str, hints: Sequence[Soft]) -> None:
        """Write the soft hints between drawn slices, on the page's grid; older ones go."""

    def keep_mask(self, case: str, classes: UInt8[np.ndarray, "i j k"] | None) -> None:
        """Write the mask that a person accepted; None takes it away again."""

    def kept_mask(self, case: str) -> UInt8[np.ndarray, "i j k"] | None:
        """Return the mask that a person accepted, on the page's grid; None without any."""

    def keep_cost(self, seconds: Mapping[str, Mapping[str, float]]) -> None:
        """Write what the work cost, by case and by kind of step."""

    def keep_review(self, rows: Sequence[Row]) -> None:
        """Write the table of verdicts."""


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """A study as the session needs it."""

    name: str
    labels: LabelSet
    channels: tuple[str, ...]
    cases: tuple[Listed, ...]
    open_scene: Callable[[str], Scene]
    keeper: _Keeper
    renew: Callable[[str, Scene], None]
    """Gives an open case what the newest masks say of it."""

    run: str | None = None
    """Name of the run whose masks and model are shown."""

    begin: Begin | None = None
    """Begins a round; None where nothing can be trained."""

    open_image: OpenImage | None = None
    """Answers to clicks on an image that is no case of the study."""


def mark_of(hint: Hint) -> list[Mark]:
    """Return the marks that a hint of a table is for the page; drawings have none."""
    match hint:
        case Points():
            pairs = zip(hint.positions_mm.tolist(), hint.confidence.tolist(), strict=True)
            return [PointMark(label=hint.label, at=_place(at), confidence=c) for at, c in pairs]
        case Box():
            low, high = _place(hint.low_mm.tolist()), _place(hint.high_mm.tolist())
            return [BoxMark(label=hint.label, low=low, high=high)]
        case Diameter():
            centre = _place(hint.centre_mm.tolist())
            return [DiameterMark(label=hint.label, centre=centre, diameter_mm=hint.diameter_mm)]
        case Tag():
            return [TagMark(label=hint.label, state=hint.state, z_range=hint.z_range_mm)]
        case _:
            return []


def _place(at: Sequence[float]) -> tuple[float, float, float]:
    return at[0], at[1], at[2]


def hint_of(mark: Mark) -> Hint:
    """Return a mark as a hint."""
    match mark:
        case PointMark():
            return Points(mark.label, np.array([mark.at]), np.array([mark.confidence]))
        case BoxMark():
            return Box(mark.label, np.array(mark.low), np.array(mark.high))
        case DiameterMark():
            return Diameter(mark.label, np.array(mark.centre), mark.diameter_mm)
        case TagMark():
            return Tag(mark.label, mark.state, mark.z_range)


def hints_of(marks: Sequence[Mark]) -> tuple[Hint, ...]:
    """Return marks as hints, the points of a label joined."""
    points: dict[str, list[PointMark]] = {}
    for mark in marks:
        if isinstance(mark, PointMark):
            points.setdefault(mark.label, []).append(mark)
    joined = [
        Points(label, np.array([p.at for p in same]), np.array([p.confidence for p in same]))
        for label, same in points.items()
    ]
    return (*joined, *(hint_of(mark) for mark in marks if not isinstance(mark, PointMark)))


def strokes_of(drawn: Mapping[Layer, Drawn], grid: Grid) -> tuple[Strokes, ...]:
    """Return the drawings of a case as hints; empty ones are none."""
    return tuple(
        Strokes(classes, grid, complete=layer == "slices")
        for layer, classes in drawn.items()
        if (classes != UNDRAWN).any()
    )


def box_of(marks: Sequence[Mark], grid: Grid) -> Box3 | None:
    """Return the voxels at which marks lie; None if one speaks of all, or there is none."""
    corners: list[tuple[float, float, float]] = []
    for mark in marks:
        match mark:
            case PointMark():
                corners.append(mark.at)
            case BoxMark():
                corners += _corners(mark.low, mark.high)
            case DiameterMark():
                r = mark.diameter_mm / 2
                x, y, z = mark.centre
                corners += _corners((x - r, y - r, z - r), (x + r, y + r, z + r))
            case TagMark():
                return None
    if not corners:
        return None
    index = grid.to_index(np.array(corners, np.float64))
    low = np.clip(np.floor(index.min(0)), 0, np.array(grid.shape) - 1).astype(int)
    high = np.clip(np.ceil(index.max(0)) + 1, low + 1, grid.shape).astype(int)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k


def _corners(
    low: tuple[float, float, float], high: tuple[float, float, float]
) -> list[tuple[float, float, float]]:
    ends = list(zip(low, high, strict=True))
    return [(x, y, z) for x in ends[0] for y in ends[1] for z in ends[2]]


def joined(*boxes: Box3 | None) -> Box3 | None:
    """Return the box around several; None if there is none."""
    there = [box for box in boxes if box is not None]
    if not there:
        return None
    i, j, k = (
        slice(min(b.start for b in a), max(b.stop for b in a)) for a in zip(*there, strict=True)
    )
    return i, j, k


def shown_range(voxels: Float32[np.ndarray, "i j k"], unit: str) -> tuple[float, float]:
    """Return the values between which an image is shown first: soft tissue, or all but the ends."""
    if unit == "HU":
        return -160.0, 240.0
    some = voxels.reshape(-1)[:: max(1, voxels.size // 200_000)]
    low, high = (float(v) for v in np.percentile(some, [1, 99]))
    return low, max(high, low + 1e-3)
