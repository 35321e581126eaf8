"""Learning voxels from soft labels: the task of the trunk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor, nn

from voxhint.config import TrainConfig
from voxhint.nets.crossmodal import shown
from voxhint.prepare import Plan
from voxhint.prepare.augment import augment, jitter, restyle
from voxhint.train.batches import Batch, Example, Examples, draw_batch, fixed_batches
from voxhint.train.copy_paste import Grafts
from voxhint.train.loop import Teacher
from voxhint.train.losses import partial_cross_entropy
from voxhint.train.noise import corrected_claims
from voxhint.train.objective import claims_loss
from voxhint.train.probability import hull_share, pseudo_belief, size_prior
from voxhint.train.regularise import gated_crf, mumford_shah, total_variation

_RIPE = 200  # steps after which what the network says may teach it


@runtime_checkable
class Probabilistic(Protocol):
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
    grafts: Grafts | None = None
    """Lesions to paste, if wanted."""

    _step: int = field(default=0, init=False)
    """Steps done; they and the teacher are told anew before each step."""

    _teacher: Teacher | None = field(default=None, init=False)

    @staticmethod
    def of(
        fit: Sequence[Example], held_out: Sequence[Example], plan: Plan, config: TrainConfig
    ) -> "VoxelTask":
        """Return the task of some cases; the hints of those held out choose the checkpoint."""
        if config.size_weight:
            fit = [replace(case, hull_share=hull_share(case.claims[0])) for case in fit]
        checks = fixed_batches(held_out, plan.patch, plan.batch)
        grafts = Grafts.of(fit, plan.spacing_mm, config.paste) if config.paste else None
        return VoxelTask(Examples.of(fit), checks, plan, config, grafts)

    def attend(self, step: int, teacher: Teacher, /) -> None:
        """Take note of how far training is, and of the averaged network."""
        self._step, self._teacher = step, teacher

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the losses and regularisers that the config asks for, of a varied batch."""
        batch = self.drawn(rng, device)
        net = getattr(model, "module", model)
        if isinstance(net, Probabilistic):
            net.chance = Generator(device).manual_seed(int(rng.integers(2**63)))
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        logits = model(image).float()
        loss = self.score(logits, batch)
        if isinstance(net, Probabilistic):
            loss = loss + self.config.kl_weight * net.penalty()
        return sum(self.lessons(logits, image, batch), start=loss)

    def drawn(self, rng: np.random.Generator, device: torch.device) -> Batch:
        """Return a batch drawn at random, varied; a channel that a case lacks stays 0."""
        batch = draw_batch(self.fit, self.plan.patch, self.plan.batch, rng)
        present = shown(batch.image)[:, :, None, None, None].to(device)
        if self.grafts is not None:
            batch = self.grafts.into(batch, rng)
        varied = self._varied(batch.to(device), rng)
        return replace(varied, image=varied.image * present)

    def score(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return what the claims and the images of a batch say of logits."""
        claims = batch.belief, batch.plausible
        if self.config.noise == "correlated" and self._step >= _RIPE:
            q, spacing_mm = logits.softmax(1), self.plan.spacing_mm
            claims = corrected_claims(q, *claims, spacing_mm=spacing_mm)
        loss = claims_loss(logits, *claims, self.config)
        return sum(self._regularisers(logits, batch), start=loss)

    def surprise(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean partial cross-entropy of the held-out patches, in nats."""
        losses = [_surprise(net, batch.to(device)) for batch in self.checks]
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
            mirror=bool(self.config.mirror),
        )
        inside = belief[:, classes:] if extent else batch.inside
        styled = [number for number, view in enumerate(self.plan.views) if view == "style"]
        if styled:
            image[:, styled] = restyle(image[:, styled], rng)
        if self.config.jitter_mm:
            image = jitter(
                image, rng, spacing_mm=self.plan.spacing_mm, most_mm=self.config.jitter_mm
            )
        belief, plausible = belief[:, :classes], plausible[:, :classes]
        return Batch(image, belief, plausible, inside, batch.hull_share)

    def lessons(self, logits: Tensor, image: Tensor, batch: Batch) -> Iterator[Tensor]:
        """Yield what the teacher and the expected size add to the loss."""
        config = self.config
        if config.teacher_weight and self._teacher is not None and self._step >= _RIPE:
            taught = self._teacher(image).softmax(1)
            belief = pseudo_belief(batch.belief, batch.plausible, taught)
            entropy = partial_cross_entropy(logits, belief, torch.ones_like(belief))
            yield config.teacher_weight * entropy
        if config.size_weight:
            size = size_prior(logits.softmax(1), batch.belief, batch.hull_share)
            yield config.size_weight * size

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
