"""How far a network's probabilities are from what it gets right, told by held-out hints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import nn

from voxhint.train.batches import Batch
from voxhint.train.losses import partial_cross_entropy

_WIDEST = math.log(10)  # of the logarithm, either way
_CLOSE = 1e-3


@dataclass(frozen=True, slots=True)
class Temperature:
    """What logits are divided by, and what that is worth."""

    temperature: float
    """Above 1 for a network that is too sure."""

    surprise_before: float
    """Mean partial cross-entropy of the held-out hints as the network is, in nats."""

    surprise_after: float


def fit_temperature(
    net: nn.Module, batches: Sequence[Batch], device: torch.device
) -> Temperature | None:
    """Find the temperature at which held-out hints surprise a network least.

    Args:
        net: In evaluation mode, on its device.
        batches: Patches of held-out cases; what they leave unknown counts for nothing.
        device: Of the network.

    Returns:
        The temperature, from 0.1 to 10; None without held-out cases.

    Source:
        Guo et al. 2017, "On calibration of modern neural networks"; here with partial labels.
    """
    if not batches:
        return None
    with torch.no_grad():
        logits = [net(batch.image.to(device)).float().cpu() for batch in batches]

    def surprise(log_temperature: float) -> float:
        warmth = math.exp(log_temperature)
        losses = [
            partial_cross_entropy(one / warmth, batch.belief, batch.plausible)
            for one, batch in zip(logits, batches, strict=True)
        ]
        return float(torch.stack(losses).mean())

    found = minimize_scalar(
        surprise, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": _CLOSE}
    )
    before, after = surprise(0.0), surprise(float(found.x))
    if after >= before:
        return Temperature(1.0, before, before)
    return Temperature(math.exp(float(found.x)), before, after)
