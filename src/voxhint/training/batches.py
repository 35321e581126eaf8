"""Prepared cases as batches of patches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.prepare import PatchLocation, crop, sample_location
from voxhint.prepare.patches import Known, survey
from voxhint.training.distributed_batch import share_of, whole

_Triple = tuple[int, int, int]

_LOOKS = 24  # held-out patches at most: enough to rank checkpoints, cheap to score


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One prepared case; its arrays may lie on disk, and are then read patch by patch."""

    name: str
    image: Any
    """Of shape (channel, i, j, k)."""

    bounds: Any
    """Belief and plausibility of each class, of shape (2, class, i, j, k)."""

    known: Known
    """Where it is worth looking."""

    @staticmethod
    def of(
        name: str,
        image: Float[np.ndarray, "channel i j k"],
        bounds: Float[np.ndarray, "two class i j k"],
    ) -> "Example":
        """Return a case, having looked once where its classes are."""
        return Example(name, image, bounds, survey(bounds))


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Cases to draw from."""

    every: Sequence[Example]
    sides: Sequence[tuple[Sequence[int], Sequence[int]]]
    """For each label that only some cases show, the numbers of those that do and do not."""

    @staticmethod
    def of(every: Sequence[Example]) -> "Examples":
        """Return cases sorted by what they show."""
        sides = []
        for label in range(1, len(every[0].known.sizes)):
            shown = [number for number, one in enumerate(every) if one.known.sizes[label]]
            if 0 < len(shown) < len(every):
                sides.append((shown, sorted(set(range(len(every))) - set(shown))))
        return Examples(every, sides)

    def draw(self, size: int, rng: np.random.Generator) -> list[Example]:
        """Return cases drawn at random.

        Every case is as likely, but where a label is shown by some only, those that show it and
        those that do not take turns: a rare finding is not drowned by images without it.
        """
        if not self.sides:
            return [self.every[i] for i in rng.integers(0, len(self.every), size)]
        drawn = []
        for turn in range(size):
            shown, hidden = self.sides[int(rng.integers(len(self.sides)))]
            numbers = hidden if turn % 2 else shown
            drawn.append(self.every[numbers[int(rng.integers(len(numbers)))]])
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Patches of images and bounds."""

    image: Float[Tensor, "batch channel i j k"]
    belief: Float[Tensor, "batch class i j k"]
    plausible: Float[Tensor, "batch class i j k"]
    inside: Float[Tensor, "batch 1 i j k"]
    """1 in the case, 0 beyond it."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        return self.each(lambda part: part.to(device))

    def whole(self) -> "Batch":
        """Return the batch of which every process has drawn a share."""
        return self.each(whole)

    def each(self, do: Callable[[Tensor], Tensor]) -> "Batch":
        """Return what becomes of the images, beliefs, plausibilities and extents."""
        return Batch(*map(do, (self.image, self.belief, self.plausible, self.inside)))


def draw_batch(examples: Examples, patch: _Triple, size: int, rng: np.random.Generator) -> Batch:
    """Return patches of cases drawn at random; of those, this process's share."""
    places = []
    for example in examples.draw(size, rng):
        i, j, k = example.bounds.shape[2:]
        places.append((example, sample_location(example.known, (i, j, k), patch, rng)))
    return _stack(places[share_of(size)], patch)


def fixed_batches(examples: Sequence[Example], patch: _Triple, size: int) -> list[Batch]:
    """Return the same patches at every call: those of the middle of what is known."""
    places = []
    for example in examples[:: max(1, -(-len(examples) // _LOOKS))]:
        shape = example.bounds.shape[2:]
        middle = np.array(shape) / 2 if example.known.middle is None else example.known.middle
        places.append((example, PatchLocation.around(middle, shape, patch)))
    return [_stack(places[i : i + size], patch) for i in range(0, len(places), size)]


def _stack(places: Sequence[tuple[Example, PatchLocation]], patch: _Triple) -> Batch:
    def pieces(cuts: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(cuts).astype(np.float32))

    images = [crop(e.image, location, patch) for e, location in places]
    bounds = pieces([crop(e.bounds, location, patch, fill=0.0) for e, location in places])
    wholes = [np.broadcast_to(1.0, (1, *e.image.shape[1:])) for e, _ in places]
    inside = pieces([crop(w, d, patch, fill=0.0) for w, (_, d) in zip(wholes, places, strict=True)])
    belief, plausible = bounds.unbind(1)
    return Batch(pieces(images), belief.contiguous(), plausible + (1 - inside), inside)
