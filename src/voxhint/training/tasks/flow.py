"""Learning how images flow from noise, told their image-level tags: the task of the flow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from voxhint.config import LabelConfig
from voxhint.flow import interpolate
from voxhint.prepare import PatchLocation, Plan, crop
from voxhint.training.tasks.tags import Places, TaggedImage, draw_bag, draw_patch, places_of

_UNKNOWN = 2  # a tag nobody gave, as the network hears of it
_FORGET = 0.15  # share of the tags kept from the network, which so learns the flow without them
_SEEN = 0.3  # weight of naming the labels seen through the noise, beside the error
_COLOUR = 0.05  # standard deviation of changes of contrast and brightness
_LOOKS = 8  # noise levels at which images held out are looked at, one each


@dataclass(frozen=True, slots=True, eq=False)
class FlowTask:
    """Patches of tagged images, both states alike often, and the velocity to noise."""

    fit: Sequence[TaggedImage]
    held_out: Sequence[TaggedImage]
    places: Places
    plan: Plan
    config: LabelConfig

    @staticmethod
    def of(
        fit: Sequence[TaggedImage],
        held_out: Sequence[TaggedImage],
        plan: Plan,
        config: LabelConfig,
    ) -> "FlowTask":
        """Return the task of some images; those held out choose the checkpoint."""
        return FlowTask(fit, held_out, places_of(fit), plan, config)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the mean squared error of the velocity over the voxels of a varied batch."""
        images, counts, states = [], [], []
        for turn in range(self.plan.batch):
            number, bag = draw_bag(self.places, rng, present=turn % 2 == 0)
            drawn = draw_patch(
                self.fit[number],
                bag,
                self.plan.patch,
                rng,
                mirror=self.config.classifier.flips,
                colour=_COLOUR,
            )
            images.append(drawn.image)
            counts.append(drawn.in_image)
            states.append([_told(state, drawn.share, rng) for state in bag.states])
        s = drawn_times(len(images), rng)
        noise = rng.standard_normal(np.shape(images), np.float32)
        batch = _Batch.of((images, noise, s, counts), states, device)
        answer = model(batch.z, batch.s, batch.states)
        unseen = batch.unseen(answer.label_logits)
        return batch.error(answer.velocity).mean() + _SEEN * unseen

    def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean squared error of the velocity of images held out, at fixed noise."""
        errors = []
        for number, example in enumerate(self.held_out):
            rng = np.random.default_rng(number)
            shape = example.image.shape[1:]
            location = PatchLocation.around([n // 2 for n in shape], shape, self.plan.patch)
            image = crop(example.image, location, self.plan.patch).astype(np.float32)[None]
            there = crop(np.ones((1, *shape), np.float32), location, self.plan.patch, fill=0.0)[
                None
            ]
            s = np.array([(number % _LOOKS + 0.5) / _LOOKS], np.float32)
            noise = rng.standard_normal(image.shape, np.float32)
            states = [[_told(state, 1.0, None) for state in example.bags[0].states]]
            batch = _Batch.of((image, noise, s, there), states, device)
            errors.append(float(batch.error(net(batch.z, batch.s, batch.states).velocity)))
        return float(np.mean(errors)) if errors else None


def drawn_times(count: int, rng: np.random.Generator) -> Float32[np.ndarray, " batch"]:
    """Return noise levels for the samples of a batch, most of them around one half."""
    rng.permutation(count), rng.random(count)  # trainings that were begun go on with the same draws
    level = 1 / (1 + np.exp(-rng.normal(0, 1, count)))
    return np.asarray(np.clip(level, 1e-3, 1 - 1e-3), np.float32)


def _told(state: float, share: float, rng: np.random.Generator | None) -> int:
    """Return what the network hears of a tag.

    A patch of an image tagged present may miss what the tag names, with the share of the image
    that it leaves out if all places are alike; nothing is said of that share of them.
    """
    if np.isnan(state):
        return _UNKNOWN
    if rng is not None and (rng.random() < _FORGET or (state > 0 and rng.random() > share)):
        return _UNKNOWN
    return int(state > 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Points between images and noise, the velocity there, and what is known of the images."""

    z: Float[Tensor, "batch channel i j k"]
    s: Float[Tensor, " batch"]
    velocity: Float[Tensor, "batch channel i j k"]
    states: Int64[Tensor, "batch label"]
    counts: Float[Tensor, "batch 1 i j k"]
    """1 in the image, 0 where a patch reaches beyond it."""

    @staticmethod
    def of(
        arrays: tuple[Any, Any, Any, Any], states: Sequence[Sequence[int]], device: torch.device
    ) -> "_Batch":
        """Return the batch of images, noise, levels and counts on a device."""
        images, noise, s, counts = (
            torch.from_numpy(np.ascontiguousarray(part, np.float32)).to(device) for part in arrays
        )
        point = interpolate(images, noise, s)
        return _Batch(point.z, s, point.velocity, torch.tensor(states, device=device), counts)

    def error(self, answer: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, " batch"]:
        """Return the mean squared error of a velocity for each sample."""
        error: Tensor = (answer.float() - self.velocity) ** 2 * self.counts
        return error.mean((1, 2, 3, 4)) / self.counts.mean((1, 2, 3, 4))

    def unseen(self, logits: Float[Tensor, "batch label"]) -> Float[Tensor, ""]:
        """Return the binary cross-entropy of the labels seen without being told."""
        known = self.states < _UNKNOWN
        if not known.any():
            return logits.new_zeros(())
        wanted = self.states[known].to(logits)
        return functional.binary_cross_entropy_with_logits(logits[known], wanted)
