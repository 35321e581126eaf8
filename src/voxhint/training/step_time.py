"""How long a training step takes on this machine, measured rather than guessed."""

import copy
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from voxhint.prepare import Plan
from voxhint.training.batches import Example
from voxhint.training.distributed_batch import Shared
from voxhint.training.loop import StepHook, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LATE = 10**9  # a step at which every term of the loss counts


def step_seconds(fabric: "Fabric", net: nn.Module, task: Task) -> float:
    """Time a training step with every term of its loss; the network given is left as it is.

    Args:
        fabric: Device and precision.
        net: The network to be trained.
        task: Draws the batches and scores them.

    Returns:
        Seconds of the faster of two steps after a first one, plus a twentieth for the optimiser.
    """
    trial = copy.deepcopy(net).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    model = fabric.setup_module(trial)
    asked = Shared(model) if fabric.world_size > 1 else model
    if isinstance(task, StepHook):
        task.before_step(_LATE)
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        fabric.backward(task.loss(asked, rng, fabric.device))
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.monotonic() - began)
    return 1.05 * min(seconds[1:])


def synthetic_example(plan: Plan) -> Example:
    """Return a case of noise as large as a patch, in which everything is known."""
    rng = np.random.default_rng(0)
    count = len(plan.labels.names)
    classes = np.eye(count, dtype=np.float32)[rng.integers(count, size=plan.patch)]
    claims = np.moveaxis(classes, -1, 0)
    image = rng.standard_normal((len(plan.inputs), *plan.patch), np.float32)
    return Example.of("noise", image, np.stack([claims, claims]))
