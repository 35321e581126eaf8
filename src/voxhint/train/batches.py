"""Prepared cases as batches of patches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.prepare import Draw, cut, draw_patch
from voxhint.prepare.patches import Places, known_places

Triple = tuple[int, int, int]

_LOOKS = 24  # held-out patches at most: enough to rank checkpoints, cheap to score


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One prepared case, possibly memory-mapped."""

    name: str
    image: Float[np.ndarray, "channel i j k"]
    claims: Float[np.ndarray, "two class i j k"]
    """Belief and plausibility of each class."""

    places: Places
    """For each class the flat indices of voxels where it is believed to be."""

    @staticmethod
    def of(
        name: str,
        image: Float[np.ndarray, "channel i j k"],
        claims: Float[np.ndarray, "two class i j k"],
    ) -> "Example":
        """Return a case, having looked once where its classes are."""
        return Example(name, image, claims, known_places(claims[0]))


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
        for label in range(1, len(every[0].places)):
            shown = [number for number, one in enumerate(every) if one.places[label].size]
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
    """Patches of images and claims."""

    image: Float[Tensor, "batch channel i j k"]
    belief: Float[Tensor, "batch class i j k"]
    plausible: Float[Tensor, "batch class i j k"]
    inside: Float[Tensor, "batch 1 i j k"]
    """1 in the case, 0 beyond it."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        parts = (self.image, self.belief, self.plausible, self.inside)
        return Batch(*(part.to(device) for part in parts))


def draw_batch(examples: Examples, patch: Triple, size: int, rng: np.random.Generator) -> Batch:
    """Return patches of cases drawn at random."""
    places = []
    for example in examples.draw(size, rng):
        i, j, k = example.claims.shape[2:]
        places.append((example, draw_patch(example.places, (i, j, k), patch, rng)))
    return _stack(places, patch)


def fixed_batches(examples: Sequence[Example], patch: Triple, size: int) -> list[Batch]:
    """Return the same patches at every call: those of the middle of what is known."""
    places = []
    for example in examples[:: max(1, -(-len(examples) // _LOOKS))]:
        known = np.argwhere(np.asarray(example.claims[0]).max(0) > 0)
        shape = example.claims.shape[2:]
        middle = known.mean(0) if len(known) else np.array(shape) / 2
        places.append((example, Draw.around(middle, shape, patch)))
    return [_stack(places[i : i + size], patch) for i in range(0, len(places), size)]


def _stack(places: Sequence[tuple[Example, Draw]], patch: Triple) -> Batch:
    def pieces(arrays: Sequence[np.ndarray], fill: float | None) -> Tensor:
        cuts = [cut(a, draw, patch, fill=fill) for a, (_, draw) in zip(arrays, places, strict=True)]
        return torch.from_numpy(np.stack(cuts).astype(np.float32))

    return Batch(
        pieces([e.image for e, _ in places], None),
        pieces([e.claims[0] for e, _ in places], 0.0),
        pieces([e.claims[1] for e, _ in places], 1.0),
        pieces([np.broadcast_to(1.0, (1, *e.image.shape[1:])) for e, _ in places], 0.0),
    )
