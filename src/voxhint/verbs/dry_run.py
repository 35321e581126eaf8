"""`--dry-run`: what a command would need, measured on one case and one training step."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from voxhint.classify.saliency_methods import needs_flow
from voxhint.classify.tag_bags import labels_to_localise
from voxhint.config import LabelConfig, Machine, Recipe, TrainConfig, seconds_of
from voxhint.core import Case, SoftLabel
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.progress import silent
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import counted
from voxhint.files.validate.study import open_study
from voxhint.models.device import open_fabric
from voxhint.models.folder import network_of
from voxhint.models.memory_forecast import training_bytes
from voxhint.models.planning import measure_images, trunk_options, with_network
from voxhint.models.segmentation_training import VoxelLearning, task_of
from voxhint.models.shipped_weights import Part, allows_shipped, shipped
from voxhint.prepare import make_plan
from voxhint.propagate import dense_label
from voxhint.propagate.shown_labels import SharedSoftLabel
from voxhint.train import VoxelTask, step_seconds
from voxhint.train.step_time import synthetic_example
from voxhint.verbs.label_forecast import RehearsedLabels, rehearse_labelling, require_room
from voxhint.verbs.train_forecast import preparing_needs, preparing_told, require_room_to_train

_LOOKED_AT = 10  # cases


def forecast(study: Path, recipe: Recipe, machine: Machine) -> Iterator[str]:
    """Yield lines that tell what a run would do and need; nothing is written.

    Yields:
        Lines for a person.
    """
    dense = recipe.train.supervision == "dense"
    opened, _ = open_study(study, skip_bad=machine.skip_bad, dense=dense, undrawn=machine.undrawn)
    cases = opened.learning_cases(dense=dense)
    yield f"{len(cases)} cases to learn from, {len(opened.test)} to predict"
    fabric = open_fabric(machine)
    plan = make_plan(
        measure_images(opened, opened.training, machine.seed, silent, most=_LOOKED_AT),
        opened.channels,
        opened.labels,
        options=trunk_options(recipe.train, machine, opened),
        optional_channels=opened.optional_channels,
    )
    torch.manual_seed(machine.seed)
    net = network_of(plan)
    task = VoxelTask.of([synthetic_example(plan)], [], plan, recipe.train)
    seconds = step_seconds(fabric, net, task_of(task))
    limit = recipe.train.time
    steps = int(0.9 * seconds_of(limit) / seconds) if limit else recipe.train.steps or 0
    count = sum(p.numel() for p in net.parameters()) / 1e6
    voxels = int(np.prod(plan.patch))
    yield f"network: {plan.network}, {count:.1f} M parameters, patch {plan.patch}"
    config = with_network(recipe.train, opened)
    require_room_to_train(opened, config, machine)
    most = max(preparing_needs(opened, config).values())
    memory = max(most, training_bytes(config, voxels, len(opened.channels))) / 2**30
    yield f"training: {steps} steps of {seconds:.2f} s, {steps * seconds / 60:.0f} min"
    yield f"memory: about {memory:.1f} GiB"
    known = None if dense else _labelled(opened, recipe.label, machine)
    learning = _learning(opened, cases, known, recipe.train, machine)
    yield preparing_told(learning, plan, net, None if known is None else known.files)
    if known is not None:
        yield from known.lines
        yield from _of_tags(opened, recipe.label, machine)


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
            f"{steps} steps; the times above leave it out"
        )
