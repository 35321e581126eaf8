"""Rounds of a session: `voxhint run` on a copy of its hints, in a process of its own."""

import _thread
import dataclasses
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from voxhint.config import Machine, Recipe
from voxhint.core.errors import BadFileError, BadStudyError, VoxhintError
from voxhint.core.labels import file_name
from voxhint.core.progress import Tell, silent
from voxhint.core.study import Study
from voxhint.core.volume import with_background
from voxhint.files.atomic import MADE, write_json
from voxhint.files.dataset_json import NAME, read_object
from voxhint.files.images import read_probability
from voxhint.files.study.layout import images_in
from voxhint.files.validate.study import survey
from voxhint.serve.rounds import Renewed
from voxhint.verbs.link_files import link_all

_FOLDER = ".rounds"
"""Inside a session's folder: one numbered folder a round, holding its study and its run."""

_SURENESS = "sureness.json"
_COPIED = (NAME, "cases.csv")
_HINTS = ("hints", "labelsTr")
_GRACE = 20.0  # seconds in which a round that is told to stop may do so by itself
_RECIPE = TypeAdapter(Recipe)
_NICE = 10  # of the process: clicks are answered first


def newest_run(session: Path) -> Path | None:
    """Return the run of the last round that came to its end, None before the first."""
    done = [path.parent for path in (session / _FOLDER).glob("*/" + _SURENESS)]
    return max(done, key=_number) / "run" if done else None


def renewed(run: Path) -> Renewed:
    """Return what a round made."""
    told = read_object(run.parent / _SURENESS)
    return Renewed(f"round {run.parent.name}", {case: float(sure) for case, sure in told.items()})


def _number(folder: Path) -> int:
    return int(folder.name) if folder.name.isdigit() else 0


class RoundProcess:
    """A round at work; it ends when this process does, however that ends.

    Args:
        session: The session's folder; its hints are copied before this returns.
        minutes: For training.
        before: A run or model to begin with, if there is one.
        done: Hears which run was made.
    """

    def __init__(
        self, session: Path, minutes: float, before: Path | None, done: Callable[[Path], None]
    ) -> None:
        self._done = done
        rounds = session / _FOLDER
        known = [path for path in rounds.glob("*") if path.is_dir()]
        kept = newest_run(session)
        for path in known:
            if kept is None or path != kept.parent:
                shutil.rmtree(path)
        self._folder = rounds / str(1 + max(map(_number, known), default=0))
        _copy_hints(session, self._folder / "study")
        spawn = multiprocessing.get_context("spawn")
        self._line, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_work, args=(theirs, self._folder, minutes, before), daemon=True
        )
        self._process.start()
        theirs.close()

    def progress(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield step, done, total and note until the round ends.

        Raises:
            BadStudyError: It cannot be made, or was stopped.
        """
        try:
            while True:
                told = self._line.recv()
                if isinstance(told, str):
                    raise BadStudyError(told)
                if told is None:
                    return
                yield told
        except (EOFError, OSError):
            msg = "the round was ended from outside; begin it again"
            raise BadStudyError(msg) from None
        finally:
            self._process.join(_GRACE)

    def finish(self) -> Renewed:
        """Return what the round made; earlier rounds go."""
        self._done(self._folder / "run")
        for path in self._folder.parent.iterdir():
            if path != self._folder:
                shutil.rmtree(path)
        return renewed(self._folder / "run")

    def stop(self) -> None:
        """End the round."""
        with suppress(OSError):
            self._line.send("stop")
        self._process.join(_GRACE)
        self._process.kill()


def _copy_hints(session: Path, study: Path) -> None:
    """Lay out a study of a session as it is now: images linked, hints as files of their own."""
    study.mkdir(parents=True)
    for name in _COPIED:
        if (session / name).is_file():
            shutil.copyfile(session / name, study / name)
    for name in _HINTS:
        if (session / name).is_dir():
            shutil.copytree(session / name, study / name, symlinks=True, ignore=_partial)
    for name in ("imagesTr", "imagesTs"):
        if (session / name).is_dir():
            link_all(session / name, study / name)


def _partial(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".")]


def _work(line: Connection, folder: Path, minutes: float, before: Path | None) -> None:
    """Make a round in a process of its own, and tell how it goes."""
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    try:
        _make_round(folder, minutes, before, tell=lambda *told: line.send(told))
        line.send(None)
    except VoxhintError as error:
        line.send(str(error))
    except (KeyboardInterrupt, BrokenPipeError):
        with suppress(OSError):
            line.send("stopped")


def _end_with(line: Connection) -> None:
    """End this process when it is told to, or when the one that began it has died."""
    with suppress(EOFError, OSError):
        line.recv()
    _thread.interrupt_main()
    threading.Event().wait(_GRACE / 2)
    os._exit(1)


def _make_round(folder: Path, minutes: float, before: Path | None, *, tell: Tell = silent) -> None:
    """Make the run of a round whose study lies in its folder, and say how sure its masks are.

    Args:
        folder: Of the round.
        minutes: For training.
        before: A run or model to begin with, if it fits.
        tell: Hears of progress.
    """
    from voxhint.verbs.run import run  # loads torch

    root, out = folder / "study", folder / "run"
    study = survey(root).study
    recipe = _recipe(before)
    recipe = dataclasses.replace(
        recipe,
        train=dataclasses.replace(recipe.train, steps=None, budget=f"{60 * minutes:g}s"),
        predict=dataclasses.replace(recipe.predict, probabilities=True),
    )
    begin = None
    if study is not None:  # else running it tells what is wrong
        begin = before if before is not None and _fits(before, study, recipe) else None
        _put_unhinted_apart(study)
    machine = Machine(skip_bad=True)
    run(root, out, recipe=recipe, machine=machine, hinted_masks=True, begin=begin, tell=tell)
    write_json(folder / _SURENESS, _sureness_of(out))


def _put_unhinted_apart(study: Study) -> None:
    """Let images without hints be predicted, as those of `imagesTs` are."""
    hinted = {files.name for files in study.hinted}
    if not hinted:
        return
    (study.root / "imagesTs").mkdir(exist_ok=True)
    for files in study.training:
        for path in () if files.name in hinted else files.images.values():
            beside = path.parent.glob(f"{path.stem}.*") if path.suffix == ".mhd" else ()
            for each in {path, *beside}:
                each.rename(study.root / "imagesTs" / each.name)


def _recipe(before: Path | None) -> Recipe:
    """Return the recipe of a run, that of the first round where there is none."""
    if before is None or not (before / MADE).is_file():
        return Recipe()
    told = read_object(before / MADE).get("config")
    parts = {part.name for part in dataclasses.fields(Recipe)}
    try:
        return _RECIPE.validate_python({k: v for k, v in dict(told or {}).items() if k in parts})
    except (ValidationError, TypeError, ValueError):  # written by another version
        return Recipe()


def _fits(before: Path, study: Study, recipe: Recipe) -> bool:
    """Return whether training can begin with the weights of a model."""
    from voxhint.models.folder import OWN_NETWORK, plan_of

    try:
        plan = plan_of(before)
    except BadFileError:  # masks alone
        return False
    made = [read_object(path) for path in (before / "model" / MADE, before / MADE) if path.exists()]
    own = any(OWN_NETWORK in (told.get("inputs") or {}) for told in made)
    same = plan.labels == study.labels and plan.channels == study.channels
    return same and not own and recipe.train.network in ("auto", plan.network)


def _sureness_of(run: Path) -> dict[str, float]:
    """Return the mean lead of the first class over the second in each mask that holds a label."""
    from voxhint.models.folder import plan_of

    labels = [file_name(label) for label in plan_of(run).labels.foreground]
    found = {}
    for folder in (run / "masks", run / "masksTr"):
        images = images_in(folder) if folder.is_dir() else {}
        for case in images:
            if f"{case}__{labels[0]}" in images:
                chances = np.stack([read_probability(images[f"{case}__{n}"])[0] for n in labels])
                ordered = np.sort(with_background(chances), 0)
                inside = chances.max(0) >= ordered[-1]
                if inside.any():
                    lead = (ordered[-1] - ordered[-2])[inside].mean()
                    found[case] = round(float(np.clip(lead, 0, 1)), 4)
    return found
