"""Learning which labels an image holds from image-level tags: the task of the classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from voxhint.prepare import PatchLocation, crop

_Triple = tuple[int, int, int]
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

    patch: _Triple
    batch: int
    mirror: bool

    @staticmethod
    def of(
        fit: Sequence[TaggedImage],
        held_out: Sequence[TaggedImage],
        *,
        patch: _Triple,
        batch: int,
        mirror: bool,
    ) -> "TagTask":
        """Return the task of some images; the tags of those held out choose the checkpoint."""
        return TagTask(fit, held_out, places_of(fit), patch, batch, mirror)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return binary cross-entropy over the known tags of a varied batch."""
        images, insides, states = [], [], []
        for turn in range(self.batch):
            number, bag = draw_bag(self.places, rng, present=turn % 2 == 0)
            drawn = draw_patch(
                self.fit[number], bag, self.patch, rng, mirror=self.mirror, colour=_COLOUR
            )
            images.append(drawn.image)
            insides.append(drawn.in_bag)
            states.append(bag.states)
        image = torch.from_numpy(np.stack(images)).to(device)
        inside = torch.from_numpy(np.stack(insides)).to(device)
        wanted = torch.tensor(states, device=device)
        inside = inside.expand(-1, wanted.shape[1], -1, -1, -1)
        return _entropy(model(image, inside), wanted * (1 - 2 * _SMOOTH) + _SMOOTH)

    def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
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


@dataclass(frozen=True, slots=True, eq=False)
class _BagPatch:
    """A patch that meets a bag, varied."""

    image: Float32[np.ndarray, "channel i j k"]
    in_bag: Float32[np.ndarray, "1 i j k"]
    """1 where the patch is in the bag."""

    in_image: Float32[np.ndarray, "1 i j k"]
    """1 in the image, 0 where the patch reaches beyond it."""

    share: float
    """Of the bag that lies in the patch."""


def draw_bag(places: Places, rng: np.random.Generator, *, present: bool) -> tuple[int, Bag]:
    """Draw a bag of one state, all labels alike often.

    Args:
        places: The bags of each label and state.
        rng: Source of chance.
        present: The state.

    Returns:
        The number of its image, and the bag.
    """
    bags = places[int(rng.choice(list(places)))][present]
    return bags[int(rng.integers(len(bags)))]


def draw_patch(  # what is cut, where, and how it is varied
    example: TaggedImage,
    bag: Bag,
    patch: _Triple,
    rng: np.random.Generator,
    *,
    mirror: bool,
    colour: float,
) -> _BagPatch:
    """Draw a patch that meets a bag.

    Args:
        example: The image.
        bag: Of the image.
        patch: Voxels.
        rng: Source of chance.
        mirror: Whether to flip along axes, and to swap two of equal length.
        colour: Standard deviation of changes of contrast and brightness.

    Returns:
        The patch.
    """
    inside = example.inside(bag)
    found = np.flatnonzero(inside[0])
    middle = np.unravel_index(found[rng.integers(found.size)], inside.shape[1:])
    location = PatchLocation.around(middle, inside.shape[1:], patch)
    image = crop(example.image, location, patch).astype(np.float32)
    in_bag = crop(inside, location, patch, fill=0.0)
    in_image = crop(np.ones_like(inside), location, patch, fill=0.0)
    share = float(in_bag.sum() / inside.sum())
    parts = [image, in_bag, in_image]
    if mirror:
        axes = tuple(axis for axis in (1, 2, 3) if rng.random() < 0.5)
        parts = [np.flip(part, axes) for part in parts]
        if patch[0] == patch[1] and rng.random() < 0.5:
            parts = [part.swapaxes(1, 2) for part in parts]
    gain, lift = np.exp(rng.normal(0, colour)), rng.normal(0, colour)
    parts[0] = parts[0] * np.float32(gain) + np.float32(lift)
    image, in_bag, in_image = (np.ascontiguousarray(part) for part in parts)
    return _BagPatch(image, in_bag, in_image, share)


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
