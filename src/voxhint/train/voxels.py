"""Learning voxels from soft labels: the task of the trunk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.prepare import Plan
from voxhint.prepare.augment import augment
from voxhint.train.batches import Batch, Example, draw_batch, fixed_batches
from voxhint.train.losses import hint_loss, partial_cross_entropy

_DICE = {"weak": 0.3, "dense": 1.0}  # on doubtful labels soft Dice favours too much foreground


@dataclass(frozen=True, slots=True, eq=False)
class VoxelTask:
    """Patches of prepared cases, varied, scored against what their hints imply."""

    fit: Sequence[Example]
    """Cases to learn from, at least one."""

    checks: Sequence[Batch]
    plan: Plan
    config: TrainConfig

    @staticmethod
    def of(
        fit: Sequence[Example], held_out: Sequence[Example], plan: Plan, config: TrainConfig
    ) -> "VoxelTask":
        """Return the task of some cases; the hints of those held out choose the checkpoint."""
        return VoxelTask(fit, fixed_batches(held_out, plan.patch, plan.batch), plan, config)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return partial cross-entropy and trusted Dice of a varied batch."""
        batch = draw_batch(self.fit, self.plan.patch, self.plan.batch, rng).to(device)
        image, belief, plausible = augment(
            batch.image,
            batch.belief,
            batch.plausible,
            rng,
            spacing_mm=self.plan.spacing_mm,
            mirror=self.config.mirror,
        )
        logits = model(image.contiguous(memory_format=torch.channels_last_3d)).float()
        weight = self.config.dice_weight
        weight = _DICE[self.config.supervision] if weight is None else weight
        return hint_loss(logits, belief, plausible, dice_weight=weight)

    def surprise(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean partial cross-entropy of the held-out patches, in nats."""
        losses = [_surprise(net, batch.to(device)) for batch in self.checks]
        return float(np.mean(losses)) if losses else None


def _surprise(net: nn.Module, batch: Batch) -> float:
    logits = net(batch.image.contiguous(memory_format=torch.channels_last_3d)).float()
    return float(partial_cross_entropy(logits, batch.belief, batch.plausible))
