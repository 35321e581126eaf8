"""Opening a study: every problem in it at once, and what can be used of it."""

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from voxhint.core.errors import BadFileError, BadStudyError
from voxhint.core.study import CaseFiles, Study, VoxelFile
from voxhint.core.words import are, counted
from voxhint.core.workers import spread
from voxhint.files.dataset_json import NAME
from voxhint.files.datasets.luna16 import NAME as LUNA16
from voxhint.files.datasets.luna16 import read_luna16
from voxhint.files.hint_tables import Placed, gather
from voxhint.files.problems import Problem, joined, problem_of
from voxhint.files.study.layout import listing, read_layout, some
from voxhint.files.study.load import Draft
from voxhint.files.validate.annotation_warnings import forgotten
from voxhint.files.validate.case import Depth, Examined, examine_test, examine_training

_LISTED = 50  # lines of an error before it is cut
_TEST = ("imagesTs", "labelsTs")


def _grave(problem: Problem) -> bool:
    return problem.severity == "error"


@dataclass(frozen=True, slots=True, eq=False)
class _Survey:
    """What can be used of a study, and all that is wrong with it."""

    study: Study | None
    """The study without its bad cases; None if nothing can be used."""

    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the problems that must be mended before a run."""
        return tuple(problem for problem in self.problems if _grave(problem))


def _draft(root: Path, undrawn: int | None) -> tuple[Draft | None, tuple[Problem, ...]]:
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises where permission is denied
        return None, (Problem(str(root), "is no folder", "give the folder of a study"),)
    try:
        listing(root)
    except BadFileError as error:
        return None, (problem_of(error, root.name),)
    if os.path.lexists(root / NAME):
        return read_layout(root, undrawn=undrawn)
    if os.path.lexists(root / LUNA16):
        return read_luna16(root)
    return None, (Problem(NAME, "is missing", "describe the channels and labels in it"),)


@dataclass(frozen=True, slots=True, eq=False)
class _Hints:
    """The hints of a study by case, and those that speak of no training case."""

    placed: dict[str, list[Placed]]
    drawn: dict[str, list[VoxelFile]]
    strays: tuple[Problem, ...]


def _stray(study: Study, case: str, where: str) -> Problem | None:
    """Return a problem if a hint speaks of no training case."""
    if any(files.name == case for files in study.training):
        return None
    if any(files.name == case for files in study.test):
        finding = f"is a hint for test case '{case}', and test cases take none"
        return Problem(where, finding, "remove it, or move the image to imagesTr", case=case)
    near = [files.name for files in study.training if case.startswith(files.name)]
    advice = f"did you mean '{near[-1]}'?" if near else "use the names in imagesTr without channel"
    return Problem(where, f"speaks of unknown case '{case}'", advice, case=case)


def _by_case(draft: Draft) -> _Hints:
    known = {files.name for files in draft.study.training}
    # a case whose image is no good has been told of already
    known |= {problem.case for problem in draft.problems if problem.case and _grave(problem)}
    placed: dict[str, list[Placed]] = {}
    for item in draft.placed:
        placed.setdefault(item.case, []).append(item)
    drawn: dict[str, list[VoxelFile]] = {}
    for file in draft.voxel_files:
        drawn.setdefault(file.case, []).append(file)
    return _Hints(placed, drawn, tuple(_strays(draft, known)) if draft.study.training else ())


def _strays(draft: Draft, known: Set[str]) -> Iterator[Problem]:
    """Yield hints of cases that are none for training."""
    places = [(item.case, item.where) for item in draft.placed]
    for file in draft.voxel_files:
        places.append((file.case, file.path.relative_to(draft.study.root).as_posix()))
    for case, where in places:
        if case not in known and (problem := _stray(draft.study, case, where)):
            yield problem


def _mixed(study: Study) -> Iterator[Problem]:
    """Yield cases and subjects that are on both sides."""
    training, test = ({files.name for files in side} for side in (study.training, study.test))
    for case in sorted(training & test):
        finding = f"case '{case}' is in imagesTr too"
        yield Problem("imagesTs", finding, "keep or name one otherwise", case=case)
    ours, theirs = ({files.subject for files in side} for side in (study.training, study.test))
    if both := (ours & theirs) - (training & test):
        finding = f"{are(len(both), 'subject')} in imagesTr and imagesTs ({some(both)})"
        yield Problem("cases.csv", finding, "scores of them flatter the model", "warning")


def _undense(study: Study, masked: set[str]) -> Iterator[Problem]:
    """Yield which training cases have no mask in denseTr, nor in labelsTr."""
    bare = [files.name for files in study.training if not files.dense and files.name not in masked]
    if len(bare) == len(study.training):
        yield Problem("denseTr", "holds no mask, nor does labelsTr", "add dense masks")
    elif bare:
        finding = f"has no mask for {counted(len(bare), 'case')} ({some(bare)})"
        yield Problem("denseTr", finding, "add them; the cases are left out", "warning")


def _unsaid(study: Study, seen: dict[str, Examined]) -> Iterator[Problem]:
    """Yield what no hint tells of: the study, a case, a label."""
    mute = [case for case, examined in seen.items() if not examined.labels]
    if len(mute) == len(seen):
        yield Problem("hints", "holds no hint at all", "add tags, points, boxes or drawn masks")
        return
    if mute:
        finding = f"{len(mute)} training cases have none and are not learnt from ({some(mute)})"
        case = mute[0] if len(mute) == 1 else None
        yield Problem("hints", finding, "add hints, or leave it so", "warning", case)
    told_of = frozenset[str]().union(*(examined.labels for examined in seen.values()))
    for label in study.labels.foreground:
        if label not in told_of:
            finding = f"no hint tells of label '{label}'"
            yield Problem("hints", finding, "add one, or remove the label", "warning")
    told = {case: examined.labels for case, examined in seen.items()}
    yield from forgotten(told, study.labels.foreground)


def _usable(draft: Draft, problems: Iterable[Problem]) -> Study:
    """Return the study without the cases that have an error, its hints joined."""
    errors = [problem for problem in problems if problem.case and _grave(problem)]
    study = draft.study
    training = _good(study.training, errors, test=False)
    kept = {files.name for files in training}
    hints = gather(item for item in draft.placed if item.case in kept)
    strokes: dict[str, tuple[VoxelFile, ...]] = {}
    for file in draft.voxel_files:
        if file.case in kept:
            strokes[file.case] = (*strokes.get(file.case, ()), file)
    return replace(
        study,
        training=training,
        test=_good(study.test, errors, test=True),
        hints=hints,
        stroke_files=strokes,
        design=study.design & kept,
    )


def _good(
    cases: Sequence[CaseFiles], errors: Iterable[Problem], *, test: bool
) -> tuple[CaseFiles, ...]:
    """Return the cases of a side that no error is about."""
    bad = {error.case for error in errors if error.where.startswith(_TEST) == test}
    return tuple(files for files in cases if files.name not in bad)


def survey(  # each is a choice of its own
    root: Path,
    *,
    deep: bool = False,
    dense: bool = False,
    undrawn: int | None = None,
    truths: bool = False,
    workers: int = 1,
) -> _Survey:
    """Look at a study and collect every problem in it.

    Headers, tables and drawn hints are read; the voxels of images only if asked.

    Args:
        root: A folder as for nnU-Net v2 with hints, or as LUNA16 gives it out.
        deep: Whether to read every voxel too.
        dense: Whether dense masks stand in for hints.
        undrawn: The value that means "not drawn" in drawn maps, if not dataset.json says it.
        truths: Whether truths of test cases will be needed: their values are then looked at.
        workers: Processes that look at cases at the same time.

    Returns:
        The usable part of the study, and the problems in the order of its folders.
    """
    root = Path(root)
    draft, problems = _draft(root, undrawn)
    if draft is None:
        return _Survey(None, problems)
    study, depth, hints = draft.study, Depth(deep, dense, truths), _by_case(draft)
    found = [*draft.problems, *_mixed(study), *hints.strays]
    seen: dict[str, Examined] = {}
    training = partial(_training, study, hints, depth)
    for files, examined in spread(training, study.training, workers):
        seen[files.name] = examined()
        found += seen[files.name].problems
    for _, told in spread(partial(_test, study, depth), study.test, workers):
        found += told()
    if dense:
        found += _undense(study, {file.case for file in draft.voxel_files if file.kind == "labels"})
    elif not any(item.where.startswith("hints") for item in filter(_grave, found)):
        found += _unsaid(study, seen) if seen else ()
    return _Survey(_usable(draft, found), tuple(found))


def _training(study: Study, hints: _Hints, depth: Depth, files: CaseFiles) -> Examined:
    case = (hints.placed.get(files.name, ()), hints.drawn.get(files.name, ()))
    return examine_training(study, files, case, depth=depth)


def _test(study: Study, depth: Depth, files: CaseFiles) -> list[Problem]:
    return [*examine_test(study, files, depth=depth)]


def _refusal(found: tuple[Problem, ...]) -> str:
    errors = joined(found)
    more = [f"... and {len(errors) - _LISTED} more"] if len(errors) > _LISTED else []
    return "\n".join([*map(str, errors[:_LISTED]), *more])


def open_study(  # noqa: PLR0913  # each is a choice of its own
    root: Path,
    *,
    skip_bad: bool = False,
    deep: bool = False,
    dense: bool = False,
    undrawn: int | None = None,
    truths: bool = False,
    workers: int = 1,
) -> tuple[Study, tuple[Problem, ...]]:
    """Open a study for a run.

    Args:
        root: The study folder.
        skip_bad: Whether to set bad cases aside and go on with the others.
        deep: Whether to read every voxel too.
        dense: Whether dense masks stand in for hints.
        undrawn: The value that means "not drawn" in drawn maps, if not dataset.json says it.
        truths: Whether truths of test cases will be needed: their values are then looked at.
        workers: Processes that look at cases at the same time.

    Returns:
        The study, and its problems: warnings, and what was set aside.

    Raises:
        BadStudyError: The study has errors; with `skip_bad`, errors of the whole study, or no
            case without one.
    """
    seen = survey(root, deep=deep, dense=dense, undrawn=undrawn, truths=truths, workers=workers)
    barred = tuple(item for item in seen.errors if not skip_bad or item.case is None)
    if barred or seen.study is None:
        raise BadStudyError(_refusal(barred or seen.problems))
    if not seen.study.training:
        raise BadStudyError(_refusal(seen.errors))
    return seen.study, seen.problems
