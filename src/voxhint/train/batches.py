"""Prepared cases as batches of patches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.prepare import Draw, cut, draw_patch

Triple = tuple[int, int, int]

_LOOKS = 24  # held-out patches at most: enough to rank checkpoints, cheap to score


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One prepared case, possibly memory-mapped."""

    name: str
    image: Float[np.ndarray, "channel i j k"]
    claims: Float[np.ndarray, "two class i j k"]
    """Belief and plausibility of each class."""

    hull_share: Float[np.ndarray, " class"] | None = None
    """Voxels of the convex hull for each voxel of belief; None where nobody asks."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Patches of images and claims."""

    image: Float[Tensor, "batch channel i j k"]
    belief: Float[Tensor, "batch class i j k"]
    plausible: Float[Tensor, "batch class i j k"]
    inside: Float[Tensor, "batch 1 i j k"]
    """1 in the case, 0 beyond it."""

    hull_share: Float[Tensor, "batch class"]
    """Of the case of each patch; nan where it is not known."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        parts = (self.image, self.belief, self.plausible, self.inside, self.hull_share)
        return Batch(*(part.to(device) for part in parts))


def draw_batch(
    examples: Sequence[Example], patch: Triple, size: int, rng: np.random.Generator
) -> Batch:
    """Return patches of cases drawn at random, every case as likely."""
    chosen = [examples[i] for i in rng.integers(0, len(examples), size)]
    return _stack([(e, draw_patch(e.claims[0], patch, rng)) for e in chosen], patch)


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
        torch.from_numpy(np.stack([_hull_share(e) for e, _ in places])),
    )


def _hull_share(example: Example) -> Float[np.ndarray, " class"]:
    if example.hull_share is None:
        return np.full(example.claims.shape[1], np.nan, np.float32)
    return example.hull_share
