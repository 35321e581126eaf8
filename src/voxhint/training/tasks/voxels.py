"""Learning voxels from soft labels: the task of the trunk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from voxhint.config import TrainConfig
from voxhint.nets.crossmodal import shown
from voxhint.prepare import Plan
from voxhint.prepare.augment import augment, restyle
from voxhint.training.batches import Batch, Example, Examples, draw_batch, fixed_batches
from voxhint.training.lesion_pasting import paste_lesions
from voxhint.training.losses import class_shares, hint_loss, partial_cross_entropy
from voxhint.training.probability_losses import confident_claims, pw4medseg_loss
from voxhint.training.regularise import gated_crf

_Classes = Float[Tensor, "batch class i j k"]
_Scalar = Float[Tensor, ""]
_DICE = {"weak": 0.3, "dense": 1.0}  # on doubtful labels soft Dice favours too much foreground
_SURVEYED = 8  # cases that tell how often classes are met


@runtime_checkable
class _Probabilistic(Protocol):
    """A network that draws some of what it computes, and pays for it."""

    chance: Generator | None

    def penalty(self) -> Tensor:
        """Return the divergence of the last pass."""


@dataclass(slots=True, eq=False)
class VoxelTask:
    """Patches of prepared cases, varied, scored against what their hints imply."""

    fit: Examples
    """Cases to learn from, at least one."""

    checks: Sequence[Batch]
    plan: Plan
    config: TrainConfig
    lesions: Sequence[int] = ()
    """Class numbers that are pasted into patches without them."""

    @staticmethod
    def of(
        fit: Sequence[Example],
        held_out: Sequence[Example],
        plan: Plan,
        config: TrainConfig,
        lesions: Sequence[int] = (),
    ) -> "VoxelTask":
        """Return the task of some cases; the hints of those held out choose the checkpoint."""
        checks = fixed_batches(held_out, plan.patch, plan.batch)
        return VoxelTask(Examples.of(fit), checks, plan, config, lesions)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the losses and regularisers that the config asks for, of a varied batch."""
        batch = self.drawn(rng, device)
        net = getattr(model, "module", model)
        if isinstance(net, _Probabilistic):
            net.chance = Generator(device).manual_seed(int(rng.integers(2**63)))
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        logits = model(image).float()
        loss = self.score(logits, batch)
        if isinstance(net, _Probabilistic):
            loss = loss + self.config.pw4medseg.kl_weight * net.penalty()
        return loss

    def drawn(self, rng: np.random.Generator, device: torch.device) -> Batch:
        """Return a batch drawn at random, varied; a channel that a case lacks stays 0."""
        share = draw_batch(self.fit, self.plan.patch, self.plan.batch, rng)
        batch = share.to(device).whole()
        if self.lesions:
            batch = paste_lesions(batch, self.lesions, rng, spacing_mm=self.plan.spacing_mm)
        present = shown(batch.image)[:, :, None, None, None]
        varied = self._varied(batch, rng)
        return replace(varied, image=varied.image * present)

    def class_shares(self) -> Float[Tensor, " class"]:
        """Return how often each class is met in patches of some cases, as far as hints tell."""
        every = self.fit.every
        some = every[:: -(-len(every) // _SURVEYED)]
        claims = [
            torch.stack([patch.belief, patch.plausible])[..., ::2, ::2, ::2]
            for one in some
            for patch in fixed_batches([one], self.plan.patch, 1)
        ]
        belief, plausible = torch.cat(claims, 1)
        return class_shares(belief, plausible)

    def score(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return what the claims and the images of a batch say of logits."""
        loss = _claims_loss(logits, batch.belief, batch.plausible, self.config)
        if not self.config.crf_weight:
            return loss
        gate = (batch.inside - batch.belief.sum(1, keepdim=True)).clamp(min=0)
        q, spacing_mm = logits.softmax(1), self.plan.spacing_mm
        crf = gated_crf(q, batch.image, spacing_mm=spacing_mm, gate=gate)
        return loss + self.config.crf_weight * crf

    def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean partial cross-entropy of the held-out patches, in nats."""
        losses = [_held_out_loss(net, batch.to(device)) for batch in self.checks]
        return float(np.mean(losses)) if losses else None

    def _varied(self, batch: Batch, rng: np.random.Generator) -> Batch:
        classes = batch.belief.shape[1]
        # where the case ends moves with the claims, as one more class, for those who ask for it
        asked = self.config.crf_weight or self.plan.network == "crossmodal"
        extent = [batch.inside] if asked else []
        image, belief, plausible = augment(
            batch.image,
            torch.cat([batch.belief, *extent], 1),
            torch.cat([batch.plausible, *extent], 1),
            rng,
            spacing_mm=self.plan.spacing_mm,
            mirror=bool(self.config.flips),
        )
        inside = belief[:, classes:] if extent else batch.inside
        styled = [number for number, view in enumerate(self.plan.views) if view == "style"]
        if styled:
            image[:, styled] = restyle(image[:, styled], rng)
        belief, plausible = belief[:, :classes], plausible[:, :classes]
        return Batch(image, belief, plausible, inside)


def _held_out_loss(net: nn.Module, batch: Batch) -> float:
    logits = net(batch.image.contiguous(memory_format=torch.channels_last_3d)).float()
    return float(partial_cross_entropy(logits, batch.belief, batch.plausible))


def _claims_loss(
    logits: _Classes, belief: _Classes, plausible: _Classes, config: TrainConfig
) -> _Scalar:
    """Return what logits cost that are held against claims.

    Args:
        logits: Network output, before softmax.
        belief: Least chance of each class.
        plausible: Largest chance of each class.
        config: Names the loss.

    Returns:
        The loss of a batch.
    """
    if config.loss == "pw4medseg":
        return pw4medseg_loss(logits, belief, plausible)
    if config.loss == "probability":
        belief, plausible = confident_claims(belief, plausible)
    weight = config.dice_weight
    return hint_loss(
        logits,
        belief,
        plausible,
        dice_weight=_DICE[config.supervision] if weight is None else weight,
    )
