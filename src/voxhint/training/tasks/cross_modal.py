"""Learning voxels with a branch for each modality: hints for all, and what they teach each other.

Source:
    Supervision by hints, by what each image expects and between modalities, as CmFNet (2025,
    arXiv 2506.18042) has it in words; the terms and their weights are a reconstruction of our own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from voxhint.nets.crossmodal import Branches, shown
from voxhint.training.batches import Batch
from voxhint.training.consistency import Present, consistency, drop_modalities, ramp
from voxhint.training.tasks.voxels import VoxelTask

_SURE = 0.8  # probability from which a branch teaches another
_RAMP = 400  # steps in which the weight of consistency rises
_BACK = 0.5  # weight of what the joint branch learns from the others


@dataclass(slots=True, eq=False)
class BranchTask:
    """The voxel task for a network of branches."""

    voxels: VoxelTask
    _step: int = field(default=0, init=False)
    """Steps done, told anew before each step."""

    def before_step(self, step: int, /) -> None:
        """Take note of how far training is."""
        self._step = step

    def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean partial cross-entropy of the held-out patches, in nats."""
        return self.voxels.validation_loss(net, device)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the loss of the joint branch, those of the others, and what lies between them."""
        config = self.voxels.config.crossmodal
        batch = self.voxels.drawn(rng, device)
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        present = shown(batch.image)
        joined = drop_modalities(present, config.modality_dropout, rng)
        if not config.consistency_weight and not config.branch_weight:
            return self.voxels.score(model(image, joined).float(), batch)
        said: Branches = model(image, joined, every=True)
        logits = said.logits.float()
        loss = self.voxels.score(logits[-1], batch)
        if config.branch_weight:
            own = [
                self.voxels.score(logits[m][rows], part) for m, rows, part in _parts(batch, present)
            ]
            loss = loss + config.branch_weight * _mean(own, loss)
        if config.consistency_weight:
            apart = config.consistency_weight * _cross_branch(logits, batch, present)
            loss = loss + ramp(self._step, _RAMP) * apart
        return loss


def _cross_branch(logits: Tensor, batch: Batch, present: Present) -> Tensor:
    """Return how far each branch and the joint one are apart, where the one that leads is sure."""
    joint = logits[-1]
    terms = []
    for m, rows, part in _parts(batch, present):
        one, other = joint[rows], logits[m][rows]
        there = consistency(one, other, part.inside, sure=_SURE)
        back = consistency(other, one, part.inside, sure=_SURE)
        terms.append(there + _BACK * back)
    return _mean(terms, joint)


def _parts(batch: Batch, present: Present) -> Iterator[tuple[int, Tensor, Batch]]:
    """Yield each modality that a patch has, which patches have it, and these with it alone."""
    for m, there in enumerate(present.unbind(1)):
        rows = there.nonzero()[:, 0]
        if len(rows):
            claims = batch.belief[rows], batch.plausible[rows]
            image = batch.image[rows, m : m + 1]
            yield m, rows, Batch(image, *claims, batch.inside[rows])


def _mean(terms: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(terms).mean() if terms else like.new_zeros(())
