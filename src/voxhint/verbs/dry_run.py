"""`--dry-run`: what a command would need, measured on one case and one training step."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import nn

from voxhint.classify.saliency_methods import needs_flow
from voxhint.classify.tag_bags import labels_to_localise
from voxhint.config import LabelConfig, Machine, PredictConfig, Recipe, TrainConfig, seconds_of
from voxhint.core import Case, SoftLabel
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.progress import silent
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import counted, told_seconds
from voxhint.files.validate.study import open_study
from voxhint.models.device import open_fabric
from voxhint.models.folder import WEIGHTS, Model, network_of
from voxhint.models.memory_forecast import training_bytes
from voxhint.models.planning import with_network
from voxhint.models.segmentation_training import VoxelLearning, task_of
from voxhint.models.shipped_weights import Part, allows_shipped, shipped
from voxhint.prepare import Plan
from voxhint.propagate import dense_label
from voxhint.propagate.shown_labels import SharedSoftLabel
from voxhint.training import VoxelTask, step_seconds
from voxhint.training.step_time import synthetic_example
from voxhint.verbs.label_forecast import RehearsedLabels, rehearse_labelling, require_room
from voxhint.verbs.predict_forecast import RehearsedPrediction, rehearse_prediction
from voxhint.verbs.train import learning_of
from voxhint.verbs.train_forecast import preparing_needs, preparing_told, require_room_to_train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LOOKED_AT = 10  # cases


@dataclass(frozen=True, slots=True, eq=False)
class _RehearsedTraining:
    """What training would take, and its network, not trained."""

    lines: tuple[str, ...]
    seconds: Mapping[str, float]
    """By step."""

    plan: Plan
    net: nn.Module
    fabric: "Fabric"


def forecast(
    study: Path, recipe: Recipe, machine: Machine, *, hinted_masks: bool = False
) -> Iterator[str]:
    """Yield lines that tell what a run would do and need; nothing is written.

    Args:
        study: The study folder.
        recipe: Every knob of the steps.
        machine: Device, threads, memory, seed.
        hinted_masks: Whether the hinted images are predicted beside those of `imagesTs`.

    Yields:
        Lines for a person.
    """
    dense = recipe.train.supervision == "dense"
    opened, _ = open_study(study, skip_bad=machine.skip_bad, dense=dense, undrawn=machine.undrawn)
    cases = opened.learning_cases(dense=dense)
    hinted = opened.hinted if hinted_masks or not opened.test else ()
    images = {case.name: case.images for case in (*opened.test, *hinted)}
    told = f" ({counted(len(hinted), 'hinted image')} among them)" if hinted else ""
    yield f"{counted(len(cases), 'case')} to learn from, {len(images)} to predict{told}"
    took, known, first = {}, None, None
    if not dense:
        known = _labelled(opened, recipe.label, machine)
        took["labelling"], first = known.seconds, known.files
        yield from known.lines
        yield from _of_tags(opened, recipe.label, machine)
    trained = _rehearse_training(_learning(opened, cases, known, recipe.train, machine), first)
    took |= trained.seconds
    yield from trained.lines
    if images:
        predicted = _rehearse_prediction(trained, images, recipe.predict, machine)
        took["predicting"] = predicted.seconds
        yield from predicted.lines
    yield _total(took)


def forecast_training(
    study: Path, config: TrainConfig, machine: Machine, *, labels: Path | None
) -> Iterator[str]:
    """Yield lines that tell what `train` would do and need; nothing is written.

    Args:
        study: The study folder.
        config: Knobs of training.
        machine: Device, threads, memory, seed.
        labels: What `label` wrote; None for dense supervision.

    Yields:
        Lines for a person.
    """
    dense = config.supervision == "dense"
    opened, _ = open_study(study, skip_bad=machine.skip_bad, dense=dense, undrawn=machine.undrawn)
    learning = learning_of(opened, labels, (None, None), (config, machine, silent))
    yield f"{counted(len(learning.cases), 'case')} to learn from"
    trained = _rehearse_training(learning, None)
    yield from trained.lines
    yield _total(trained.seconds)


def _total(took: Mapping[str, float]) -> str:
    *steps, last = took
    return f"in all: about {told_seconds(sum(took.values()))} of {', '.join(steps)} and {last}"


def _rehearse_training(learning: VoxelLearning, known: CaseFiles | None) -> _RehearsedTraining:
    """Return what training would take; nothing is kept on disk.

    Args:
        learning: What is learnt.
        known: The one case whose labels are known yet; None if those of all are.
    """
    study, config, machine = learning.study, learning.config, learning.machine
    require_room_to_train(study, config, machine)
    plan = learning.make_plan(most=_LOOKED_AT, spanned=None if known is None else [known])
    fabric = open_fabric(machine)
    torch.manual_seed(machine.seed)
    net = network_of(plan)
    task = VoxelTask.of([synthetic_example(plan)], [], plan, config)
    each = step_seconds(fabric, net, task_of(task))
    limit = config.time
    steps = int(0.9 * seconds_of(limit) / each) if limit else config.steps or 0
    count = sum(p.numel() for p in net.parameters()) / 1e6
    spacing = " x ".join(f"{step:.3g}" for step in plan.spacing_mm)
    changes = "" if known is None else "; the labels of all cases may change patch and spacing"
    preparing = preparing_needs(study, config)
    batch = training_bytes(with_network(config, study), math.prod(plan.patch), len(study.channels))
    told, seconds = preparing_told(learning, plan, net, known)
    lines = (
        f"network: {plan.network}, {count:.1f} M parameters, patch {plan.patch} of "
        f"{spacing} mm{changes}",
        told,
        f"training: {counted(steps, 'step')} of {each:.2f} s, {told_seconds(steps * each)}",
        f"training: about {max(*preparing.values(), batch) / 2**30:.1f} GiB",
    )
    took = {"preparing": seconds, "training": steps * each}
    return _RehearsedTraining(lines, took, plan, net, fabric)


def _rehearse_prediction(
    trained: _RehearsedTraining,
    cases: Mapping[str, Mapping[str, Path]],
    config: PredictConfig,
    machine: Machine,
) -> RehearsedPrediction:
    """Return what predicting takes with a network that is not trained yet."""
    net = trained.net.to(
        device=trained.fabric.device,
        memory_format=torch.channels_last_3d,  # type: ignore[call-overload]
    ).eval()
    with TemporaryDirectory() as folder:  # no weights, no calibration
        model = Model(trained.plan, net, Path(folder) / WEIGHTS, trained.fabric)
        return rehearse_prediction(model, cases, replace(config, calibrated=False), machine)


def _learning(
    study: Study,
    cases: Sequence[CaseFiles],
    known: RehearsedLabels | None,
    config: TrainConfig,
    machine: Machine,
) -> VoxelLearning:
    """Return what would be learnt, as if the soft label of the largest case were that of all."""

    def label_of(case: Case) -> SoftLabel | CompactSoftLabel:
        if known is None:
            return dense_label(case, study.labels)
        return known.soft.dense() if isinstance(known.soft, SharedSoftLabel) else known.soft

    return VoxelLearning(study, cases, label_of, config, machine, silent, time.monotonic())


def forecast_label(study: Path, config: LabelConfig, machine: Machine) -> Iterator[str]:
    """Yield lines that tell what `label` would do and need; nothing is written."""
    opened, _ = open_study(study, skip_bad=machine.skip_bad, undrawn=machine.undrawn)
    yield f"{counted(len(opened.learning_cases()), 'case')} to label"
    yield from _labelled(opened, config, machine).lines
    yield from _of_tags(opened, config, machine)


def _labelled(study: Study, config: LabelConfig, machine: Machine) -> RehearsedLabels:
    require_room(study, config, machine)
    return rehearse_labelling(study, config, machine)


def _of_tags(study: Study, config: LabelConfig, machine: Machine) -> Iterator[str]:
    """Yield what the networks need that find what tags alone name."""
    labels = labels_to_localise(study)
    parts: tuple[Part, ...] = ("classifier", "flow") if needs_flow(config) else ("classifier",)
    for part in parts if labels else ():
        known = shipped(study, labels, seed=machine.seed) if allows_shipped(part, config) else None
        if known is not None:
            yield f"tags: the {part} of {labels[0]} comes with voxhint ({known.name})"
            continue
        steps = config.classifier.steps if part == "classifier" else config.flow.steps
        twice = ", and one to verify" if part == "classifier" and config.tags.verify else ""
        yield (
            f"tags: a {part} of {', '.join(labels)}{twice} is trained before labelling, "
            f"{steps} steps; the times told leave it out"
        )
