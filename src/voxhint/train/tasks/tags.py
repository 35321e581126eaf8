"""Learning which labels an image holds from image-level tags: the task of the predictor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from voxhint.prepare import Draw, cut

Triple = tuple[int, int, int]
Places = Mapping[int, Mapping[bool, Sequence[tuple[int, "Bag"]]]]
"""For each label that can be learnt, the bags of both states by number of image."""

_SMOOTH = 0.02  # of the tags: no window deserves an endless logit
_COLOUR = 0.1  # standard deviation of changes of contrast and brightness


@dataclass(frozen=True, slots=True)
class Bag:
    """A part of an image and what tags say of it."""

    states: tuple[float, ...]
    """For each foreground label 1 (present), 0 (absent) or nan (unknown)."""

    z_range_mm: tuple[float, float] | None = None
    """World z the tags speak of; None is the whole image."""


@dataclass(frozen=True, slots=True, eq=False)
class TaggedImage:
    """One prepared case and its bags."""

    image: Float[np.ndarray, "channel i j k"]
    bags: tuple[Bag, ...]
    rise_mm: tuple[float, float, float, float]
    """World z of voxel (i, j, k) is the product with (i, j, k, 1)."""

    def inside(self, bag: Bag) -> Float32[np.ndarray, "1 i j k"]:
        """Return 1 at the voxels of a bag: at least the slice nearest to its middle."""
        shape = self.image.shape[1:]
        if bag.z_range_mm is None:
            return np.ones((1, *shape), np.float32)
        i, j, k = np.indices(shape, np.float32)
        di, dj, dk, z = self.rise_mm
        low, high = bag.z_range_mm
        off = np.abs(di * i + dj * j + dk * k + z - (low + high) / 2)
        counts = off <= max((high - low) / 2, float(off.min()) + 1e-3)
        return np.asarray(counts[None], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TagTask:
    """Bags drawn evenly over labels and states, scored by binary cross-entropy."""

    fit: Sequence[TaggedImage]
    held_out: Sequence[TaggedImage]
    places: Places

    patch: Triple
    batch: int
    mirror: bool

    @staticmethod
    def of(
        fit: Sequence[TaggedImage],
        held_out: Sequence[TaggedImage],
        *,
        patch: Triple,
        batch: int,
        mirror: bool,
    ) -> "TagTask":
        """Return the task of some images; the tags of those held out choose the checkpoint."""
        return TagTask(fit, held_out, places_of(fit), patch, batch, mirror)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return binary cross-entropy over the known tags of a varied batch."""
        images, insides, states = [], [], []
        for turn in range(self.batch):
            sides = self.places[int(rng.choice(list(self.places)))]
            bags = sides[turn % 2 == 0]
            number, bag = bags[int(rng.integers(len(bags)))]
            patch, counts = self._draw(self.fit[number], bag, rng)
            images.append(patch)
            insides.append(counts)
            states.append(bag.states)
        image = torch.from_numpy(np.stack(images)).to(device)
        inside = torch.from_numpy(np.stack(insides)).to(device)
        wanted = torch.tensor(states, device=device)
        inside = inside.expand(-1, wanted.shape[1], -1, -1, -1)
        return _entropy(model(image, inside), wanted * (1 - 2 * _SMOOTH) + _SMOOTH)

    def _draw(
        self, example: TaggedImage, bag: Bag, rng: np.random.Generator
    ) -> tuple[Float32[np.ndarray, "channel i j k"], Float32[np.ndarray, "1 i j k"]]:
        """Return a patch that meets the bag, varied, and where the bag is in it."""
        inside = example.inside(bag)
        found = np.flatnonzero(inside[0])
        middle = np.unravel_index(found[rng.integers(found.size)], inside.shape[1:])
        draw = Draw.around(middle, inside.shape[1:], self.patch)
        image = cut(example.image, draw, self.patch).astype(np.float32)
        inside = cut(inside, draw, self.patch, fill=0.0)
        if self.mirror:
            axes = tuple(axis for axis in (1, 2, 3) if rng.random() < 0.5)
            image, inside = np.flip(image, axes), np.flip(inside, axes)
            if self.patch[0] == self.patch[1] and rng.random() < 0.5:
                image, inside = image.swapaxes(1, 2), inside.swapaxes(1, 2)
        gain, lift = np.exp(rng.normal(0, _COLOUR)), rng.normal(0, _COLOUR)
        image = image * np.float32(gain) + np.float32(lift)
        return np.ascontiguousarray(image), np.ascontiguousarray(inside)

    def surprise(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the mean binary cross-entropy of the held-out bags, in nats."""
        losses = []
        for example in self.held_out:
            image = torch.from_numpy(np.asarray(example.image, np.float32))[None].to(device)
            for bag in example.bags:
                wanted = torch.tensor([bag.states], device=device)
                inside = torch.from_numpy(example.inside(bag)).to(device)[None]
                inside = inside.expand(-1, wanted.shape[1], -1, -1, -1)
                if not wanted.isnan().all():
                    losses.append(float(_entropy(net(image, inside), wanted)))
        return float(np.mean(losses)) if losses else None


def places_of(images: Sequence[TaggedImage]) -> Places:
    """Return the bags of both states for each label that has both, by number of image."""
    count = max(len(bag.states) for image in images for bag in image.bags)
    places = {}
    for label in range(count):
        sides: dict[bool, list[tuple[int, Bag]]] = {True: [], False: []}
        for number, image in enumerate(images):
            for bag in image.bags:
                if not np.isnan(bag.states[label]):
                    sides[bag.states[label] > 0].append((number, bag))
        if sides[True] and sides[False]:
            places[label] = sides
    return places


def _entropy(
    logits: Float[Tensor, "batch label"], wanted: Float[Tensor, "batch label"]
) -> Float[Tensor, ""]:
    known = ~wanted.isnan()
    return functional.binary_cross_entropy_with_logits(logits.float()[known], wanted[known])
