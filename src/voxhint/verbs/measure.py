"""`voxhint measure`: masks against truth."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from voxhint.config import MeasureConfig
from voxhint.config.ranges import Count, Natural, in_range
from voxhint.core import BACKGROUND, UNDRAWN, Grid, LabelSet, Mask
from voxhint.core.errors import BadFileError, OutputError, about
from voxhint.core.labels import counts_of, file_name
from voxhint.core.progress import Tell, silent
from voxhint.core.words import counted
from voxhint.core.workers import spread
from voxhint.files.atomic import write_text
from voxhint.files.dataset_json import NAME, read_description
from voxhint.files.grid_match import place_of, require_place
from voxhint.files.images import read_ids, read_probability
from voxhint.files.masks import read_mask
from voxhint.files.problems import Problem, lines_of
from voxhint.files.study.layout import cases_in, images_in, read_subjects
from voxhint.measure.compare import compare
from voxhint.measure.confidence_intervals import Estimate
from voxhint.measure.lesions import (
    CaseLesions,
    LesionSummary,
    Rate,
    are_lesions,
    case_lesions,
    summarise_lesions,
)
from voxhint.measure.score import CaseScore, label_by_label, score_case
from voxhint.measure.score_table import ScoreTable, tabulate
from voxhint.models.image_description import clashes, labels_beside
from voxhint.runs.lock import held, unusable


@dataclass(frozen=True, slots=True)
class Truth:
    """What masks are held against."""

    masks: Mapping[str, Path]
    """Drawn by people; by case."""

    labels: LabelSet
    subjects: Mapping[str, str]
    """The patient of each case; a case that is not listed is a patient of its own."""

    named: bool = True
    """Whether somebody named the labels; else they are called after their ids."""

    undrawn: int | None = None
    """What the study says that means "not drawn"; None where it does not say, and 255 does."""

    problems: tuple[Problem, ...] = ()
    """What is wrong with `cases.csv`; `measure` refuses errors."""


def measure(  # noqa: PLR0913  # each is a choice of its own
    masks: Path,
    truth: Path | Truth,
    *,
    config: MeasureConfig,
    compare_with: Path | None = None,
    probabilities: Path | None = None,
    seed: int = 0,
    workers: int = 1,
    tell: Tell = silent,
) -> ScoreTable:
    """Score masks against truth, and against other masks of the same cases.

    Labels and subjects are those of the study that holds the truth (its `dataset.json` and
    `cases.csv`); without one every id is a label and every case a subject.

    Args:
        masks: A folder of CASE.nii.gz, one for each case of the truth.
        truth: A folder of CASE.nii.gz drawn by people, or what was found in one.
        config: Tolerance and resamplings.
        compare_with: Other masks of the same cases, for a paired test.
        probabilities: A folder of CASE__LABEL.nii.gz: how sure single lesions are, for FROC.
        seed: Of the bootstrap.
        workers: Processes that score cases at the same time.
        tell: Hears of progress.

    Returns:
        The table.
    """
    in_range(Count, workers, "workers")
    told = truth if isinstance(truth, Truth) else read_truth(truth)
    _require_subjects(told)
    rows: list[CaseScore] = []
    lesions: dict[str, list[CaseLesions]] = defaultdict(list)
    score = partial(_scored, told, config.tolerance_mm, probabilities)
    for scored in _by_case(score, masks, told, (workers, tell)):
        rows += scored[0]
        for label, found in scored[1].items():
            lesions[label].append(found)
    rng = np.random.default_rng(in_range(Natural, seed, "seed"))
    table = tabulate(
        rows,
        labels=told.labels.foreground,
        tolerance_mm=config.tolerance_mm,
        rng=rng,
    )
    summaries = {
        label: summarise_lesions(cases, scored=probabilities is not None, rng=rng)
        for label, cases in lesions.items()
        if are_lesions(cases)
    }
    table = replace(table, lesions=summaries)
    if compare_with is not None:
        others = [
            row
            for scores, _ in _by_case(score, compare_with, told, (workers, tell))
            for row in scores
        ]
        against = Path(*compare_with.absolute().parts[-2:]).as_posix()  # as RUN/masks
        comparison = compare(rows, others, against=against, rng=rng)
        table = replace(table, compare=comparison)
    return table


def write_scores(table: ScoreTable, path: Path, *, overwrite: bool) -> None:
    """Write `scores.json`.

    Args:
        table: What `measure` gave.
        path: The file.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        OutputError: There is a file, and it may not be replaced.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(unusable(path, error)) from None
    with held(path.with_name(f".{path.name}.lock"), path):
        require_free(path, overwrite=overwrite)
        write_text(path, table.to_json())


def require_free(path: Path, *, overwrite: bool) -> None:
    """Refuse to write scores over a file.

    Raises:
        OutputError: There is one, and it may not be replaced.
    """
    if path.exists() and not overwrite:
        msg = f"{path}: is there already; choose another file, or --overwrite"
        raise OutputError(msg)


def read_truth(folder: Path) -> Truth:
    """Return what masks are held against, with the labels and subjects of the study beside it.

    Args:
        folder: Of CASE.nii.gz drawn by people.

    Returns:
        The truth.

    Raises:
        BadFileError: The folder holds no mask, or the files beside it cannot be used.
    """
    masks = images_in(folder)
    if not masks:
        msg = f"{folder}: holds no mask; name a folder of CASE.nii.gz"
        raise BadFileError(msg)
    labels, undrawn = _labels(folder.parent / NAME, masks)
    others = [cases_in(folder.parent / name) for name in ("imagesTr", "imagesTs")]
    found, problems = read_subjects(folder.parent, set(masks), set[str]().union(*others))
    subjects = {case: subject for case, (subject, _) in found.items()}
    named = (folder.parent / NAME).exists()
    return Truth(masks, labels, subjects, named=named, undrawn=undrawn, problems=problems)


def _require_subjects(truth: Truth) -> None:
    """Refuse a `cases.csv` with errors: intervals would go by subjects that are wrong.

    Raises:
        BadFileError: It has some.
    """
    errors = lines_of(truth.problems, "error")
    if errors:
        raise BadFileError("\n".join(errors))


def _odd_labels(masks: Path, truth: Truth) -> str:
    """Return which ids stand for other names in masks than in the truth; nothing if none do.

    Raises:
        BadFileError: A label of both has two ids, so that different things would be compared.
    """
    told = labels_beside(masks) if truth.named else None
    clash = [] if told is None else clashes(told[1], truth.labels)
    if told is None or not clash:
        return ""
    ids = dict(zip(truth.labels.names, truth.labels.ids, strict=True))
    moved = any(
        ids.get(name, value) != value
        for name, value in zip(told[1].names, told[1].ids, strict=True)
    )
    odd = f"{masks}: {told[0]} and the {NAME} of the truth name labels differently: "
    odd += ", ".join(clash)
    if moved:
        msg = f"{odd}; use masks and truth of one {NAME}, or mend the wrong one"
        raise BadFileError(msg)
    return f"{odd}; they are compared by their ids"


def read_chance(folder: Path, case: str, label: str) -> tuple[Float[np.ndarray, "i j k"], Grid]:
    """Return the probability of a label in a case, as `predict` writes it.

    Args:
        folder: Of CASE__LABEL.nii.gz.
        case: The case's name.
        label: The label's name.

    Raises:
        BadFileError: There is none.
    """
    path = folder / f"{case}__{file_name(label)}.nii.gz"
    if not path.exists():
        msg = f"{folder}: has no {path.name}; write it with voxhint predict --probabilities"
        raise BadFileError(msg)
    return read_probability(path)


_Scored = tuple[list[CaseScore], dict[str, CaseLesions], str]
"""Scores and lesions of a case, and what is odd about the place of its mask."""


def _by_case(
    score: Callable[[tuple[str, Path]], _Scored],
    masks: Path,
    truth: Truth,
    how: tuple[int, Tell],
) -> Iterator[tuple[list[CaseScore], dict[str, CaseLesions]]]:
    """Yield the scores and lesions of each case of the truth.

    Raises:
        BadFileError: Labels contradict each other, or a case has no mask.
    """
    workers, tell = how
    odd = _odd_labels(masks, truth)
    if odd:
        tell("measure", 0, len(truth.masks), odd)
    drawn = images_in(masks, like=truth.masks)
    missing = [case for case in truth.masks if case not in drawn]
    if missing:
        msg = f"{masks}: has no mask of {missing[0]}, which the truth has; predict it too"
        raise BadFileError(msg)
    items = [(case, drawn[case]) for case in truth.masks]
    for number, ((case, _), scored) in enumerate(spread(score, items, workers)):
        tell("measure", number, len(truth.masks), case)
        with about(f"case {case}"):
            rows, lesions, told = scored()
        if told:
            tell("measure", number, len(truth.masks), told)
        yield rows, lesions


def _scored(
    truth: Truth, tolerance_mm: float, probabilities: Path | None, item: tuple[str, Path]
) -> _Scored:
    """Return what is said of one mask."""
    case, drawn = item
    true, mask, odd = _pair(truth.masks[case], drawn, truth)
    subject = truth.subjects.get(case, case)
    lesions = {}
    for label, one, other in label_by_label(true, mask):
        sure = None
        if probabilities is not None:
            sure, grid = read_chance(probabilities, case, label)
            true.grid.require_same(grid)
        lesions[label] = case_lesions(one, other, true.grid, subject=subject, probability=sure)
    scores = score_case(true, mask, case=case, subject=subject, tolerance_mm=tolerance_mm)
    return [*scores], lesions, odd


def _pair(path: Path, drawn: Path, truth: Truth) -> tuple[Mask, Mask, str]:
    """Return the truth and a mask on one grid, and what is odd about the place of the mask."""
    ids, grid = read_mask(drawn, truth.labels)
    true = Mask(*read_mask(path, truth.labels, [grid], undrawn=truth.undrawn), truth.labels)
    mask = Mask(ids, require_place(drawn, grid, [true.grid]), truth.labels)
    told = place_of(grid, [true.grid]).told
    return true, mask, f"{drawn.name}: {told}" if told else ""


def _labels(description: Path, true: Mapping[str, Path]) -> tuple[LabelSet, int | None]:
    """Return the labels, and which value means "not drawn" if somebody said.

    Raises:
        BadFileError: Nobody says, and the masks hold no label.
    """
    if description.exists():
        told, problems = read_description(description)
        if told is None:
            raise BadFileError("\n".join(map(str, problems)))
        return told.labels, told.undrawn
    found: set[int] = set()
    for path in true.values():
        found |= set(counts_of(read_ids(path)[0]))
    ids = sorted(found - {0, UNDRAWN})
    if not ids:
        told_of = ", ".join(map(str, sorted(found)))
        msg = (
            f"{description.parent}: its masks hold {told_of} alone, no label (0 is background, "
            f"{UNDRAWN} not drawn); store the label's id, or put {NAME} there"
        )
        raise BadFileError(msg)
    return LabelSet((BACKGROUND, *(f"label {i}" for i in ids)), (0, *ids)), None


def summary_lines(table: ScoreTable) -> list[str]:
    """Return one line of numbers for each label, and the mean over labels."""
    lines = [
        f"{name}: Dice {_told(row.dice)}, surface Dice {_told(row.nsd)}, "
        f"HD95 {_told(row.hd95_mm)} mm, mean surface distance {_told(row.assd_mm)} mm"
        f"{_told_median(row.assd_mm)}, {counted(row.dice.n, 'case')}"
        for name, row in table.labels.items()
    ]
    lines += [_lesion_line(name, found) for name, found in table.lesions.items()]
    lines.append(f"mean over labels: Dice {_told(table.overall.dice)}")
    trust = table.trust
    if trust is not None:
        risks = ", ".join(
            f"{risk.mean:.3f} in the surest {share:.0%}"
            for share, risk in zip(trust.coverages, trust.risks, strict=True)
            if risk.mean is not None
        )
        lines.append(f"expected calibration error: {_told(trust.ece)}")
        lines.append(f"share of mistakes: {risks or 'none'}")
    return lines


def _lesion_line(label: str, found: LesionSummary) -> str:
    line = f"{label}: {found.found} of {found.lesions} lesions found, "
    line += f"sensitivity {_told(found.sensitivity)}, "
    line += f"false regions an image {_told(found.false_per_image)}"
    if found.cpm is None:
        return line
    sizes = ", ".join(f"{size.cpm:.3f} {size.size}" for size in found.sizes if size.cpm is not None)
    return f"{line}, CPM {found.cpm:.3f} ({sizes})"


def _told(value: Estimate | Rate) -> str:
    if value.mean is None:
        return "none"
    between = "" if value.low is None else f" ({value.low:.3f} to {value.high:.3f})"
    return f"{value.mean:.3f}{between}"


def _told_median(value: Estimate) -> str:
    return "" if value.median is None else f", its median {value.median:.3f} mm"
