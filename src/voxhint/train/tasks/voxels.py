"""Learning voxels from soft labels: the task of the trunk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor, nn

from voxhint.config import TrainConfig
from voxhint.nets.crossmodal import shown
from voxhint.prepare import Plan
from voxhint.prepare.augment import augment, restyle
from voxhint.train.batches import Batch, Example, Examples, draw_batch, fixed_batches
from voxhint.train.loop import Ask
from voxhint.train.losses import partial_cross_entropy
from voxhint.train.mending import Teachers, hinted, mended
from voxhint.train.objective import claims_loss
from voxhint.train.regularise import gated_crf

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
    memory: dict[str, Any] = field(default_factory=dict, init=False)
    """The weights of the last round, its step, what held-out hints cost, and whether it is off."""

    _teachers: Teachers | None = field(default=None, init=False)

    @staticmethod
    def of(
        fit: Sequence[Example], held_out: Sequence[Example], plan: Plan, config: TrainConfig
    ) -> "VoxelTask":
        """Return the task of some cases; the hints of those held out choose the checkpoint."""
        checks = fixed_batches(held_out, plan.patch, plan.batch)
        return VoxelTask(Examples.of(fit), checks, plan, config)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the losses and regularisers that the config asks for, of a varied batch."""
        batch = self.drawn(rng, device)
        net = getattr(model, "module", model)
        if isinstance(net, Probabilistic):
            net.chance = Generator(device).manual_seed(int(rng.integers(2**63)))
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        logits = model(image).float()
        paid = 0.0  # before the network is asked for anything else
        if isinstance(net, Probabilistic):
            paid = self.config.pw4medseg.kl_weight * net.penalty()
        return self.score(logits, self.mended(batch, logits, rng)) + paid

    def drawn(self, rng: np.random.Generator, device: torch.device) -> Batch:
        """Return a batch drawn at random, varied; a channel that a case lacks stays 0."""
        share = draw_batch(self.fit, self.plan.patch, self.plan.batch, rng)
        batch = share.to(device).whole()
        present = shown(batch.image)[:, :, None, None, None]
        varied = self._varied(batch, rng)
        return replace(varied, image=varied.image * present)

    def before_lesson(self, step: int, averaged: Mapping[str, Tensor], ask: Ask, /) -> None:
        """Take note of the averaged weights, and of how weights are asked, before each step."""
        self._teachers = None
        if self.config.mending == "none" or step < _RIPE or self.memory.get("harms"):
            return
        then = averaged
        if self.config.mending == "rounds":
            if step >= 2 * self.memory.get("round", 0):
                weights = {name: value.clone() for name, value in averaged.items()}
                self.memory |= {"round": step, "weights": weights}
            then = self.memory["weights"]
        self._teachers = Teachers(partial(ask, averaged), partial(ask, then))

    def mended(self, batch: Batch, logits: Tensor, rng: np.random.Generator) -> Batch:
        """Return a batch whose claims are mended, once there is somebody who may do so."""
        if self._teachers is None:
            return batch
        return mended(batch, logits.detach(), self._teachers, self.config.mending, rng)

    def score(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return what the claims and the images of a batch say of logits."""
        loss = claims_loss(logits, batch.belief, batch.plausible, self.config)
        if not self.config.crf_weight:
            return loss
        gate = (batch.inside - batch.belief.sum(1, keepdim=True)).clamp(min=0)
        q, spacing_mm = logits.softmax(1), self.plan.spacing_mm
        crf = gated_crf(q, batch.image, spacing_mm=spacing_mm, gate=gate)
        return loss + self.config.crf_weight * crf

    def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean partial cross-entropy of the held-out patches, in nats."""
        losses = [_held_out_loss(net, batch.to(device)) for batch in self.checks]
        if losses and self.config.mending != "none":
            cost = _cost_of_hints(net, self.checks, device)
            if self._teachers is None:
                self.memory["cost"] = min(cost, self.memory.get("cost", cost))
            elif cost > self.memory.get("cost", cost):
                self.memory["harms"] = True
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


def _cost_of_hints(net: nn.Module, checks: Sequence[Batch], device: torch.device) -> float:
    """Return the mean cross-entropy of what held-out cases show themselves, nothing guessed."""
    return float(np.mean([_held_out_loss(net, hinted(batch).to(device)) for batch in checks]))


def _held_out_loss(net: nn.Module, batch: Batch) -> float:
    logits = net(batch.image.contiguous(memory_format=torch.channels_last_3d)).float()
    return float(partial_cross_entropy(logits, batch.belief, batch.plausible))
