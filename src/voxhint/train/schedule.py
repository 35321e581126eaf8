"""How long a training step takes on this machine, measured rather than guessed."""

import copy
import time

import torch
from lightning_fabric import Fabric
from torch import nn

from voxhint.prepare import Plan


def step_seconds(fabric: Fabric, net: nn.Module, plan: Plan) -> float:
    """Time a training step on random patches; the network given is left as it is.

    Args:
        fabric: Device and precision.
        net: The network to be trained.
        plan: Gives batch and patch.

    Returns:
        Seconds of the faster of two steps after a first one, plus a tenth for preparing batches.
    """
    trial = copy.deepcopy(net).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    model = fabric.setup_module(trial)
    shape = (plan.batch, len(plan.inputs), *plan.patch)
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        image = torch.zeros(shape, device=fabric.device)
        fabric.backward(model(image.contiguous(memory_format=torch.channels_last_3d)).mean())
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.monotonic() - began)
    return 1.1 * min(seconds[1:])
