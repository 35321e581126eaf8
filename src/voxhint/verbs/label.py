"""`voxhint label`: hints to soft labels."""

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from voxhint.classify.classifier import FACTS, PREDICTOR, Presence
from voxhint.classify.flows import FLOW_FACTS
from voxhint.classify.localisation import Finder, Found
from voxhint.classify.maps import eyes_of, require_method
from voxhint.classify.training import fit_presence, sought
from voxhint.config import LabelConfig, Machine, without_effect
from voxhint.core import Case, Hint, LabelSet, Soft, SoftLabel, Strokes, Tag, Volume
from voxhint.core.errors import BadStudyError, about
from voxhint.core.labels import file_name
from voxhint.core.progress import Tell, peak_ram_mb, silent, tell_found
from voxhint.core.study import CaseFiles, Study
from voxhint.files.hashing import hash_of
from voxhint.files.images import read_probability, write_image, write_probability
from voxhint.files.problems import Problem
from voxhint.files.validate.study import open_study
from voxhint.models.shipped import origins
from voxhint.prepare import common_grid, resample
from voxhint.propagate import distance_caps, gather_evidence, measure_marks, soften
from voxhint.propagate.extent import Extent, extents, runaways, typical_volumes
from voxhint.propagate.soft_label import Taught
from voxhint.propagate.voxel_classifier import Across, learn_across, lesson_of
from voxhint.runs import Manifest, complete, is_started, locked, start, study_inputs
from voxhint.runs.notes import keep_problems

NETS = "nets"
VERIFIER = "verifier"
COUNTERFACTUALS = "counterfactuals"
_MEASURED = 200  # cases that decide the reach, and teach the others
_LEAN = 2.0  # natural logarithm of odds
_ALONE = ("pw4medseg", "none")  # methods that look at each case alone
HINT_PARTS = ("dataset.json", "hints", "labelsTr", "imagesTr", "annotations.csv")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """What the hints of a whole study say about spreading those of one case."""

    caps_mm: Mapping[str, float]
    """How far each label reaches, from `distance_caps`."""

    across: Across | None = None
    """What the cases teach each other; None where nothing is to be learnt."""

    lean: float = np.inf
    """Most that distance may speak against a class. Where the cases teach each other, lone clicks
    and drawn slices only lean the balance nearby."""


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
    require_method(config)
    opened, problems = study_for(study, out, machine)
    learning_cases(opened)
    with locked(out, source=study):
        return label_cases(opened, problems, out, config=config, machine=machine, tell=tell)


def study_for(
    study: Path, out: Path, machine: Machine, *, dense: bool = False
) -> tuple[Study, tuple[Problem, ...]]:
    """Return a study and what is wrong with it; voxels are looked at before the work begins."""
    return open_study(
        study,
        skip_bad=machine.skip_bad,
        deep=machine.skip_bad or not is_started(out),
        dense=dense,
        undrawn=machine.undrawn,
    )


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
    manifest = Manifest(
        verb="label",
        config=dataclasses.asdict(config),
        seed=machine.seed,
        inputs=label_inputs(study, config),
    )
    began = time.monotonic()
    found = start(out, manifest, overwrite=machine.overwrite)
    if found.complete:
        return out
    _drop_broken(out / NETS, found.lost)
    problems = keep_problems(out, problems)
    hinted = hinted_cases(study)
    spread = plan_spread(study, hinted, config=config, machine=machine, tell=tell)
    finder = _finder(study, out / NETS, config, machine, tell)
    idle = without_effect(config, tags=finder is not None, across=spread.across is not None)
    tell_found(tell, (*found.warnings, *idle))
    sizes: dict[str, dict[str, Extent]] = {}
    for number, files in enumerate(hinted):
        tell("label", number, len(hinted), files.name)
        with about(f"case {files.name}"):
            if not _is_labelled(out, files.name, study.labels, found.lost):
                known = soft_label(study, files, spread, config, finder)
                if config.counterfactuals:
                    _write_without(out, files.name, known.without, study.channels)
                _write(out, files.name, known.soft, study.labels)  # last: then a case is done
            sizes[files.name] = _extents(study, files, out)
    tell("label", len(hinted), len(hinted), "")
    facts = {
        **({} if finder is None else _of_predictor(finder, out / NETS)),
        **({} if spread.across is None else {"across_cases": spread.across.facts()}),
        "seconds": {"label": round(time.monotonic() - began, 1)},
        "reach_mm": {name: round(value, 3) for name, value in spread.caps_mm.items()},
        "volumes_ml": typical_volumes(sizes, study.labels),
        "cases": len(hinted),
        "peak_ram_mb": peak_ram_mb(),
        "warnings": [
            *found.warnings,
            *idle,
            *(str(p) for p in problems if p.severity == "warning"),
            *runaways(sizes),
        ],
        "skipped": [str(p) for p in problems if p.severity == "error"],
    }
    complete(out, manifest, facts)
    return out


def _extents(study: Study, files: CaseFiles, out: Path) -> dict[str, Extent]:
    """Return how large the labels of a case are beside what its hints span."""
    soft = read_soft_label(out, files.name, study.labels)
    if soft is None:
        return {}
    case = evidence_case(study, files)
    return extents(soft, gather_evidence(case.grid, case.hints, study.labels), study.labels)


def _drop_broken(nets: Path, lost: Sequence[str]) -> None:
    """Remove trained networks of which a file is lost, so that they are trained again."""
    for folder in nets.glob("*/"):
        broken = any(name.startswith(f"{NETS}/{folder.name}/") for name in lost)
        if broken and any((folder / name).exists() for name in (FACTS, FLOW_FACTS)):
            shutil.rmtree(folder)


def _is_labelled(out: Path, case: str, labels: LabelSet, lost: Sequence[str]) -> bool:
    """Return whether all files of a case are there."""
    without = f"{COUNTERFACTUALS}/{case}_"
    return all(path.exists() for path in _paths(out, case, labels)) and not any(
        name.startswith(without) for name in lost
    )


def _of_predictor(finder: Finder, nets: Path) -> dict[str, object]:
    """Return how good the predictor is, whose terms its weights come with, and what it shows."""
    presence = finder.presence
    public = {} if presence.weights is None else {"public": presence.weights}
    weights = {**origins(nets), **public}
    return {"predictor": presence.told(), "evidence": finder.told(), "weights": weights}


def label_inputs(study: Study, config: LabelConfig) -> dict[str, str]:
    """Return the hashes of what labelling learns from: the study, and weights given by name."""
    weights = config.predictor_weights
    named = {} if weights is None else {"predictor_weights": hash_of([Path(weights)])}
    return {**study_inputs(study.root, HINT_PARTS), **named, **drawn_as(study)}


def drawn_as(study: Study) -> dict[str, str]:
    """Return which value means "not drawn", as an input beside the files, where it was said."""
    return {} if study.undrawn is None else {"undrawn": str(study.undrawn)}


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
    case = study.load(files)
    images = common_grid(tuple(case.images.values()))
    on_first = dict(zip(case.images, images, strict=True))
    return Case(case.name, on_first, tuple(_on_first(hint, case) for hint in case.hints))


def _on_first(hint: Hint, case: Case) -> Hint:
    if not isinstance(hint, Strokes | Soft) or hint.grid.same(case.grid):
        return hint
    if isinstance(hint, Strokes):
        drawn = hint.classes.astype(np.float32)
        moved = resample(drawn, hint.grid, case.grid, nearest=True, outside=255)
        return Strokes(np.rint(moved).astype(np.uint8), case.grid, hint.complete)
    moved = resample(hint.probability, hint.grid, case.grid, outside=0)
    return Soft(hint.label, moved, case.grid)


def plan_spread(
    study: Study,
    hinted: Sequence[CaseFiles],
    *,
    config: LabelConfig,
    machine: Machine,
    tell: Tell = silent,
) -> Spread:
    """Learn from the hints of all cases how far they speak and what they have in common.

    Args:
        study: Where the cases belong.
        hinted: Cases with hints; where there are very many, some of them are looked at.
        config: Method and strengths.
        machine: Seed.
        tell: Hears of progress.

    Returns:
        What `soft_label` needs to know beyond its case.
    """
    chosen = hinted[:: max(1, -(-len(hinted) // _MEASURED))]
    together = config.method not in _ALONE and config.across_cases
    together = together and _may_teach(study, chosen)
    if config.reach_mm is not None and not together:
        return Spread(dict.fromkeys(study.labels.names, config.reach_mm))
    rng = np.random.default_rng(machine.seed)
    marks, grids, lessons, drawn = [], [], [], False
    for number, files in enumerate(chosen):
        tell("look at all hints", number, len(chosen), files.name)
        with about(f"case {files.name}"):
            case = evidence_case(study, files)
            evidence = gather_evidence(case.grid, case.hints, study.labels)
            marks.append(measure_marks(evidence, study.labels))
            grids.append(case.grid)
            drawn |= evidence.drawn_whole
            if together:
                lesson = lesson_of(evidence, case.images, study.channels, study.labels, rng)
                lessons.append(lesson)
    across = learn_across(
        lessons,
        study.channels,
        steps=config.across_steps,
        rng=rng,
        progress=lambda done, total: tell("learn from all cases", done, total, ""),
    )
    caps = distance_caps(marks, grids, study.labels)
    if config.reach_mm is not None:
        caps = dict.fromkeys(caps, config.reach_mm)
    lone = any(
        all(name not in case or case[name].gap_mm is None for case in marks) for name in caps
    )
    nearby = across is not None and (lone or drawn)
    return Spread(caps, across, _LEAN if nearby else np.inf)


def _may_teach(study: Study, hinted: Sequence[CaseFiles]) -> bool:
    """Return whether any case shows voxels: tags alone teach in their own way."""
    hints = [hint for case in hinted for hint in study.hints.get(case.name, ())]
    drawn = any(study.stroke_files.get(case.name) for case in hinted)
    return drawn or not all(isinstance(hint, Tag) for hint in hints)


def _finder(
    study: Study, folder: Path, config: LabelConfig, machine: Machine, tell: Tell
) -> Finder | None:
    """Return what finds the labels that tags alone name, trained now; None if there are none."""
    labels = sought(study)
    if not labels:
        return None

    def taught(name: str, config: LabelConfig, machine: Machine) -> Presence:
        return fit_presence(folder / name, study, labels, config=config, machine=machine, tell=tell)

    presence = taught(PREDICTOR, config, machine)
    verifier = None
    if config.verify == "on":  # one of its own: what comes with voxhint would agree with itself
        alone = dataclasses.replace(config, weights="none")
        verifier = taught(VERIFIER, alone, dataclasses.replace(machine, seed=machine.seed + 1))
    eyes = eyes_of(presence, study, folder, config, machine, tell=tell)
    return Finder.of(presence, study, eyes, config, machine.seed, tell, verifier)


def soft_label(
    study: Study,
    files: CaseFiles,
    spread: Spread,
    config: LabelConfig,
    finder: Finder | None = None,
) -> Found:
    """Return what is known of one case."""
    case = evidence_case(study, files)
    evidence = gather_evidence(case.grid, case.hints, study.labels)
    images = tuple(case.images.values())
    taught = None
    if spread.across is not None:
        taught = Taught(spread.across.log_probs(case.images, evidence), spread.lean)
    caps = spread.caps_mm
    soft = soften(evidence, images, study.labels, caps_mm=caps, config=config, taught=taught)
    return Found(soft) if finder is None else finder.add_regions(soft, evidence, case)


def _paths(folder: Path, case: str, labels: LabelSet) -> list[Path]:
    return [
        folder / f"{case}__{file_name(name)}{part}.nii.gz"
        for name in labels.names
        for part in ("", "__trust")
    ]


def _write(folder: Path, case: str, soft: SoftLabel, labels: LabelSet) -> None:
    arrays = [values for pair in zip(soft.probs, soft.trust, strict=True) for values in pair]
    for path, values in zip(_paths(folder, case, labels), arrays, strict=True):
        write_probability(path, values, soft.grid)


def _write_without(
    folder: Path, case: str, images: Mapping[str, Volume], channels: Sequence[str]
) -> None:
    for channel, volume in images.items():
        name = f"{case}_{channels.index(channel):04d}.nii.gz"
        write_image(folder / COUNTERFACTUALS / name, volume)


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
