"""`--dry-run`: what a command would need, measured on one case and one training step."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from voxhint.config import Machine, Recipe, bytes_of, seconds_of
from voxhint.files.inspection import open_study
from voxhint.files.study import Study, load_case
from voxhint.prepare import Plan, Wishes, fingerprint, make_plan
from voxhint.train import step_seconds
from voxhint.verbs.forecast import patch_voxels_within, training_bytes
from voxhint.verbs.label import learning_cases, soft_label
from voxhint.verbs.machine import open_fabric
from voxhint.verbs.models import network_of
from voxhint.verbs.tagging import sought

_LOOKED_AT = 10  # cases


def forecast(study: Path, recipe: Recipe, machine: Machine) -> Iterator[str]:
    """Yield lines that tell what a run would do and need; nothing is written.

    Args:
        study: The study folder.
        recipe: Every knob.
        machine: Device, threads, memory.

    Yields:
        Lines for a person.
    """
    dense = recipe.train.supervision == "dense"
    opened, _ = open_study(study, skip_bad=machine.skip_bad, dense=dense)
    cases = learning_cases(opened, dense=dense)
    yield f"{len(cases)} cases to learn from, {len(opened.test)} to predict"
    fabric = open_fabric(machine)
    plan = _plan(opened, recipe, machine)
    torch.manual_seed(machine.seed)
    net = network_of(plan)
    seconds = step_seconds(fabric, net, plan)
    steps = recipe.train.steps
    if recipe.train.budget is not None:
        steps = int(0.9 * seconds_of(recipe.train.budget) / seconds)
    count = sum(p.numel() for p in net.parameters()) / 1e6
    voxels = int(np.prod(plan.patch))
    yield f"network: {plan.network}, {count:.1f} M parameters, patch {plan.patch}"
    memory = training_bytes(recipe.train, voxels) / 2**30
    yield f"training: {steps} steps of {seconds:.2f} s, {steps * seconds / 60:.0f} min"
    yield f"memory: about {memory:.1f} GiB"
    if not dense:
        began = time.monotonic()
        reach = dict.fromkeys(opened.labels.names, recipe.label.reach_mm or 10.0)
        soft_label(opened, cases[0], reach, recipe.label)
        each = time.monotonic() - began
        yield f"labelling: {each:.1f} s a case, {each * len(cases) / 60:.0f} min"
        labels = sought(opened)
        if labels:
            yield (
                f"tags: a predictor of {', '.join(labels)} is trained before labelling, "
                f"{recipe.label.predictor_steps} steps; the times above leave it out"
            )


def _plan(study: Study, recipe: Recipe, machine: Machine) -> Plan:
    chosen = study.training[:: max(1, -(-len(study.training) // _LOOKED_AT))]
    rng = np.random.default_rng(machine.seed)
    prints = [fingerprint(load_case(study, f, hints=False), rng) for f in chosen]
    voxels = recipe.train.patch_voxels
    if machine.max_ram is not None:
        voxels = patch_voxels_within(bytes_of(machine.max_ram), recipe.train)
    return make_plan(
        prints,
        study.channels,
        study.labels,
        wishes=Wishes(network=recipe.train.network, width=recipe.train.width, patch_voxels=voxels),
        optional_channels=study.optional_channels,
    )
