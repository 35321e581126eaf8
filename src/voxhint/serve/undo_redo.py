"""The hints of one case while a person works on it: steps that can be undone and done again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from pydantic import TypeAdapter

from voxhint.core.errors import BadHintError
from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.serve.contract import Edit, Layer, Mark, Paint

LAYERS: tuple[Layer, ...] = get_args(Layer)
Box3 = tuple[slice, slice, slice]
Drawn = UInt8[np.ndarray, "i j k"]

_MARK: TypeAdapter[Mark] = TypeAdapter(Mark)


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    """What a painting covered."""

    layer: Layer
    voxels: Int64[np.ndarray, " n"]
    classes: UInt8[np.ndarray, " n"]


@dataclass(slots=True, eq=False)
class _Step:
    """An edit that was done: what it added and took, and what its painting covered."""

    added: dict[int, Mark]
    removed: dict[int, Mark]
    paints: tuple[Paint, ...]
    between: bool = False
    made: int = 0
    """The revision that it made first, which no other step did."""

    before: tuple[_Before, ...] = ()


@dataclass(slots=True, eq=False)
class CaseHints:
    """Marks and drawings of one case; paintings lie on the page's grid, known once it is opened.

    Every state follows from the first one and the steps done since, so that undo and redo lead to
    the same bytes.
    """

    labels: LabelSet
    marks: dict[int, Mark] = field(default_factory=dict)
    """By number, in the order they were made."""

    drawn: dict[Layer, Drawn] = field(default_factory=dict)
    """Class numbers; empty until `lay_out`."""

    revision: int = 0
    _done: list[_Step] = field(default_factory=list)
    _undone: list[_Step] = field(default_factory=list)
    _next: int = 1

    @staticmethod
    def of(labels: LabelSet, marks: Iterable[Mark]) -> "CaseHints":
        """Return the hints that a study holds already."""
        numbered = dict(enumerate(marks, 1))
        return CaseHints(labels, numbered, _next=len(numbered) + 1)

    @property
    def undo_steps(self) -> int:
        """Return how many steps can be undone."""
        return len(self._done)

    @property
    def redo_steps(self) -> int:
        """Return how many steps can be done again."""
        return len(self._undone)

    @property
    def has_drawn(self) -> bool:
        """Return whether anything was drawn here since the study."""
        return any(step.paints or step.between for step in self._done)

    @property
    def paintings(self) -> int:
        """Return how many steps with the brush there are."""
        return sum(bool(step.paints or step.between) for step in self._done)

    @property
    def between(self) -> tuple[int, ...]:
        """Return what tells how slices are filled in between: other numbers when that changes.

        Empty unless it was asked for.
        """
        if not any(step.between for step in self._done):
            return ()
        slices = [any(p.layer == "slices" for p in step.paints) for step in self._done]
        pairs = zip(self._done, slices, strict=True)
        return tuple(step.made for step, drawn in pairs if drawn or step.between)

    def lay_out(self, drawn: Mapping[Layer, Drawn]) -> None:
        """Take what the study has drawn, and paint on it what was painted since.

        Args:
            drawn: Class numbers on the page's grid for every layer.
        """
        self.drawn = dict(drawn)
        for step in self._done:
            step.before = self._paint(step.paints)

    def require_good(self, edit: Edit) -> None:
        """Refuse an edit that names what is not there; nothing has changed then.

        Raises:
            BadHintError: It does.
        """
        missing = [number for number in edit.remove if number not in self.marks]
        if missing:
            msg = f"hint {missing[0]} is not there any more; load the case again"
            raise BadHintError(msg)
        if len(set(edit.remove)) < len(edit.remove):
            msg = "a hint is removed twice; load the case again"
            raise BadHintError(msg)
        for mark in edit.add:
            self._require_good_mark(mark)
        for paint in edit.paints:
            self._require_good_paint(paint)

    def _require_good_mark(self, mark: Mark) -> None:
        number = self.labels.number(mark.label)
        if number == 0 and mark.kind != "point":
            msg = f"a {mark.kind} cannot be of background; use points or strokes"
            raise BadHintError(msg)
        if mark.kind == "box" and any(a >= b for a, b in zip(mark.low, mark.high, strict=True)):
            msg = "the box is empty; drag it over some voxels"
            raise BadHintError(msg)

    def _require_good_paint(self, paint: Paint) -> None:
        if paint.label is not None:
            self.labels.number(paint.label)
        if not self.drawn:
            msg = "the case is not open; open it before drawing"
            raise BadHintError(msg)
        canvas = self.drawn[paint.layer]
        if any(start + count > canvas.size for start, count in paint.runs):
            msg = f"a stroke leaves the image of {canvas.size} voxels; load the case again"
            raise BadHintError(msg)
        if paint.plane is not None and paint.plane[1] >= canvas.shape[paint.plane[0]]:
            msg = f"slice {paint.plane[1]} is not in the image; load the case again"
            raise BadHintError(msg)

    def edit(self, edit: Edit) -> Box3 | None:
        """Do a step; what was undone before it is gone.

        Args:
            edit: Looked at by `require_good`.

        Returns:
            The box of voxels whose drawing changed, None without any.
        """
        removed = {number: self.marks[number] for number in edit.remove}
        added = {self._next + n: mark for n, mark in enumerate(edit.add)}
        self._undone.clear()
        step = _Step(added, removed, edit.paints, edit.between, self.revision)
        self._do(step)
        return self.box_of(step.before)

    def undo(self) -> tuple[tuple[Mark, ...], Box3 | None]:
        """Undo the last step.

        Returns:
            The marks that came or went, and the box of voxels whose drawing changed.

        Raises:
            BadHintError: There is none.
        """
        if not self._done:
            msg = "there is nothing to undo"
            raise BadHintError(msg)
        step = self._done.pop()
        for before in reversed(step.before):
            _flat(self.drawn[before.layer])[before.voxels] = before.classes
        self.marks = {n: mark for n, mark in self.marks.items() if n not in step.added}
        self.marks = dict(sorted({**self.marks, **step.removed}.items()))
        self._next -= len(step.added)
        self._undone.append(step)
        self.revision += 1
        return (*step.added.values(), *step.removed.values()), self.box_of(step.before)

    def redo(self) -> tuple[tuple[Mark, ...], Box3 | None]:
        """Do the last undone step again.

        Returns:
            As for `undo`.

        Raises:
            BadHintError: There is none.
        """
        if not self._undone:
            msg = "there is nothing to do again"
            raise BadHintError(msg)
        step = self._undone.pop()
        self._do(step)
        return (*step.added.values(), *step.removed.values()), self.box_of(step.before)

    def _do(self, step: _Step) -> None:
        kept = {n: mark for n, mark in self.marks.items() if n not in step.removed}
        self.marks = {**kept, **step.added}
        self._next += len(step.added)
        step.before = self._paint(step.paints)
        self._done.append(step)
        self.revision += 1

    def _paint(self, paints: Sequence[Paint]) -> tuple[_Before, ...]:
        """Return what was there before, having painted."""
        if not self.drawn:
            return ()
        return tuple(before for paint in paints for before in self._paint_one(paint))

    def _paint_one(self, paint: Paint) -> list[_Before]:
        canvas, flat = self.drawn[paint.layer], _flat(self.drawn[paint.layer])
        old = []
        if paint.plane is not None:
            axis, index = paint.plane
            plane = np.zeros(canvas.shape, np.bool_, order="F")
            plane[(slice(None),) * axis + (index,)] = True
            voxels = np.flatnonzero(_flat(plane) & (flat == UNDRAWN))
            old.append(_Before(paint.layer, voxels, flat[voxels].copy()))
            flat[voxels] = 0
        voxels = _voxels_of(paint.runs)
        old.append(_Before(paint.layer, voxels, flat[voxels].copy()))
        flat[voxels] = UNDRAWN if paint.label is None else self.labels.number(paint.label)
        return old

    def box_of(self, old: Sequence[_Before]) -> Box3 | None:
        """Return the box of the voxels that were painted."""
        voxels = [before.voxels for before in old if before.voxels.size]
        if not voxels:
            return None
        shape = next(iter(self.drawn.values())).shape
        index = np.unravel_index(np.concatenate(voxels), shape, order="F")
        i, j, k = (slice(int(along.min()), int(along.max()) + 1) for along in index)
        return i, j, k

    def snapshot(self) -> bytes:
        """Return the state as bytes: the same hints give the same."""
        marks = {n: _MARK.dump_python(mark, mode="json") for n, mark in self.marks.items()}
        told = json.dumps(marks, sort_keys=True).encode()
        return told + b"".join(self.drawn[layer].tobytes("F") for layer in sorted(self.drawn))


def _flat(canvas: Drawn | Bool[np.ndarray, "i j k"]) -> Any:  # noqa: ANN401
    """Return the voxels of a canvas in the order of the page, to read and write."""
    return canvas.reshape(-1, order="F")


def _voxels_of(runs: Sequence[tuple[int, int]]) -> Int64[np.ndarray, " n"]:
    """Return the numbers of the voxels of runs, each once, in order."""
    if not runs:
        return np.zeros(0, np.int64)
    return np.unique(np.concatenate([np.arange(a, a + n, dtype=np.int64) for a, n in runs]))
