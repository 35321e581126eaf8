"""`voxhint label`: hints to soft labels."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxhint.config import LabelConfig, Machine
from voxhint.core import Case, Hint, LabelSet, Soft, SoftLabel, Strokes
from voxhint.core.errors import BadStudyError, about
from voxhint.files.images import read_probability, write_probability
from voxhint.files.inspection import open_study
from voxhint.files.problems import Problem
from voxhint.files.study import CaseFiles, Study, load_case
from voxhint.label import case_reach, gather_evidence, plan_reach, soften
from voxhint.prepare import common_grid, resample
from voxhint.verbs.finder import Finder
from voxhint.verbs.job import Ticket, alone, begun, finish, start, study_inputs
from voxhint.verbs.presence import PREDICTOR, Presence
from voxhint.verbs.tagging import fit_presence, sought
from voxhint.verbs.tell import Tell, peak_ram_mb, silent

NETS = "nets"
VERIFIER = "verifier"
_MEASURED = 100  # cases that decide the reach
HINT_PARTS = ("dataset.json", "hints", "labelsTr", "imagesTr", "annotations.csv")


def label(
    study: Path, out: Path, *, config: LabelConfig, machine: Machine, tell: Tell = silent
) -> Path:
    """Turn the hints of a study into soft labels, one file of probability and one of trust each.

    Args:
        study: The study folder.
        out: Where CASE__LABEL.nii.gz and CASE__LABEL__trust.nii.gz go.
        config: Method and strengths.
        machine: Seed, overwrite, skip_bad.
        tell: Hears of progress.

    Returns:
        The output folder.
    """
    deep = machine.skip_bad or not begun(out)
    opened, problems = open_study(study, skip_bad=machine.skip_bad, deep=deep)
    learning_cases(opened)
    with alone(out, source=study):
        return label_cases(opened, problems, out, config=config, machine=machine, tell=tell)


def label_cases(
    study: Study,
    problems: Sequence[Problem],
    out: Path,
    *,
    config: LabelConfig,
    machine: Machine,
    tell: Tell = silent,
) -> Path:
    """Label the cases of an opened study; those that are labelled already are left alone.

    Args:
        study: What can be used of it.
        problems: Those found in it.
        out: Where CASE__LABEL.nii.gz and CASE__LABEL__trust.nii.gz go.
        config: Method and strengths.
        machine: Seed, overwrite.
        tell: Hears of progress.

    Returns:
        The output folder.
    """
    ticket = Ticket(
        verb="label",
        config=dataclasses.asdict(config),
        seed=machine.seed,
        inputs=study_inputs(study.root, HINT_PARTS),
    )
    began = time.monotonic()
    if start(out, ticket, overwrite=machine.overwrite):
        return out
    hinted = hinted_cases(study)
    reach = _reach(study, hinted, config, tell)
    finder = _finder(study, out / NETS, config, machine, tell)
    for number, files in enumerate(hinted):
        tell("label", number, len(hinted), files.name)
        if not all(path.exists() for path in _paths(out, files.name, study.labels)):
            with about(f"case {files.name}"):
                soft = soft_label(study, files, reach, config, finder)
                _write(out, files.name, soft, study.labels)
    tell("label", len(hinted), len(hinted), "")
    facts = {
        **({} if finder is None else _of_predictor(finder)),
        "seconds": {"label": round(time.monotonic() - began, 1)},
        "reach_mm": {name: round(value, 3) for name, value in reach.items()},
        "cases": len(hinted),
        "peak_ram_mb": peak_ram_mb(),
        "warnings": [str(p) for p in problems if p.severity == "warning"],
        "skipped": [str(p) for p in problems if p.severity == "error"],
    }
    finish(out, ticket, facts)
    return out


def _of_predictor(finder: Finder) -> dict[str, object]:
    """Return how good the predictor is, and whose terms its weights come with."""
    presence = finder.presence
    public = {} if presence.weights is None else {"weights": [presence.weights]}
    return {"predictor": presence.told(), **public}


def hinted_cases(study: Study) -> tuple[CaseFiles, ...]:
    """Return the training cases of which any hint says anything."""
    return tuple(
        files
        for files in study.training
        if study.hints.get(files.name) or study.stroke_files.get(files.name)
    )


def learning_cases(study: Study, *, dense: bool = False) -> tuple[CaseFiles, ...]:
    """Return the training cases that something can be learnt from.

    Args:
        study: Where they belong.
        dense: Whether to learn from dense masks rather than from hints.

    Returns:
        One case at least.

    Raises:
        BadStudyError: There is none, as when all of them were set aside.
    """
    cases = tuple(f for f in study.training if f.dense) if dense else hinted_cases(study)
    if not cases:
        msg = f"{study.root}: no case to learn from; add hints (or denseTr for dense supervision)"
        raise BadStudyError(msg)
    return cases


def evidence_case(study: Study, files: CaseFiles) -> Case:
    """Return a case with every channel and every drawn hint on the grid of the first channel."""
    case = load_case(study, files)
    images = common_grid(tuple(case.images.values()))
    hints = tuple(_on_first(hint, case) for hint in case.hints)
    return Case(case.name, dict(zip(case.images, images, strict=True)), hints)


def _on_first(hint: Hint, case: Case) -> Hint:
    if not isinstance(hint, Strokes | Soft) or hint.grid.same(case.grid):
        return hint
    if isinstance(hint, Strokes):
        drawn = hint.classes.astype(np.float32)
        moved = resample(drawn, hint.grid, case.grid, nearest=True, outside=255)
        return Strokes(np.rint(moved).astype(np.uint8), case.grid, hint.complete)
    moved = resample(hint.probability, hint.grid, case.grid, outside=0)
    return Soft(hint.label, moved, case.grid)


def _reach(
    study: Study, hinted: Sequence[CaseFiles], config: LabelConfig, tell: Tell
) -> dict[str, float]:
    if config.reach_mm is not None:
        return dict.fromkeys(study.labels.names, config.reach_mm)
    chosen = hinted[:: max(1, -(-len(hinted) // _MEASURED))]
    measured, grids = [], []
    for number, files in enumerate(chosen):
        tell("plan the reach of hints", number, len(chosen), files.name)
        with about(f"case {files.name}"):
            case = evidence_case(study, files)
            evidence = gather_evidence(case.grid, case.hints, study.labels)
            measured.append(case_reach(evidence, study.labels))
            grids.append(case.grid)
    return plan_reach(measured, grids, study.labels)


def _finder(
    study: Study, folder: Path, config: LabelConfig, machine: Machine, tell: Tell
) -> Finder | None:
    """Return what finds the labels that tags alone name, trained now; None if there are none."""
    labels = sought(study)
    if not labels:
        return None

    def taught(name: str, seed: int) -> Presence:
        using = dataclasses.replace(machine, seed=seed)
        return fit_presence(folder / name, study, labels, config=config, machine=using, tell=tell)

    presence = taught(PREDICTOR, machine.seed)
    verifier = taught(VERIFIER, machine.seed + 1) if config.verify == "on" else None
    return Finder.of(presence, study, config, machine.seed, tell, verifier)


def soft_label(
    study: Study,
    files: CaseFiles,
    reach: dict[str, float],
    config: LabelConfig,
    finder: Finder | None = None,
) -> SoftLabel:
    """Return the soft label of one case."""
    case = evidence_case(study, files)
    evidence = gather_evidence(case.grid, case.hints, study.labels)
    images = tuple(case.images.values())
    soft = soften(evidence, images, study.labels, reach_mm=reach, config=config)
    return soft if finder is None else finder.add_regions(soft, evidence, case)


def _paths(folder: Path, case: str, labels: LabelSet) -> list[Path]:
    return [
        folder / f"{case}__{name}{part}.nii.gz" for name in labels.names for part in ("", "__trust")
    ]


def _write(folder: Path, case: str, soft: SoftLabel, labels: LabelSet) -> None:
    arrays = [values for pair in zip(soft.probs, soft.trust, strict=True) for values in pair]
    for path, values in zip(_paths(folder, case, labels), arrays, strict=True):
        write_probability(path, values, soft.grid)


def read_soft_label(folder: Path, case: str, labels: LabelSet) -> SoftLabel | None:
    """Read the soft label of a case.

    Args:
        folder: What `label` wrote.
        case: Its name.
        labels: Names of the classes.

    Returns:
        The soft label, or None if the folder has none for this case.
    """
    paths = _paths(folder, case, labels)
    if not paths[0].exists():
        return None
    arrays = [read_probability(path) for path in paths]
    probs = np.stack([values for values, _ in arrays[::2]])
    trust = np.stack([values for values, _ in arrays[1::2]])
    return SoftLabel(probs, trust, arrays[0][1])
