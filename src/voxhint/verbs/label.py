"""`voxhint label`: hints to soft labels."""

import dataclasses
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxhint.classify.classifier import CLASSIFIER_FILE
from voxhint.classify.localisation import Localisation, Localiser, fit_localiser
from voxhint.classify.saliency_methods import require_counterfactual
from voxhint.classify.train_label_flow import FLOW_FILE
from voxhint.config import LabelConfig, Machine, without_effect
from voxhint.core import LabelSet, Volume
from voxhint.core.errors import about
from voxhint.core.progress import Tell, peak_ram_mb, silent, tell_found
from voxhint.core.study import CaseFiles, Study
from voxhint.core.workers import spread
from voxhint.files.hashing import hash_of
from voxhint.files.images import write_image
from voxhint.files.problems import Problem, lines_of
from voxhint.files.soft_labels import (
    compact_path,
    read_soft_label,
    soft_label_paths,
    write_soft_label,
)
from voxhint.files.validate.study import open_study
from voxhint.models.shipped_weights import origins
from voxhint.propagate import constraints_of, leave_open
from voxhint.propagate.constraints import Constraints
from voxhint.propagate.nninteractive import Server
from voxhint.propagate.study import (
    LabelledCase,
    PropagationPlan,
    constraints_for,
    hints_alone,
    label_case,
    plan_propagation,
)
from voxhint.propagate.volume_warning import Extent, extents, runaways, typical_volumes
from voxhint.runs import Manifest, complete, is_started, locked, start, study_inputs
from voxhint.runs.kept_warnings import keep_problems
from voxhint.verbs.label_forecast import require_room

NETS = "nets"
_COUNTERFACTUALS = "counterfactuals"
HINT_PARTS = ("dataset.json", "hints", "labelsTr", "imagesTr", "annotations.csv")


def label(
    study: Path, out: Path, *, config: LabelConfig, machine: Machine, tell: Tell = silent
) -> Path:
    """Turn the hints of a study into soft labels.

    Args:
        study: The study folder.
        out: Where CASE__LABEL.nii.gz and CASE__LABEL__trust.nii.gz go, or CASE__soft.npz of a
            whole scan.
        config: Method and strengths.
        machine: Seed, overwrite, skip_bad, max_ram.
        tell: Hears of progress.

    Returns:
        The output folder.
    """
    require_counterfactual(config)
    opened, problems = study_for(study, out, machine)
    opened.learning_cases()
    require_room(opened, config, machine)
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
        workers=machine.workers,
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
    hinted = study.hinted
    plan = plan_propagation(study, hinted, config=config, machine=machine, tell=tell)
    localiser = fit_localiser(study, out / NETS, config=config, machine=machine, tell=tell)
    idle = [*without_effect(config, tags=localiser is not None), *_licence(config)]
    tell_found(tell, (*found.warnings, *idle))
    sizes: dict[str, dict[str, Extent]] = {}
    work = _Work(study, out, config, plan, localiser, found.lost)
    workers = 0 if localiser is not None else machine.workers  # its networks stay where they are
    for number, (files, sized) in enumerate(spread(work.done, hinted, workers)):
        tell("label", number, len(hinted), files.name)
        with about(f"case {files.name}"):
            sizes[files.name] = sized()
    tell("label", len(hinted), len(hinted), "")
    facts = {
        **({} if localiser is None else _of_classifier(localiser, out / NETS)),
        **({} if plan.classifier is None else {"cross_case_classifier": plan.classifier.facts()}),
        "seconds": {"label": round(time.monotonic() - began, 1)},
        "distance_caps_mm": {name: round(value, 3) for name, value in plan.caps_mm.items()},
        "volumes_ml": typical_volumes(sizes, study.labels),
        "cases": len(hinted),
        "peak_ram_mb": peak_ram_mb(),
        "warnings": [
            *found.warnings,
            *idle,
            *lines_of(problems, "warning"),
            *runaways(sizes),
        ],
        "skipped": lines_of(problems, "error"),
    }
    complete(out, manifest, facts)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What is to be done for each case."""

    study: Study
    out: Path
    config: LabelConfig
    plan: PropagationPlan
    localiser: Localiser | None
    lost: Sequence[str]

    def done(self, files: CaseFiles) -> dict[str, Extent]:
        """Return how large the labels of a case are, made now if they are not there yet."""
        study, out, config = self.study, self.out, self.config
        if _is_labelled(out, files.name, study.labels, config, self.lost):
            return _extents(study, files, out)
        known = label_case(study, files, self.plan, config)
        soft, measured = known.soft, (known.few, known.constraints, known.shown.labels)
        if self.localiser is not None:
            located, constraints = _with_tags(self.localiser, known)
            soft, measured = located.soft, (located.soft, constraints, study.labels)
            if config.tags.counterfactuals:
                _write_without(out, files.name, located.counterfactual, study.channels)
        write_soft_label(out, files.name, soft, study.labels, nifti=config.nifti)  # last
        return extents(*measured)


def _with_tags(localiser: Localiser, known: LabelledCase) -> tuple[Localisation, Constraints]:
    """Return a case with regions of labels that only tags name, and what its hints prove."""
    constraints = constraints_of(known.case.grid, known.case.hints, localiser.study.labels)
    located = localiser.add_regions(known.soft.dense(), constraints, known.case)
    soft = leave_open(located.soft, constraints.open_labels)
    return replace(located, soft=soft), constraints


def _extents(study: Study, files: CaseFiles, out: Path) -> dict[str, Extent]:
    """Return how large the labels of a case already done are beside what its hints span."""
    soft = read_soft_label(out, files.name, study.labels)
    if soft is None:
        return {}
    case = hints_alone(study, files)
    return extents(soft, constraints_for(case, study.labels), study.labels)


def _drop_broken(nets: Path, lost: Sequence[str]) -> None:
    """Remove trained networks of which a file is lost, so that they are trained again."""
    for folder in nets.glob("*/"):
        broken = any(name.startswith(f"{NETS}/{folder.name}/") for name in lost)
        if broken and any((folder / name).exists() for name in (CLASSIFIER_FILE, FLOW_FILE)):
            shutil.rmtree(folder)


def _is_labelled(
    out: Path, case: str, labels: LabelSet, config: LabelConfig, lost: Sequence[str]
) -> bool:
    """Return whether all files of a case are there."""
    without = f"{_COUNTERFACTUALS}/{case}_"
    if any(name.startswith(without) for name in lost):
        return False
    if compact_path(out, case).exists() and not config.nifti:
        return True
    return all(path.exists() for path in soft_label_paths(out, case, labels)) and not any(
        name == compact_path(out, case).name for name in lost
    )


def _licence(config: LabelConfig) -> tuple[str, ...]:
    """Return the terms of weights that are asked over the network."""
    if config.method != "nninteractive":
        return ()
    return (f"the weights of {config.server} come under: {Server(config.server or '').licence}",)


def _of_classifier(localiser: Localiser, nets: Path) -> dict[str, object]:
    """Return how good the classifier is, whose terms its weights come with, and its maps."""
    classifier = localiser.classifier
    public = {} if classifier.weights is None else {"public": classifier.weights}
    return {
        "classifier": classifier.describe(),
        "saliency": localiser.describe(),
        "weights": {**origins(nets), **public},
    }


def label_inputs(study: Study, config: LabelConfig) -> dict[str, str]:
    """Return the hashes of what labelling learns from: the study, and weights given by name."""
    weights = config.classifier.backbone_weights
    named = {} if weights is None else {"backbone_weights": hash_of([Path(weights)])}
    return {**study_inputs(study.root, HINT_PARTS), **named, **drawn_as(study)}


def drawn_as(study: Study) -> dict[str, str]:
    """Return which value means "not drawn", as an input beside the files, where it was said."""
    return {} if study.undrawn is None else {"undrawn": str(study.undrawn)}


def _write_without(
    folder: Path, case: str, images: Mapping[str, Volume], channels: Sequence[str]
) -> None:
    for channel, volume in images.items():
        name = f"{case}_{channels.index(channel):04d}.nii.gz"
        write_image(folder / _COUNTERFACTUALS / name, volume)
