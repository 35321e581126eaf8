"""How far a network's probabilities are from what it gets right, told by held-out hints."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from voxhint.config.ranges import Positive
from voxhint.training.batches import Batch
from voxhint.training.losses import partial_cross_entropy

_DENSE = 2000  # facts so many that each stands for as much as any other
_WIDEST = math.log(10)  # of the logarithm, either way
_CLOSE = 1e-3
_PROVEN = 0.999  # belief in what a hint proves; what spreads from hints stays below
_FEWEST = 5  # facts of each class


@dataclass(frozen=True, slots=True)
class Temperature:
    """What logits are divided by, and what that is worth."""

    temperature: Positive
    """Above 1 for a network that is too sure."""

    loss_before: float
    """Mean cross-entropy of the held-out hints as the network is, in nats."""

    loss_after: float

    facts: int
    """Voxels that hints prove and that decided; 0 where what spreads from hints had to."""


def fit_temperature(
    net: nn.Module,
    batches: Sequence[Batch],
    device: torch.device,
    *,
    spacing_mm: tuple[float, float, float],
) -> Temperature | None:
    """Find the temperature at which held-out hints have the least loss.

    Only voxels that hints prove decide, if there are some of every class: what spreads from hints
    errs as the network does, so it finds the network right. People click where they like; each
    fact is weighed by the volume that lies nearest to it.

    Args:
        net: In evaluation mode, on its device.
        batches: Patches of held-out cases; what they leave unknown counts for nothing.
        device: Of the network.
        spacing_mm: Of the patches' voxels.

    Returns:
        The temperature, from 0.1 to 10; None without held-out cases.

    Source:
        Guo et al. 2017, "On calibration of modern neural networks"; here with weighed facts.
    """
    if not batches:
        return None
    from scipy.optimize import minimize_scalar

    with torch.no_grad():
        logits = [net(batch.image.to(device)).float().cpu() for batch in batches]
    facts, loss = _held_out_loss(logits, batches, spacing_mm)
    found = minimize_scalar(
        lambda log: loss(math.exp(log)),
        bounds=(-_WIDEST, _WIDEST),
        method="bounded",
        options={"xatol": _CLOSE},
    )
    temperature = math.exp(float(found.x))
    before, after = loss(1.0), loss(temperature)
    if after >= before:
        return Temperature(1.0, before, before, facts)
    return Temperature(temperature, before, after, facts)


def _held_out_loss(
    logits: Sequence[Tensor], batches: Sequence[Batch], spacing_mm: tuple[float, float, float]
) -> tuple[int, Callable[[float], float]]:
    """Return the number of facts, and the loss at each temperature."""
    sure = [batch.belief.amax(1) > _PROVEN for batch in batches]
    classes = torch.cat([b.belief.argmax(1)[at] for b, at in zip(batches, sure, strict=True)])
    believed = torch.stack([batch.belief.amax((0, 2, 3, 4)) for batch in batches]).amax(0) > 0
    counts = torch.bincount(classes, minlength=len(believed))
    if bool((counts[believed] >= _FEWEST).all()):
        told = torch.cat([one.movedim(1, -1)[at] for one, at in zip(logits, sure, strict=True)])
        weights = torch.cat(
            [torch.from_numpy(voxels_nearest(p.numpy(), spacing_mm)) for at in sure for p in at]
        )

        def of_facts(temperature: float) -> float:
            losses = functional.cross_entropy(told / temperature, classes, reduction="none")
            return float((weights * losses).sum() / weights.sum())

        return len(classes), of_facts

    def of_all(temperature: float) -> float:
        losses = [
            partial_cross_entropy(one / temperature, batch.belief, batch.plausible)
            for one, batch in zip(logits, batches, strict=True)
        ]
        return float(torch.stack(losses).mean())

    return 0, of_all


def voxels_nearest(
    facts: Bool[np.ndarray, "i j k"],
    spacing_mm: tuple[float, float, float] | Float64[np.ndarray, "3"],
) -> Float32[np.ndarray, " fact"]:
    """Count the voxels nearest to each fact: people click where they like.

    Returns:
        How many, in the order of the facts; nine clicks at one place together count as one. Above
        2000 facts each gets the same share.
    """
    places = np.flatnonzero(facts)
    if not 0 < len(places) <= _DENSE:
        return np.full(len(places), facts.size / max(1, len(places)), np.float32)
    nearest = ndimage.distance_transform_edt(
        ~facts, spacing_mm, return_distances=False, return_indices=True
    )
    owner = np.ravel_multi_index(tuple(nearest), facts.shape)
    return np.bincount(owner.ravel(), minlength=facts.size)[places].astype(np.float32)
