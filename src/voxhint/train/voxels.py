"""Learning voxels from soft labels: the task of the trunk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.prepare import Plan
from voxhint.prepare.augment import augment
from voxhint.train.batches import Batch, Example, Examples, draw_batch, fixed_batches
from voxhint.train.grafts import Grafts
from voxhint.train.losses import hint_loss, partial_cross_entropy
from voxhint.train.regularise import gated_crf, mumford_shah, total_variation

_DICE = {"weak": 0.3, "dense": 1.0}  # on doubtful labels soft Dice favours too much foreground


@dataclass(frozen=True, slots=True, eq=False)
class VoxelTask:
    """Patches of prepared cases, varied, scored against what their hints imply."""

    fit: Examples
    """Cases to learn from, at least one."""

    checks: Sequence[Batch]
    plan: Plan
    config: TrainConfig
    grafts: Grafts | None = None
    """Lesions to paste, if wanted."""

    @staticmethod
    def of(
        fit: Sequence[Example], held_out: Sequence[Example], plan: Plan, config: TrainConfig
    ) -> "VoxelTask":
        """Return the task of some cases; the hints of those held out choose the checkpoint."""
        checks = fixed_batches(held_out, plan.patch, plan.batch)
        grafts = Grafts.of(fit, plan.spacing_mm, config.paste) if config.paste else None
        return VoxelTask(Examples.of(fit), checks, plan, config, grafts)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return partial cross-entropy, trusted Dice and the regularisers of a varied batch."""
        batch = draw_batch(self.fit, self.plan.patch, self.plan.batch, rng)
        if self.grafts is not None:
            batch = self.grafts.into(batch, rng)
        batch = self._varied(batch.to(device), rng)
        logits = model(batch.image.contiguous(memory_format=torch.channels_last_3d)).float()
        weight = self.config.dice_weight
        weight = _DICE[self.config.supervision] if weight is None else weight
        loss = hint_loss(logits, batch.belief, batch.plausible, dice_weight=weight)
        return sum(self._regularisers(logits, batch), start=loss)

    def surprise(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean partial cross-entropy of the held-out patches, in nats."""
        losses = [_surprise(net, batch.to(device)) for batch in self.checks]
        return float(np.mean(losses)) if losses else None

    def _varied(self, batch: Batch, rng: np.random.Generator) -> Batch:
        classes = batch.belief.shape[1]
        # where the case ends moves with the claims, as one more class; only the gate asks for it
        extent = [batch.inside] if self.config.crf_weight else []
        image, belief, plausible = augment(
            batch.image,
            torch.cat([batch.belief, *extent], 1),
            torch.cat([batch.plausible, *extent], 1),
            rng,
            spacing_mm=self.plan.spacing_mm,
            mirror=bool(self.config.mirror),
        )
        inside = belief[:, classes:] if extent else batch.inside
        return Batch(image, belief[:, :classes], plausible[:, :classes], inside)

    def _regularisers(self, logits: Tensor, batch: Batch) -> Iterator[Tensor]:
        """Yield what each regulariser with a weight adds to the loss."""
        config, spacing_mm = self.config, self.plan.spacing_mm
        if config.crf_weight:
            gate = (batch.inside - batch.belief.sum(1, keepdim=True)).clamp(min=0)
            crf = gated_crf(logits.softmax(1), batch.image, spacing_mm=spacing_mm, gate=gate)
            yield config.crf_weight * crf
        if config.tv_weight:
            yield config.tv_weight * total_variation(logits.softmax(1), spacing_mm)
        if config.mumford_shah_weight:
            spread = mumford_shah(logits.softmax(1), batch.image, spacing_mm=spacing_mm)
            yield config.mumford_shah_weight * spread


def _surprise(net: nn.Module, batch: Batch) -> float:
    logits = net(batch.image.contiguous(memory_format=torch.channels_last_3d)).float()
    return float(partial_cross_entropy(logits, batch.belief, batch.plausible))
