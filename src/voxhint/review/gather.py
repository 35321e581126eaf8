"""From a run's folder to the facts of its report; whatever is missing is left out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, assert_never

import numpy as np

from voxhint.core.errors import BadFileError, VoxhintError
from voxhint.core.grid import Grid
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import LabelSet, file_name
from voxhint.core.study import CaseFiles, Study
from voxhint.core.volume import Mask, SoftLabel
from voxhint.files.images import read_probability, read_volume
from voxhint.files.masks import read_mask
from voxhint.files.validate.study import survey
from voxhint.measure.table import ScoreTable
from voxhint.review.choose import Choice, choose_evenly, choose_scored
from voxhint.review.facts import Picture, RunFacts
from voxhint.review.pictures import draw_case
from voxhint.review.records import (
    read_history,
    read_object,
    read_predictor,
    read_scores,
    read_volumes,
    read_weights,
)
from voxhint.review.scene import Scene
from voxhint.runs.places import find_study

T = TypeVar("T")

_PARTS = ("made.json", "scores.json", "model", "labels", "masks", "masksTr")
_ENDING = ".nii.gz"


def gather(run_folder: Path, *, each: int = 3) -> RunFacts:
    """Gather what a report tells from a run's folder, drawing only the cases it shows.

    Args:
        run_folder: Holds any of made.json, scores.json, model/, labels/, masks/, masksTr/.
        each: How many cases of each kind are drawn: worst, middling, best, training.

    Returns:
        The facts; what could not be read is among the problems.

    Raises:
        BadFileError: The folder holds no part of a run.
    """
    if not any((run_folder / part).exists() for part in _PARTS):
        msg = f"{run_folder.name}: holds no run; name a folder that `voxhint run` has written"
        raise BadFileError(msg)
    problems: list[str] = []
    made = _read(run_folder / "made.json", read_object, problems) or {}
    scores = _read(run_folder / "scores.json", read_scores, problems)
    study = _open_study(run_folder, made, problems)
    test: list[Picture] = []
    training: list[Picture] = []
    removed: list[Picture] = []
    if study is not None:
        shown = _shown_tests(run_folder, study, scores, each)
        test = _draw(study.test, shown, _test_scene(run_folder, study), problems)
        hinted = _shown_training(run_folder, study, each)
        training = _draw(study.training, hinted, _training_scene(run_folder, study), problems)
        changed = _shown_without(run_folder, study, each)
        removed = _draw(study.training, changed, _without_scene(run_folder, study), problems)
    return RunFacts(
        name=run_folder.absolute().name,
        made=made,
        plan=_read(run_folder / "model" / "plan.json", read_object, problems),
        history=_read(run_folder / "model" / "history.csv", read_history, problems) or (),
        predictor=_read(run_folder / "labels" / "made.json", read_predictor, problems) or {},
        volumes=_read(run_folder / "labels" / "made.json", read_volumes, problems) or {},
        weights=_read(run_folder / "labels" / "made.json", read_weights, problems) or {},
        scores=scores,
        test_pictures=tuple(test),
        training_pictures=tuple(training),
        counterfactual_pictures=tuple(removed),
        counts=_count(study),
        problems=tuple(problems),
    )


def _read(path: Path, reader: Callable[[Path], T], problems: list[str]) -> T | None:
    """Return what a reader finds in a file, or None if it is missing or bad."""
    if not path.exists():
        return None
    return _attempt(partial(reader, path), problems)


def _attempt(work: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return work()
    except VoxhintError as error:
        problems.append(str(error))
        return None


def _open_study(run_folder: Path, made: Mapping[str, Any], problems: list[str]) -> Study | None:
    told = made.get("study")
    if not isinstance(told, str):
        problems.append("made.json does not say which study this is; there are no pictures")
        return None
    root = find_study(run_folder, made)
    if root is None:
        name = Path(told).name
        problems.append(f"{name}: the study is not there any more; there are no pictures")
        return None
    found = _attempt(partial(survey, root, undrawn=made.get("undrawn")), problems)
    if found is not None and found.study is None:
        problems.append(f"{root.name}: the study cannot be opened; there are no pictures")
    return None if found is None else found.study


def _count(study: Study | None) -> dict[str, int]:
    if study is None:
        return {}
    return {"training images": len(study.training), "test images": len(study.test)}


def _shown_tests(
    run_folder: Path, study: Study, scores: ScoreTable | None, each: int
) -> list[Choice]:
    masked = [
        files.name for files in study.test if (run_folder / "masks" / _file(files.name)).exists()
    ]
    if scores is None:
        return choose_evenly(masked, count=each)
    return [choice for choice in choose_scored(scores.cases, each=each) if choice.case in masked]


def _shown_training(run_folder: Path, study: Study, each: int) -> list[Choice]:
    """Return an even choice of the hinted cases with a soft label or a mask."""
    labelled = {path.name.partition("__")[0] for path in (run_folder / "labels").glob("*__*")}
    masked = {path.name.removesuffix(_ENDING) for path in (run_folder / "masksTr").glob("*")}
    hinted = {*study.hints, *study.stroke_files}
    shown = [
        files.name
        for files in study.training
        if files.name in labelled | masked and (files.name in hinted or not hinted)
    ]
    return choose_evenly(shown, count=each)


def _shown_without(run_folder: Path, study: Study, each: int) -> list[Choice]:
    """Return an even choice of the cases whose image was changed into one without a label."""
    kept = [files.name for files in study.training if _without(run_folder, files.name).exists()]
    return choose_evenly(kept, count=each)


def _draw(
    cases: Sequence[CaseFiles],
    choices: Sequence[Choice],
    scene_of: Callable[[CaseFiles], Scene],
    problems: list[str],
) -> list[Picture]:
    by_name = {files.name: files for files in cases}
    pictures: list[Picture] = []
    for choice in choices:
        scene = _attempt(partial(scene_of, by_name[choice.case]), problems)
        if scene is not None:
            pictures.append(_picture(scene, choice))
    return pictures


def _picture(scene: Scene, choice: Choice) -> Picture:
    parts = ["image"]
    parts += ["image without the label", "difference"] if scene.without is not None else []
    parts += [f"hints ({_tell_hints(scene.hints)})"] if scene.hints else []
    named = {"soft label": scene.soft, "mask": scene.mask, "truth": scene.truth}
    parts += [name for name, part in named.items() if part is not None]
    caption = f"{choice.case}: {choice.reason}" if choice.reason else choice.case
    return Picture(
        caption=caption if not scene.hints else f"{caption}; hints: {_tell_hints(scene.hints)}",
        alt=f"Axial and coronal layers of case {choice.case}, side by side: {', '.join(parts)}",
        png=draw_case(scene),
    )


def _tell_hints(hints: Sequence[Hint]) -> str:
    counts: dict[str, int] = {}
    for hint in hints:
        kind, count = _counted(hint)
        counts[kind] = counts.get(kind, 0) + count
    return ", ".join(f"{kind}: {count}" for kind, count in counts.items())


def _counted(hint: Hint) -> tuple[str, int]:
    match hint:
        case Points():
            return "points", len(hint.positions_mm)
        case Strokes():
            return ("drawn slices" if hint.complete else "scribbles"), 1
        case Soft():
            return "soft masks", 1
        case Box() | Diameter() | Tag():
            return {"Box": "boxes", "Diameter": "diameters", "Tag": "tags"}[type(hint).__name__], 1
        case _:
            assert_never(hint)


def _test_scene(run_folder: Path, study: Study) -> Callable[[CaseFiles], Scene]:
    def scene_of(files: CaseFiles) -> Scene:
        case = study.load(files, hints=False)
        truth = None if files.truth is None else _mask(files.truth, case.grid, study.labels)
        mask = _mask(run_folder / "masks" / _file(files.name), case.grid, study.labels)
        image = next(iter(case.images.values()))
        return Scene(image, study.labels, mask=mask, truth=truth)

    return scene_of


def _training_scene(run_folder: Path, study: Study) -> Callable[[CaseFiles], Scene]:
    def scene_of(files: CaseFiles) -> Scene:
        case = study.load(files)
        path = run_folder / "masksTr" / _file(files.name)
        mask = _mask(path, case.grid, study.labels) if path.exists() else None
        soft = _soft(run_folder / "labels", files.name, case.grid, study.labels)
        image = next(iter(case.images.values()))
        return Scene(image, study.labels, hints=case.hints, soft=soft, mask=mask)

    return scene_of


def _without_scene(run_folder: Path, study: Study) -> Callable[[CaseFiles], Scene]:
    def scene_of(files: CaseFiles) -> Scene:
        case = study.load(files, hints=False)
        soft = _soft(run_folder / "labels", files.name, case.grid, study.labels)
        name, image = next(iter(case.images.items()))
        without = read_volume(_without(run_folder, files.name), channel=name)
        image.grid.require_same(without.grid)
        return Scene(image, study.labels, soft=soft, without=without)

    return scene_of


def _without(run_folder: Path, case: str) -> Path:
    """Return where the first channel of a case lies, as it would be without a label."""
    return run_folder / "labels" / "counterfactuals" / f"{case}_0000{_ENDING}"


def _mask(path: Path, grid: Grid, names: LabelSet) -> Mask:
    ids, place = read_mask(path, names, [grid])
    grid.require_same(place)
    return Mask(ids, grid, names)


def _soft(folder: Path, case: str, grid: Grid, names: LabelSet) -> SoftLabel | None:
    """Return the soft label of a case, or None if no label of it was written."""
    probs = np.zeros((len(names.names), *grid.shape), np.float32)
    trust = np.zeros_like(probs)
    found = False
    for number, label in enumerate(names.foreground, start=1):
        path = folder / f"{case}__{file_name(label)}{_ENDING}"
        if path.exists():
            found = True
            probs[number], place = read_probability(path)
            grid.require_same(place)
            beside = f"{case}__{file_name(label)}__trust{_ENDING}"
            trust[number], _ = read_probability(folder / beside)
    probs[0] = np.clip(1 - probs.sum(axis=0), 0, 1)
    trust[0] = trust[1:].min(axis=0)
    return SoftLabel(probs, trust, grid) if found else None


def _file(case: str) -> str:
    return f"{case}{_ENDING}"
