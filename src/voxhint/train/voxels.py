"""Learning voxels from soft labels: the task of the trunk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.nets.crossmodal import shown
from voxhint.prepare import Plan
from voxhint.prepare.augment import augment, jitter, restyle
from voxhint.train.batches import Batch, Example, Examples, draw_batch, fixed_batches
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

    @staticmethod
    def of(
        fit: Sequence[Example], held_out: Sequence[Example], plan: Plan, config: TrainConfig
    ) -> "VoxelTask":
        """Return the task of some cases; the hints of those held out choose the checkpoint."""
        return VoxelTask(
            Examples.of(fit), fixed_batches(held_out, plan.patch, plan.batch), plan, config
        )

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return partial cross-entropy, trusted Dice and the regularisers of a varied batch."""
        batch = self.drawn(rng, device)
        logits = model(batch.image.contiguous(memory_format=torch.channels_last_3d)).float()
        return self.score(logits, batch)

    def drawn(self, rng: np.random.Generator, device: torch.device) -> Batch:
        """Return a batch drawn at random, varied; a channel that a case lacks stays 0."""
        batch = draw_batch(self.fit, self.plan.patch, self.plan.batch, rng).to(device)
        present = shown(batch.image)[:, :, None, None, None]
        varied = self._varied(batch, rng)
        return replace(varied, image=varied.image * present)

    def score(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss of logits; the regularisers look at the images of the batch."""
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
        # where the case ends moves with the claims, as one more class, for those who ask for it
        asked = self.config.crf_weight or self.config.network == "crossmodal"
        extent = [batch.inside] if asked else []
        image, belief, plausible = augment(
            batch.image,
            torch.cat([batch.belief, *extent], 1),
            torch.cat([batch.plausible, *extent], 1),
            rng,
            spacing_mm=self.plan.spacing_mm,
            mirror=self.config.mirror,
        )
        inside = belief[:, classes:] if extent else batch.inside
        styled = [number for number, view in enumerate(self.plan.views) if view == "style"]
        if styled:
            image[:, styled] = restyle(image[:, styled], rng)
        if self.config.jitter_mm:
            image = jitter(
                image, rng, spacing_mm=self.plan.spacing_mm, most_mm=self.config.jitter_mm
            )
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
