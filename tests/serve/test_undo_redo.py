"""Steps that are undone and done again lead to the same bytes."""

import numpy as np
import pytest
from tests.phantoms import LABELS

from voxhint.core.errors import BadHintError
from voxhint.core.labels import UNDRAWN
from voxhint.serve.contract import BoxMark, Edit, Mark, Paint, PointMark
from voxhint.serve.undo_redo import CaseHints

SHAPE = (5, 4, 3)


def laid_out() -> CaseHints:
    hints = CaseHints.of(LABELS, [PointMark(label="ball", at=(1, 2, 3))])
    hints.lay_out(
        {
            "scribbles": np.full(SHAPE, UNDRAWN, np.uint8, order="F"),
            "slices": np.full(SHAPE, UNDRAWN, np.uint8, order="F"),
        }
    )
    return hints


def any_edit(hints: CaseHints, rng: np.random.Generator) -> Edit:
    label = str(rng.choice(LABELS.names))
    start = int(rng.integers(50))
    paint = Paint(
        layer="scribbles" if rng.random() < 0.5 else "slices",
        label=None if rng.random() < 0.2 else label,
        runs=[(start, int(rng.integers(1, 10))), (start, 2)],
        plane=(2, int(rng.integers(3))) if rng.random() < 0.3 else None,
    )
    known = list(hints.marks)
    removed = [known[int(rng.integers(len(known)))]] if known and rng.random() < 0.4 else []
    added: list[Mark] = [PointMark(label=label, at=(start, 0, 0))] if rng.random() < 0.6 else []
    painted = paint if rng.random() < 0.6 else None
    return Edit(revision=hints.revision, add=added, remove=removed, paint=painted)


def test_a_thousand_random_steps_back_and_forth_leave_the_same_bytes() -> None:
    rng, hints = np.random.default_rng(0), laid_out()
    states = [hints.snapshot()]  # after 0, 1, 2, ... edits
    for _ in range(1000):
        turn = rng.random()
        if turn < 0.4 and hints.undo_steps:
            hints.undo()
        elif turn < 0.6 and hints.redo_steps:
            hints.redo()
        else:
            edit = any_edit(hints, rng)
            hints.require_good(edit)
            del states[hints.undo_steps + 1 :]
            hints.edit(edit)
            states.append(hints.snapshot())
        assert hints.snapshot() == states[hints.undo_steps]
    while hints.undo_steps:
        hints.undo()
    assert hints.snapshot() == states[0]
    while hints.redo_steps:
        hints.redo()
    assert hints.snapshot() == states[-1]


def test_what_was_painted_before_a_case_is_open_is_painted_when_it_is() -> None:
    paint = Paint(layer="slices", label="ball", runs=[(0, 3)], plane=(2, 0))
    early, late = CaseHints.of(LABELS, []), laid_out()
    early.edit(Edit(revision=0, paint=paint))
    early.lay_out({k: np.full(SHAPE, UNDRAWN, np.uint8, order="F") for k in late.drawn})
    late.edit(Edit(revision=0, paint=paint))
    assert np.array_equal(early.drawn["slices"], late.drawn["slices"])
    flat = early.drawn["slices"]
    assert (flat[:3, 0, 0] == 1).all()
    assert (flat[3:, 0, 0] == 0).all()
    assert (flat[:, :, 1:] == UNDRAWN).all()


@pytest.mark.parametrize(
    "edit",
    [
        Edit(revision=0, remove=[7]),
        Edit(revision=0, remove=[1, 1]),
        Edit(revision=0, add=[PointMark(label="liver", at=(0, 0, 0))]),
        Edit(revision=0, add=[BoxMark(label="background", low=(0, 0, 0), high=(1, 1, 1))]),
        Edit(revision=0, add=[BoxMark(label="ball", low=(0, 2, 0), high=(1, 1, 1))]),
        Edit(revision=0, paint=Paint(layer="slices", label="ball", runs=[(59, 2)])),
        Edit(revision=0, paint=Paint(layer="slices", label="ball", runs=[], plane=(2, 3))),
    ],
)
def test_an_edit_of_what_is_not_there_changes_nothing(edit: Edit) -> None:
    hints = laid_out()
    before = hints.snapshot()
    with pytest.raises(BadHintError):
        hints.require_good(edit)
    assert hints.snapshot() == before
