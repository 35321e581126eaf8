"""From a run's folder to the facts of its report; whatever is missing is left out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from voxhint.core.colours import colour_of
from voxhint.core.errors import BadFileError, VoxhintError
from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet
from voxhint.core.study import CaseFiles, Study
from voxhint.core.volume import Mask
from voxhint.files.images import read_volume
from voxhint.files.masks import read_mask
from voxhint.files.validate.study import survey
from voxhint.measure.score_table import ScoreTable
from voxhint.review.captions import tell_hints, tell_sureness
from voxhint.review.choose_cases import Choice, choose_evenly, choose_highest, choose_scored, merge
from voxhint.review.choose_slices import Scene
from voxhint.review.doubt import affordable, mask_doubt, mean_trust, read_doubt, shown_soft
from voxhint.review.pictures import draw_case
from voxhint.review.report_data import Picture, RunFacts
from voxhint.review.run_files import (
    read_classifier,
    read_findings,
    read_history,
    read_object,
    read_scores,
    read_volumes,
    read_weights,
)
from voxhint.runs.study_path import find_study

_T = TypeVar("_T")

_PARTS = ("made.json", "scores.json", "model", "labels", "masks", "masksTr")
_ENDING = ".nii.gz"
_FILES = (
    ("masks", "masks of the test images"),
    ("masksTr", "masks of the hinted images"),
    ("labels", "soft labels that the network learnt from"),
    ("model", "the network, its plan and its training"),
    ("scores.json", "every score of every case"),
    ("made.json", "every setting, version and file hash of this run"),
    ("masks/classification.csv", "what each test image holds, as tags taught it"),
    ("model/plan.json", "the plan of the network"),
    ("model/history.csv", "the training, step by step"),
)


def gather(run_folder: Path, *, each: int = 2) -> RunFacts:
    """Gather what a report tells from a run's folder, drawing only the cases it shows.

    Args:
        run_folder: Holds any of made.json, scores.json, model/, labels/, masks/, masksTr/.
        each: How many cases are drawn for each reason: worst, least sure, strongest finding.

    Returns:
        The facts; what could not be read is among the problems.

    Raises:
        BadFileError: The folder holds no part of a run.
    """
    _require_run(run_folder)
    problems: list[str] = []
    made = _read(run_folder / "made.json", read_object, problems) or {}
    scores = _read(run_folder / "scores.json", read_scores, problems)
    study = _open_study(run_folder, made, problems)
    pictures = {}
    if study is not None:
        pictures = _pictures(run_folder, study, scores, each, problems)
    labelled = run_folder / "labels" / "made.json"
    return RunFacts(
        name=run_folder.absolute().name,
        made=made,
        plan=_read(run_folder / "model" / "plan.json", read_object, problems),
        history=_read(run_folder / "model" / "history.csv", read_history, problems) or (),
        classifier=_read(labelled, read_classifier, problems) or {},
        volumes=_read(labelled, read_volumes, problems) or {},
        weights=_read(labelled, read_weights, problems) or {},
        scores=scores,
        **pictures,
        counts=_count(study),
        files=tuple((name, words) for name, words in _FILES if (run_folder / name).exists()),
        problems=tuple(problems),
    )


def _require_run(folder: Path) -> None:
    """Refuse a folder that holds no part of a run.

    Raises:
        BadFileError: It does not.
    """
    if not any((folder / part).exists() for part in _PARTS):
        msg = f"{folder.name}: holds no run; name a folder that `voxhint run` has written"
        raise BadFileError(msg)


def _pictures(
    run_folder: Path, study: Study, scores: ScoreTable | None, each: int, problems: list[str]
) -> dict[str, tuple[Picture, ...]]:
    """Return what `RunFacts` shows: test cases, hinted ones, and those without a label."""
    shown = _shown_tests(run_folder, study, scores, each)
    hinted = _shown_training(run_folder, study, each)
    changed = _shown_without(run_folder, study, each)
    masks, own = run_folder / "masks", run_folder / "masksTr"
    test = _draw(study.test, shown, _test_scene(run_folder, study), masks, problems)
    training = _draw(study.training, hinted, _training_scene(run_folder, study), own, problems)
    removed = _draw(study.training, changed, _without_scene(run_folder, study), None, problems)
    return {
        "test_pictures": tuple(test),
        "training_pictures": tuple(training),
        "counterfactual_pictures": tuple(removed),
    }


def _read(path: Path, reader: Callable[[Path], _T], problems: list[str]) -> _T | None:
    """Return what a reader finds in a file, or None if it is missing or bad."""
    if not path.exists():
        return None
    return _attempt(partial(reader, path), problems)


def _attempt(work: Callable[[], _T], problems: list[str]) -> _T | None:
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
    """Return the worst, the least sure and the strongest findings, or an even choice."""
    masks = run_folder / "masks"
    masked = [files.name for files in study.test if (masks / _file(files.name)).exists()]
    doubts = _asked(masks, masked, partial(mask_doubt, masks))
    found = _read(masks / "classification.csv", read_findings, []) or {}
    chosen = merge(
        choose_scored([] if scores is None else scores.cases, each=each),
        choose_highest(doubts, words="least sure: {} of the region uncertain", count=each),
        choose_highest(found, words="among the strongest findings: {} likely", count=each),
    )
    kept = [choice for choice in chosen if choice.case in masked]
    return kept or choose_evenly(masked, count=each + 1)


def _shown_training(run_folder: Path, study: Study, each: int) -> list[Choice]:
    """Return the hinted cases whose soft labels are trusted least and most, or an even choice."""
    labelled = {path.name.partition("__")[0] for path in (run_folder / "labels").glob("*__*")}
    masked = {path.name.removesuffix(_ENDING) for path in (run_folder / "masksTr").glob("*")}
    hinted = {*study.hints, *study.stroke_files}
    shown = [
        files.name
        for files in study.training
        if files.name in labelled | masked and (files.name in hinted or not hinted)
    ]
    labels = run_folder / "labels"

    def trusted(case: str) -> float | None:
        soft = shown_soft(labels, case, None, study.labels)
        return None if soft is None else mean_trust(soft)

    trust = _asked(labels, shown, trusted)
    doubt = {case: 1 - trusted for case, trusted in trust.items()}
    chosen = merge(
        choose_highest(doubt, words="among the least sure soft labels", count=each),
        choose_highest(trust, words="the surest soft label", count=1),
    )
    return chosen if len(trust) > each else choose_evenly(shown, count=each + 1)


def _asked(
    folder: Path, cases: Sequence[str], ask: Callable[[str], float | None]
) -> dict[str, float]:
    """Return what is read of cases, of as many as can be afforded; of those that have it."""
    chosen = (one.case for one in choose_evenly(cases, count=affordable(folder, cases)))
    read = ((case, _attempt(partial(ask, case), [])) for case in chosen)
    return {case: value for case, value in read if value is not None}


def _shown_without(run_folder: Path, study: Study, each: int) -> list[Choice]:
    """Return an even choice of the cases whose image was changed into one without a label."""
    kept = [files.name for files in study.training if _without(run_folder, files.name).exists()]
    return choose_evenly(kept, count=each)


def _draw(
    cases: Sequence[CaseFiles],
    choices: Sequence[Choice],
    scene_of: Callable[[CaseFiles], Scene],
    folder: Path | None,
    problems: list[str],
) -> list[Picture]:
    by_name = {files.name: files for files in cases}
    pictures: list[Picture] = []
    for choice in choices:
        scene = _attempt(partial(scene_of, by_name[choice.case]), problems)
        if scene is not None:
            path = folder and folder / _file(choice.case)
            file = f"{path.parent.name}/{path.name}" if path and path.exists() else None
            pictures.append(_picture(scene, choice, file))
    return pictures


def _picture(scene: Scene, choice: Choice, file: str | None) -> Picture:
    names = scene.names.names
    return Picture(
        case=choice.case,
        reason=choice.reason,
        notes=(*tell_hints(scene.hints), *tell_sureness(scene)),
        views=draw_case(scene),
        colours=tuple((name, colour_of(n)) for n, name in enumerate(names) if n > 0),
        file=file,
    )


def _test_scene(run_folder: Path, study: Study) -> Callable[[CaseFiles], Scene]:
    def scene_of(files: CaseFiles) -> Scene:
        case = study.load(files, hints=False)
        truth = None if files.truth is None else _mask(files.truth, case.grid, study.labels)
        mask = _mask(run_folder / "masks" / _file(files.name), case.grid, study.labels)
        image = next(iter(case.images.values()))
        unsure = read_doubt(run_folder / "masks", files.name)
        return Scene(image, study.labels, mask=mask, truth=truth, unsure=unsure)

    return scene_of


def _training_scene(run_folder: Path, study: Study) -> Callable[[CaseFiles], Scene]:
    def scene_of(files: CaseFiles) -> Scene:
        case = study.load(files)
        path = run_folder / "masksTr" / _file(files.name)
        mask = _mask(path, case.grid, study.labels) if path.exists() else None
        soft = shown_soft(run_folder / "labels", files.name, case.grid, study.labels)
        image = next(iter(case.images.values()))
        return Scene(image, study.labels, hints=case.hints, soft=soft, mask=mask)

    return scene_of


def _without_scene(run_folder: Path, study: Study) -> Callable[[CaseFiles], Scene]:
    def scene_of(files: CaseFiles) -> Scene:
        case = study.load(files, hints=False)
        soft = shown_soft(run_folder / "labels", files.name, case.grid, study.labels)
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


def _file(case: str) -> str:
    return f"{case}{_ENDING}"
