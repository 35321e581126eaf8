"""One case of a session, and what is told of it."""

import base64
import re
import threading
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8
from pydantic import ValidationError

from voxhint.core import Hint, Soft
from voxhint.core.box import bounding_box
from voxhint.core.errors import BadHintError, OutputError
from voxhint.serve.contract import (
    Channel,
    Edit,
    Layer,
    Mark,
    NumberedMark,
    Opened,
    Patch,
    Row,
    State,
    Verdict,
)
from voxhint.serve.scene import Listed, Scene, hint_of, joined, shown_range, strokes_of
from voxhint.serve.slice_interpolation import between_slices, paints_of, with_rim
from voxhint.serve.undo_redo import Box3, CaseHints


class UnknownError(BadHintError):
    """There is no such case, image or layer."""


class StaleError(BadHintError):
    """The case was changed elsewhere since the page read it."""


@dataclass(slots=True, eq=False)
class WorkCase:
    """A case with its hints, its verdict and its minutes; open while it has a scene."""

    listed: Listed
    hints: CaseHints
    between: tuple[tuple[int, ...], tuple[Soft, ...]] = ((), ())
    """What tells how slices are filled in between, and the hints that follow from it."""

    state: State = "open"
    note: str = ""
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds by kind of step."""

    sureness: float | None = None
    scene: Scene | None = None
    ready: bool = False
    """Whether the mask of the open case has answered to its hints."""

    lock: threading.RLock = field(default_factory=threading.RLock)

    def row(self) -> Row:
        """Return the case as the list shows it."""
        return Row(
            name=self.listed.name,
            state=self.state,
            note=self.note,
            hints=len(self.hints.marks) + self.listed.drawings + self.hints.paintings,
            seconds=round(sum(self.spent.values()), 1),
            sureness=self.sureness,
            takes_hints=self.listed.takes_hints,
        )


def need_of(row: Row) -> tuple[object, ...]:
    """Return how little a case needs a person, by which the page sorts them first."""
    parts = re.split(r"(\d+)", row.name.lower())
    numbered = [int(part) if n % 2 else part for n, part in enumerate(parts)]
    sure = 0.5 if row.sureness is None else row.sureness
    return row.state != "open", not row.takes_hints, sure, numbered


def all_hints(case: WorkCase, scene: Scene) -> tuple[Hint, ...]:
    """Return all hints of an open case, marks in the order in which they were made."""
    marks = [hint_of(mark) for mark in case.hints.marks.values()]
    drawn = strokes_of(case.hints.drawn, scene.grid)
    return (*marks, *drawn, *between_of(case, scene), *scene.fixed)


def between_of(case: WorkCase, scene: Scene) -> tuple[Soft, ...]:
    """Return the soft hints between the drawn slices of an open case, if they were asked for."""
    asked = case.hints.between
    if asked != case.between[0]:
        found: tuple[Soft, ...] = ()
        with suppress(BadHintError):  # slices were erased since
            found = _between(case, scene) if asked else ()
        case.between = asked, found
    return case.between[1]


def _between(case: WorkCase, scene: Scene) -> tuple[Soft, ...]:
    i, j, k = (float(s) for s in scene.grid.spacing_mm)
    chances = between_slices(case.hints.drawn["slices"], (i, j, k))
    names = case.hints.labels.names
    return tuple(Soft(names[n], chance, scene.grid) for n, chance in chances.items())


def said_box(hints: Sequence[Soft]) -> Box3 | None:
    """Return the box of the voxels of which soft hints say something."""
    said = [~np.isnan(hint.probability) for hint in hints]
    return joined(*(bounding_box(each) for each in said if each.any()))


def written_out(edit: Edit, case: WorkCase, scene: Scene) -> Edit:
    """Return a step with the drawings that it asks for without saying them.

    Raises:
        BadHintError: There is nothing to draw, or nothing between slices.
    """
    if edit.between:
        _require_between(case, scene)
    if edit.lock is None:
        return edit
    labels, mask = case.hints.labels, scene.answers.classes
    classes = with_rim(mask, mask == labels.number(edit.lock))
    fills = paints_of(classes, case.hints.drawn["scribbles"], labels)
    if not fills:
        msg = "there is nothing to draw that is not drawn already"
        raise BadHintError(msg)
    return edit.model_copy(update={"fills": fills, "lock": None})


def _require_between(case: WorkCase, scene: Scene) -> None:
    """Refuse to fill in between slices where that says nothing, or nothing new.

    Raises:
        BadHintError: It does not.
    """
    if case.hints.between:
        msg = "what lies between the drawn slices follows them already; undo takes it back"
        raise BadHintError(msg)
    labels = {hint.label for hint in _between(case, scene)}
    own = [hint.label for hint in scene.fixed if isinstance(hint, Soft) and hint.label in labels]
    if own or not labels:
        why = f"the study has a soft mask of '{own[0]}'" if own else "the slices show no label"
        msg = f"nothing can be filled in between the drawn slices: {why}"
        raise BadHintError(msg)


def require_current(case: WorkCase, revision: int) -> None:
    """Refuse a change of a case that was changed elsewhere since.

    Raises:
        StaleError: It was.
    """
    if revision != case.hints.revision:
        msg = f"case '{case.listed.name}' was changed in another window; it is loaded again"
        raise StaleError(msg)


def spend(case: WorkCase, step: Mapping[str, Any]) -> None:
    """Add up what a step cost the person, by its kind."""
    seconds, kind = float(step.get("seconds") or 0.0), str(step["do"])
    if kind == "edit":
        edit = Edit.model_validate(step["edit"])
        kinds: list[str] = ["between"] * edit.between
        kinds += [*(mark.kind for mark in edit.add), *(paint.layer for paint in edit.paints)]
        kind = kinds[0] if kinds else "remove"
    if seconds:
        case.spent[kind] = round(case.spent.get(kind, 0.0) + seconds, 3)


def replay(cases: Mapping[str, WorkCase], step: Mapping[str, Any]) -> WorkCase:
    """Do a step of a journal again.

    Args:
        cases: By name.
        step: As it was written down.

    Returns:
        The case that it changed.

    Raises:
        OutputError: It does not fit the study.
    """
    try:
        case = cases[str(step["case"])]
        match step["do"]:
            case "edit":
                case.hints.edit(Edit.model_validate(step["edit"]))
            case "undo":
                case.hints.undo()
            case "redo":
                case.hints.redo()
            case "verdict":
                verdict = Verdict.model_validate(step["verdict"])
                case.state, case.note = verdict.state, verdict.note
            case _:
                _refuse(step["do"])
        spend(case, step)
    except (KeyError, ValidationError, BadHintError) as error:
        msg = f"a step of this session does not fit the study ({error}); was the study changed?"
        raise OutputError(msg) from None
    return case


def _refuse(do: object) -> None:
    """Refuse a step of a kind that this version does not know.

    Raises:
        BadHintError: Always.
    """
    msg = f"unknown kind '{do}'"
    raise BadHintError(msg)


def numbered(marks: dict[int, Mark]) -> list[NumberedMark]:
    """Return marks with the numbers by which they are removed."""
    return [NumberedMark(id=number, mark=mark) for number, mark in marks.items()]


def told(case: WorkCase, scene: Scene) -> Opened:
    """Return what the page needs to show a case."""
    grid = scene.grid
    i, j, k = (float(s) for s in grid.spacing_mm)
    return Opened(
        name=case.listed.name,
        shape=grid.shape,
        spacing_mm=(i, j, k),
        affine=grid.affine.tolist(),
        channels=[
            Channel(name=channel, unit=image.unit, low=low, high=high)
            for channel, image in scene.images.items()
            for low, high in [shown_range(image.voxels, image.unit)]
        ],
        layers=list(scene.layers),
        revision=case.hints.revision,
        marks=numbered(case.hints.marks),
        undo=case.hints.undo_steps,
        redo=case.hints.redo_steps,
        row=case.row(),
    )


def require_inside(marks: Sequence[Mark], scene: Scene) -> None:
    """Refuse a point or a centre outside the image, as a study would.

    Raises:
        BadHintError: One lies there.
    """
    for mark in marks:
        place = getattr(mark, "at", None) or getattr(mark, "centre", None)
        if place is not None and not scene.grid.holds(np.array([place], np.float64)).all():
            told = ", ".join(f"{v:.1f}" for v in place)
            msg = f"the place ({told}) mm lies outside the image; click inside it"
            raise BadHintError(msg)


def patch(layer: Layer | str, voxels: UInt8[np.ndarray, "i j k"], box: Box3) -> Patch:
    """Return a box of a layer as it travels."""
    part = voxels[box]
    packed = base64.b64encode(zlib.compress(part.tobytes("F"), 1)).decode()
    low, size = tuple(int(s.start) for s in box), part.shape
    return Patch(layer=layer, low=low, size=size, voxels=packed)  # type: ignore[arg-type]
