"""`voxhint run`: from a study folder to masks, numbers and a report, in one command."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from voxhint.classify.saliency_methods import require_counterfactual
from voxhint.config import Machine, Recipe, unused
from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.core.progress import Tell, peak_ram_mb, silent, tell_found
from voxhint.core.study import Study
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.files.problems import Problem, lines_of
from voxhint.files.validate.study import open_study
from voxhint.models.device import open_fabric
from voxhint.models.folder import open_model
from voxhint.models.planning import require_views_of
from voxhint.nets import build_trunk
from voxhint.runs import (
    Manifest,
    complete,
    is_started,
    locked,
    read_made,
    start,
    study_inputs,
)
from voxhint.runs.kept_warnings import keep_problems
from voxhint.runs.study_path import remember_place, told_place
from voxhint.verbs.label import HINT_PARTS, label_cases, label_inputs
from voxhint.verbs.label_forecast import require_room
from voxhint.verbs.measure import Truth, measure, write_scores
from voxhint.verbs.predict import Work, predict_cases, require_room_to_predict, training_work
from voxhint.verbs.train import asks_more, begun_with, train_on
from voxhint.verbs.train_forecast import require_room_to_train

_SECONDS = ".seconds.json"
_PARTS = ("labels", "model", "masks", "masksTr")


def run(  # noqa: PLR0913  # each is a choice of its own
    study: Path,
    out: Path,
    *,
    recipe: Recipe,
    machine: Machine,
    hinted_masks: bool = False,
    begin: Path | None = None,
    tell: Tell = silent,
) -> Path:
    """Label, train, predict, measure and report; an interrupted run goes on where it stopped.

    Args:
        study: The study folder.
        out: Holds labels, model, masks, scores.json, report.html and made.json afterwards.
        recipe: Every knob of the steps.
        machine: Device, threads, memory, seed.
        hinted_masks: Predict the hinted images too, into masksTr; without images to predict that
            is done anyway.
        begin: A model of the same labels and channels, whose weights training begins with.
        tell: Hears of progress.

    Returns:
        The absolute path of the report page.
    """
    _require_possible(recipe, machine)
    dense = recipe.train.supervision == "dense"
    deep = machine.skip_bad or not is_started(out)
    opened, problems = open_study(
        study,
        skip_bad=machine.skip_bad,
        deep=deep,
        dense=dense,
        undrawn=machine.undrawn,
        truths=deep,
    )
    opened.learning_cases(dense=dense)
    if not dense:
        require_room(opened, recipe.label, machine)
    require_views_of(opened, recipe.train)
    require_room_to_train(opened, recipe.train, machine)
    with locked(out, source=study):
        return _run(opened, problems, out, (recipe, machine, hinted_masks, begin, tell))


def _run(
    study: Study,
    problems: Sequence[Problem],
    out: Path,
    how: tuple[Recipe, Machine, bool, Path | None, Tell],
) -> Path:
    recipe, machine, hinted_masks, begin, tell = how
    dense = recipe.train.supervision == "dense"
    parts = (*HINT_PARTS, "imagesTs", "labelsTs", "cases.csv", *(("denseTr",) if dense else ()))
    manifest = Manifest(
        verb="run",
        config={**dataclasses.asdict(recipe), "hinted_masks": hinted_masks},
        seed=machine.seed,
        inputs={
            **study_inputs(study.root, parts),
            **label_inputs(study, recipe.label),
            **begun_with(begin),
        },
    )
    remember_place(study.root, manifest.inputs)
    page = out.absolute() / "report.html"
    found = start(out, manifest, overwrite=machine.overwrite, longer=asks_more)
    if found.complete:
        return page if page.exists() else _write_page(out)
    clock = _Clock(out / _SECONDS)
    problems = keep_problems(out, problems)
    idle = unused(recipe.label, "dense masks are learnt from, not hints") if dense else []
    tell_found(tell, (*found.warnings, *clock.warnings, *idle))
    inner = dataclasses.replace(machine, overwrite=True)  # parts of this very run
    labels = None
    if not dense:
        with clock.timing("label"):
            labels = label_cases(
                study, problems, out / "labels", config=recipe.label, machine=inner, tell=tell
            )
    with clock.timing("train"):
        model = train_on(
            study,
            out / "model",
            labels=labels,
            config=recipe.train,
            machine=inner,
            begin=begin,
            tell=tell,
        )
    with clock.timing("predict"):
        wanted = (manifest.inputs, hinted_masks or not study.test)
        _predict(study, out, model, wanted, (recipe, inner, tell))
    _measure(study, out, clock, (recipe, machine, tell))
    taught = read_made(model)
    facts = {
        "study": told_place(study.root, out),
        "undrawn": study.undrawn,
        "hints": {} if dense else study.hint_kinds(),
        "cases": {"training": len(study.training), "test": len(study.test)},
        "seconds": clock.seconds,
        "peak_ram_mb": peak_ram_mb(),
        "weights": {"model/weights.safetensors": taught["weights"]},
        "steps": taught["steps"],
        "ended": taught["ended"],
        "warnings": [*found.warnings, *clock.warnings, *idle, *_warnings(problems, out)],
        "skipped": lines_of(problems, "error"),
    }
    complete(out, manifest, facts, parts=[part for part in _PARTS if is_started(out / part)])
    (out / _SECONDS).unlink(missing_ok=True)
    tell("report", 0, 1, "")
    return _write_page(out, tell)


def _write_page(out: Path, tell: Tell = silent) -> Path:
    from voxhint.verbs.report import write_page  # matplotlib draws, and takes a while to load

    return write_page(out, tell)


def _require_possible(recipe: Recipe, machine: Machine) -> None:
    """Refuse before any work what steps would only refuse after all cases are labelled.

    Raises:
        BadRecipeError: The parts of the recipe contradict each other.
    """
    open_fabric(machine)
    require_counterfactual(recipe.label)
    train = recipe.train
    if train.network == "probabilistic":
        return
    if recipe.predict.passes > 1:
        msg = "passes differ with --network probabilistic alone; leave passes at 1"
        raise BadRecipeError(msg)
    if train.network == "auto":  # whichever it is takes any width
        return
    flat = (((1, 1, 1),), ((3, 3, 3),))
    build_trunk(
        train.network,
        channels=1,
        classes=2,
        strides=flat[0],
        kernels=flat[1],
        features=(train.width,),
    )


def _predict(
    study: Study,
    out: Path,
    model: Path,
    what: tuple[Mapping[str, str], bool],
    how: tuple[Recipe, Machine, Tell],
) -> None:
    recipe, machine, tell = how
    inputs, hinted_masks = what
    opened = open_model(model, open_fabric(machine))
    work = {"masks": Work(cases={case.name: case.images for case in study.test}, inputs=inputs)}
    if hinted_masks:
        work["masksTr"] = training_work(study, study.hinted, inputs)
    for name, part in work.items():
        if part.cases:
            require_room_to_predict(opened, part.cases, recipe.predict, machine)
            predict_cases(
                opened, part, out / name, config=recipe.predict, machine=machine, tell=tell
            )


def _measure(study: Study, out: Path, clock: "_Clock", how: tuple[Recipe, Machine, Tell]) -> None:
    """Score the masks of the test images of which there is a truth."""
    recipe, machine, tell = how
    truth = Truth(
        masks={case.name: case.truth for case in study.test if case.truth},
        labels=study.labels,
        subjects={case.name: case.subject for case in study.test},
        undrawn=study.undrawn,
    )
    if not truth.masks:
        return
    with clock.timing("measure"):
        table = measure(
            out / "masks",
            truth,
            config=recipe.measure,
            seed=machine.seed,
            workers=machine.workers,
            tell=tell,
        )
        write_scores(table, out / "scores.json", overwrite=True)


def _warnings(problems: Sequence[Problem], out: Path) -> list[str]:
    """Return what checking and each step found that a person should know, each once."""
    found = lines_of(problems, "warning")
    parts = [out / name for name in _PARTS if is_started(out / name)]
    later = dict.fromkeys(warning for part in parts for warning in read_made(part)["warnings"])
    return found + [line for line in later if not any(item.endswith(line) for item in found)]


class _Clock:
    """Adds up the seconds of each step over all the times a run was started."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = {}
        self.warnings: tuple[str, ...] = ()
        if path.exists():
            try:
                self.seconds = {step: float(told) for step, told in read_object(path).items()}
            except (BadFileError, TypeError, ValueError):
                self.warnings = (f"{path.name}: damaged; the seconds of earlier steps are lost",)

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        spent = self.seconds.get(step, 0.0) + time.monotonic() - began
        self.seconds[step] = round(spent, 1)
        write_json(self._path, self.seconds)
