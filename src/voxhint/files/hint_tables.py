"""Hints written as tables: tags, points, boxes and diameters."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from jaxtyping import Float64

from voxhint.core.errors import BadFileError, BadHintError
from voxhint.core.hints import Box, Diameter, Hint, Points, State, Tag
from voxhint.core.labels import BACKGROUND, LabelSet
from voxhint.files.csv_tables import Row, read_table
from voxhint.files.problems import Problem, problem_of

_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A hint, the case it speaks of, and where it was written."""

    case: str
    hint: Hint
    where: str


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a file of hints holds, and what is wrong with the rest."""

    hints: tuple[Placed, ...] = ()
    problems: tuple[Problem, ...] = ()


def foreground(labels: LabelSet, label: str) -> str:
    """Return a label's name if it may be tagged, boxed or measured.

    Raises:
        BadHintError: It is unknown, or background.
    """
    labels.number(label)
    if label == BACKGROUND:
        msg = f"label is {BACKGROUND}; only points, scribbles and slices may show background"
        raise BadHintError(msg)
    return label


def turn_frame(frame: str, place: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    """Return a place in RAS+.

    Args:
        frame: RAS or LPS; empty means RAS.
        place: In that frame, millimetres.

    Raises:
        BadHintError: The frame is neither.
    """
    match frame.upper():
        case "" | "RAS":
            return place
        case "LPS":
            return np.asarray(place * _LPS, dtype=np.float64)
        case _:
            msg = f"frame is '{frame}'; write RAS or LPS"
            raise BadHintError(msg)


def _place(row: Row, columns: tuple[str, str, str]) -> Float64[np.ndarray, "3"]:
    return turn_frame(row.text("frame"), np.array([row.number(column) for column in columns]))


def _confidence(row: Row) -> float:
    if not row.text("confidence"):
        return 1.0
    value = row.number("confidence")
    if not 0 < value <= 1:
        msg = f"confidence is {value:g}; write a number above 0, up to 1"
        raise BadHintError(msg)
    return value


def _tag(row: Row, labels: LabelSet) -> Hint:
    label, state = foreground(labels, row.name("label")), row.name("state").lower()
    # the frame turns x and y only, so heights need none; still, an unknown word is refused
    turn_frame(row.text("frame"), np.zeros(3))
    if state not in get_args(State):
        msg = f"state is '{state}'; write {', '.join(get_args(State))}"
        raise BadHintError(msg)
    ends = (row.text("z_min"), row.text("z_max"))
    heights: tuple[float, float] | None = None
    if any(ends):
        if not all(ends):
            msg = "only one of z_min and z_max is given; give both or neither"
            raise BadHintError(msg)
        heights = (row.number("z_min"), row.number("z_max"))
        if heights[0] > heights[1]:
            msg = f"z_min {heights[0]:g} lies above z_max {heights[1]:g}; swap them"
            raise BadHintError(msg)
    return Tag(label, _state(state), heights)


def _state(text: str) -> State:
    return "present" if text == "present" else "absent" if text == "absent" else "unknown"


def _point(row: Row, labels: LabelSet) -> Hint:
    label = row.name("label")
    labels.number(label)
    return Points(label, _place(row, ("x", "y", "z"))[None], np.array([_confidence(row)]))


def _box(row: Row, labels: LabelSet) -> Hint:
    label = foreground(labels, row.name("label"))
    for axis in "xyz":
        low, high = row.number(f"{axis}_min"), row.number(f"{axis}_max")
        if low >= high:
            msg = f"{axis}_min {low:g} is not below {axis}_max {high:g}; swap or mend them"
            raise BadHintError(msg)
    ends = np.stack(
        [_place(row, ("x_min", "y_min", "z_min")), _place(row, ("x_max", "y_max", "z_max"))]
    )
    return Box(label, ends.min(axis=0), ends.max(axis=0))


def _diameter(row: Row, labels: LabelSet) -> Hint:
    label = foreground(labels, row.name("label"))
    size = row.number("diameter_mm")
    if size <= 0:
        msg = f"diameter_mm is {size:g}; write the longest diameter, above 0"
        raise BadHintError(msg)
    return Diameter(label, _place(row, ("x", "y", "z")), size)


@dataclass(frozen=True, slots=True)
class _Kind:
    needed: tuple[str, ...]
    known: tuple[str, ...]
    read: Callable[[Row, LabelSet], Hint]


_KINDS: Mapping[str, _Kind] = {
    "tags.csv": _Kind(("case", "label", "state"), ("z_min", "z_max", "frame"), _tag),
    "points.csv": _Kind(("case", "label", "x", "y", "z"), ("confidence", "frame"), _point),
    "boxes.csv": _Kind(
        ("case", "label", "x_min", "y_min", "z_min", "x_max", "y_max", "z_max"), ("frame",), _box
    ),
    "diameters.csv": _Kind(("case", "label", "x", "y", "z", "diameter_mm"), ("frame",), _diameter),
}

TABLES = tuple(_KINDS)
"""Names of the tables a folder of hints may hold."""


def columns_of(table: str) -> tuple[str, ...]:
    """Return the needed columns of one of `TABLES`, in the order they are written."""
    return _KINDS[table].needed


def read_hint_table(path: Path, labels: LabelSet, *, where: str | None = None) -> Reading:
    """Read one table of hints; its name tells the kind.

    Args:
        path: A file called as one of `TABLES`.
        labels: The study's.
        where: How to call it in problems; its name if None.

    Returns:
        The good rows in order, and a problem for each bad one.
    """
    kind, where = _KINDS[path.name], where or path.name
    try:
        table = read_table(path, where, needed=kind.needed, known=kind.known)
    except BadFileError as error:
        return Reading(problems=(problem_of(error, where),))
    hints, problems = [], list(table.problems)
    first: dict[tuple[str, ...], str] = {}
    for row in table.rows:
        if (same := first.setdefault(tuple(row.cells.values()), row.where)) != row.where:
            finding = f"repeats {same}, and counts once"
            problems.append(Problem(row.where, finding, "remove one", "warning"))
            continue
        try:
            hints.append(Placed(row.name("case"), kind.read(row, labels), row.where))
        except BadHintError as error:
            problems.append(problem_of(error, row.where, case=row.text("case") or None))
    if not table.rows:
        problems.append(Problem(where, "has no rows", "add hints, or remove it", "warning"))
    return Reading(tuple(hints), tuple(problems))


def gather(placed: Iterable[Placed]) -> dict[str, tuple[Hint, ...]]:
    """Return the hints of each case in order, its points joined into one hint per label."""
    cases: dict[str, list[Hint]] = {}
    clicks: dict[tuple[str, str], list[Points]] = {}
    for item in placed:
        hints = cases.setdefault(item.case, [])
        if not isinstance(item.hint, Points):
            hints.append(item.hint)
            continue
        same = clicks.setdefault((item.case, item.hint.label), [])
        same.append(item.hint)
        if len(same) == 1:
            hints.append(item.hint)
    return {
        case: tuple(
            _joined(clicks[case, hint.label]) if isinstance(hint, Points) else hint
            for hint in hints
        )
        for case, hints in cases.items()
    }


def _joined(clicks: list[Points]) -> Points:
    return Points(
        clicks[0].label,
        np.concatenate([item.positions_mm for item in clicks]),
        np.concatenate([item.confidence for item in clicks]),
    )
