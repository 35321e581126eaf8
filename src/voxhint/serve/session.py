"""A session: every case's hints, verdicts and minutes, each step on the disk before its answer."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from jaxtyping import UInt8

from voxhint.core.colours import colour_of, rgb_of
from voxhint.core.errors import BadHintError
from voxhint.serve.case import (
    UnknownError,
    WorkCase,
    all_hints,
    between_of,
    need_of,
    numbered,
    patch,
    replay,
    require_current,
    require_inside,
    said_box,
    spend,
    told,
    written_out,
)
from voxhint.serve.contract import (
    Change,
    Edit,
    Label,
    Mark,
    News,
    Opened,
    Overview,
    Row,
    Verdict,
)
from voxhint.serve.journal import Journal
from voxhint.serve.rounds import Renewed, Rounds, Work
from voxhint.serve.scene import Desk, Scene, box_of, hints_of, joined
from voxhint.serve.undo_redo import LAYERS, Box3, CaseHints

_OPEN = 3  # cases kept in memory
_KEPT = ("accepted", "corrected")


class Session:
    """What a person makes of a study; nothing of it is lost when the server is killed.

    Args:
        desk: The study.
        journal: Of steps; those it holds are done again.

    Raises:
        OutputError: A step of the journal does not fit the study.
    """

    def __init__(self, desk: Desk, journal: Journal) -> None:
        self.desk = desk
        self._journal = journal
        self._lock = threading.RLock()
        self._open: OrderedDict[str, WorkCase] = OrderedDict()
        self._cases = {
            listed.name: WorkCase(
                listed, CaseHints.of(desk.labels, listed.marks), sureness=listed.sureness
            )
            for listed in desk.cases
        }
        self._drawn_by_hand: set[str] = set()
        self._run, self._masks = desk.run, 0
        self.rounds = Rounds(self._begin_round if desk.begin else None, self._renew)
        for step in journal.read():
            case = replay(self._cases, step)
            if case.hints.has_drawn:
                self._drawn_by_hand.add(case.listed.name)
        self._keep_marks()
        self._keep_review()

    def overview(self) -> Overview:
        """Return the labels and the list of cases."""
        labels = self.desk.labels
        pairs = enumerate(zip(labels.names, labels.ids, strict=True))
        return Overview(
            study=self.desk.name,
            labels=[Label(name=name, id=i, colour=rgb_of(colour_of(n))) for n, (name, i) in pairs],
            channels=list(self.desk.channels),
            cases=[case.row() for case in self._cases.values()],
            run=self._run,
        )

    def _case(self, name: str) -> WorkCase:
        case = self._cases.get(name)
        if case is None:
            msg = f"there is no case '{name}'; load the page again"
            raise UnknownError(msg)
        return case

    def _scene(self, case: WorkCase) -> Scene:
        """Return an open case; it is read if it is not open yet."""
        name = case.listed.name
        if case.scene is None:
            scene = self.desk.open_scene(name)
            case.hints.lay_out(scene.drawn)
            case.scene = scene
        with self._lock:
            self._open[name] = case
            self._open.move_to_end(name)
            old = [other for other in list(self._open.values())[:-_OPEN] if other is not case]
        for other in old:
            self._put_away(other)
        return case.scene

    def _ready(self, case: WorkCase) -> Scene:
        """Return an open case whose mask has answered: what a model says of it, and its hints."""
        scene = self._scene(case)
        if not case.ready:
            self._answer_whole(case, scene)
            case.ready = True
        return scene

    def _answer_whole(self, case: WorkCase, scene: Scene) -> None:
        """Make the mask of a case anew; one that a person accepted stays as it is."""
        self.desk.renew(case.listed.name, scene)
        scene.answers.answer(all_hints(case, scene), None)
        case.sureness = scene.answers.sureness
        if (
            case.state in _KEPT
            and (kept := self.desk.keeper.kept_mask(case.listed.name)) is not None
        ):
            scene.answers.adopt(kept)

    def news(self) -> News:
        """Return what happens beside the requests of the page."""
        return News(round=self.rounds.status, masks=self._masks)

    def _begin_round(self, minutes: float) -> Work:
        begin = self.desk.begin
        assert begin is not None  # noqa: S101 - without one there are no rounds
        self.keep_drawings()
        with self._lock:
            return begin(minutes)

    def _renew(self, made: Renewed) -> None:
        """Take over the masks of a round."""
        with self._lock:
            self._run = made.run
            still = list(self._open.values())
            for name, case in self._cases.items():
                case.sureness = made.sureness.get(name)
        for case in still:
            with case.lock:
                if case.scene is not None and case.ready:
                    self._answer_whole(case, case.scene)
        self._masks += 1

    def _put_away(self, case: WorkCase) -> None:
        if case.lock.acquire(blocking=False):  # somebody works on it: then it stays
            try:
                self._open.pop(case.listed.name, None)
                case.scene, case.ready = None, False
                case.hints.drawn = {}
            finally:
                case.lock.release()

    def open(self, name: str) -> Opened:
        """Open a case; the first time its images are read. Its mask answers when it is asked for.

        Args:
            name: Of the case.

        Returns:
            What the page needs to show it.
        """
        case = self._case(name)
        with case.lock:
            return told(case, self._scene(case))

    def open_first(self) -> None:
        """Open the case that the page shows first: the one that needs a person most."""
        self.open(min((case.row() for case in self._cases.values()), key=need_of).name)

    def scene(self, name: str) -> Scene:
        """Return the images of a case, opened if it is not.

        Args:
            name: Of the case.
        """
        case = self._case(name)
        with case.lock:
            return self._scene(case)

    def layer(self, name: str, layer: str) -> UInt8[np.ndarray, "i j k"]:
        """Return the voxels of a layer, in Fortran order.

        Args:
            name: Of the case.
            layer: `mask`, `scribbles`, `slices` or one of the scene's.

        Returns:
            A copy.

        Raises:
            UnknownError: There is no such layer.
        """
        case = self._case(name)
        with case.lock:
            scene = self._ready(case) if layer == "mask" else self._scene(case)
            if layer == "mask":
                return np.array(scene.answers.classes, order="F")
            if layer in case.hints.drawn:
                return case.hints.drawn[layer].copy(order="F")
            if layer in scene.layers:
                return np.array(scene.layers[layer](), order="F")
        msg = f"case '{name}' has no layer '{layer}'"
        raise UnknownError(msg)

    def edit(self, name: str, edit: Edit) -> Change:
        """Do a step: it is on the disk, and the mask has answered, when this returns.

        Args:
            name: Of the case.
            edit: The step.

        Returns:
            What changed.

        Raises:
            BadHintError: The step does not fit the case, or the case takes no hints.
        """
        case = self._case(name)
        if not case.listed.takes_hints:
            msg = f"case '{name}' is a test case (imagesTs): look and judge; hints are of imagesTr"
            raise BadHintError(msg)
        with case.lock:
            scene = self._ready(case)
            require_current(case, edit.revision)
            edit = written_out(edit, case, scene)
            case.hints.require_good(edit)
            require_inside(edit.add, scene)
            taken = tuple(case.hints.marks[number] for number in edit.remove)
            self._journal_add(case, "edit", edit.seconds, edit=edit.model_dump(mode="json"))
            painted = case.hints.edit(edit)
            if edit.paints or edit.between:
                self._drawn_by_hand.add(name)
            return self._changed(case, (*edit.add, *taken), painted)

    def undo(
        self, name: str, revision: int, seconds: float = 0.0, *, again: bool = False
    ) -> Change:
        """Undo a step, or do it again.

        Args:
            name: Of the case.
            revision: As the page knows it.
            seconds: What it cost the person.
            again: Do the last undone step again.

        Returns:
            What changed.

        Raises:
            BadHintError: There is nothing to undo.
        """
        case = self._case(name)
        with case.lock:
            self._ready(case)
            require_current(case, revision)
            if not (case.hints.redo_steps if again else case.hints.undo_steps):
                msg = "there is nothing to do again" if again else "there is nothing to undo"
                raise BadHintError(msg)
            self._journal_add(case, "redo" if again else "undo", seconds)
            marks, painted = case.hints.redo() if again else case.hints.undo()
            return self._changed(case, marks, painted)

    def _journal_add(self, case: WorkCase, do: str, seconds: float, **more: object) -> None:
        with self._lock:
            step = {"case": case.listed.name, "do": do, "seconds": seconds, **more}
            self._journal.add({**step, "at": round(time.time(), 3)})
            spend(case, step)

    def _changed(self, case: WorkCase, marks: Sequence[Mark], painted: Box3 | None) -> Change:
        began = time.monotonic()
        scene = self._scene(case)
        self._keep(case, marks)
        around = joined(box_of(marks, scene.grid), painted)
        before, between = case.between[1], between_of(case, scene)
        if between is not before:
            self._drawn_by_hand.add(case.listed.name)
            around = joined(around, said_box(before), said_box(between))
        everywhere = any(mark.kind == "tag" for mark in marks)
        around = None if everywhere else around
        answered, note = (None, "")
        if everywhere or around is not None:
            answered, note = scene.answers.answer(all_hints(case, scene), around)
        case.sureness = scene.answers.sureness
        patches = [patch("mask", scene.answers.classes, answered)] if answered else []
        if painted is not None:
            patches += [patch(layer, case.hints.drawn[layer], painted) for layer in LAYERS]
        return Change(
            revision=case.hints.revision,
            marks=numbered(case.hints.marks),
            patches=patches,
            undo=case.hints.undo_steps,
            redo=case.hints.redo_steps,
            row=case.row(),
            answer_ms=round(1000 * (time.monotonic() - began), 1),
            note=note,
        )

    def _keep(self, case: WorkCase, marks: Sequence[Mark]) -> None:
        if case.state in _KEPT:
            self._set_state(case, Verdict(state="open", note=case.note))
        if marks:
            self._keep_marks()
        self._keep_review()

    def judge(self, name: str, verdict: Verdict) -> Row:
        """Take down what a person makes of a case.

        Args:
            name: Of the case.
            verdict: What they say; an accepted mask is kept before it is answered.

        Returns:
            The case in the list.
        """
        case = self._case(name)
        with case.lock:
            self._set_state(case, verdict)
            self._keep_review()
            return case.row()

    def _set_state(self, case: WorkCase, verdict: Verdict) -> None:
        name = case.listed.name
        kept = verdict.state in _KEPT
        if kept:
            self.desk.keeper.keep_mask(name, self._ready(case).answers.classes)
        told = verdict.model_dump(mode="json", exclude={"seconds"})
        self._journal_add(case, "verdict", verdict.seconds, verdict=told)
        if not kept and case.state in _KEPT:
            self.desk.keeper.keep_mask(name, None)
        case.state, case.note = verdict.state, verdict.note

    def accept_sure(self, above: float) -> list[Row]:
        """Accept the masks of all cases that nobody judged and that are sure enough.

        Args:
            above: Least sureness.

        Returns:
            The cases accepted.
        """
        sure = [
            name
            for name, case in self._cases.items()
            if case.state == "open" and case.sureness is not None and case.sureness >= above
        ]
        return [
            self.judge(name, Verdict(state="accepted", note=self._cases[name].note))
            for name in sure
        ]

    def keep_drawings(self) -> None:
        """Write the drawings that are newer than their files."""
        while self._drawn_by_hand:
            with suppress(KeyError):
                case = self._case(self._drawn_by_hand.pop())
                with case.lock:
                    scene = self._scene(case)
                    drawn = {
                        layer: each.copy(order="F") for layer, each in case.hints.drawn.items()
                    }
                    between = between_of(case, scene)
                for layer, classes in drawn.items():
                    self.desk.keeper.keep_drawn(case.listed.name, layer, classes)
                self.desk.keeper.keep_soft(case.listed.name, between)

    def close(self) -> None:
        """Write what is not written yet, and end a round that is being made."""
        self.rounds.stop()
        self.keep_drawings()
        self._journal.close()

    def _keep_marks(self) -> None:
        with self._lock:
            marks = {
                name: hints_of(tuple(case.hints.marks.values()))
                for name, case in self._cases.items()
                if case.hints.marks
            }
            self.desk.keeper.keep_marks(marks)

    def _keep_review(self) -> None:
        with self._lock:
            self.desk.keeper.keep_review([case.row() for case in self._cases.values()])
            spent = {name: case.spent for name, case in self._cases.items() if case.spent}
            self.desk.keeper.keep_cost(spent)
