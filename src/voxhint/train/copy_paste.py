"""Lesions that hints showed, pasted into patches whose hints rule them out: exact labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage

from voxhint.core.box import bounding_box
from voxhint.prepare.copy_paste import Residual, lifted, paste, places, varied
from voxhint.train.batches import Batch, Example

_MOST = 300  # cases that lesions are lifted from
_BELIEVED = 0.5  # probability from which a voxel is of a lesion

Triple = tuple[float, float, float]
Array = Float[np.ndarray, "_ i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class Grafts:
    """Pastes lesions into some of the patches in which they are ruled out."""

    residuals: Sequence[Sequence[Residual]]
    """Of each class."""

    share: float
    """Of such patches that get one."""

    spacing_mm: Triple

    @staticmethod
    def of(examples: Sequence[Example], spacing_mm: Triple, share: float) -> "Grafts":
        """Return the lesions that the claims of some cases show."""
        found: list[list[Residual]] = [[] for _ in examples[0].claims[0]]
        for example in examples[:: max(1, -(-len(examples) // _MOST))]:
            for label in range(1, len(found)):
                found[label] += _lesions(example, label, spacing_mm)
        return Grafts(found, share, spacing_mm)

    def into(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Return a batch in which a share of the patches without a label shows it."""
        arrays = (part.numpy().copy() for part in (batch.image, batch.belief, batch.plausible))
        image, belief, plausible = arrays
        for number, inside in enumerate(batch.inside.numpy()[:, 0] > 0):
            if rng.random() < self.share:
                self._paste((image[number], belief[number], plausible[number]), inside, rng)
        pasted, sure, likely = (torch.from_numpy(part) for part in (image, belief, plausible))
        return replace(batch, image=pasted, belief=sure, plausible=likely)

    def _paste(
        self,
        patch: tuple[Array, Array, Array],
        inside: Bool[np.ndarray, "i j k"],
        rng: np.random.Generator,
    ) -> None:
        """Paste a lesion into a patch, in place, if there is one that fits."""
        box = bounding_box(inside)
        image, belief, plausible = (part[:, *box] for part in patch)
        free = [
            label
            for label, known in enumerate(self.residuals)
            if known and not plausible[label].any()
        ]
        if not free:
            return
        label = free[int(rng.integers(len(free)))]
        known = self.residuals[label]
        residual = varied(known[int(rng.integers(len(known)))], rng, spacing_mm=self.spacing_mm)
        corners = places(image, residual)
        if not len(corners):
            return
        pasted, lesion = paste(image, residual, corners[rng.integers(len(corners))])
        if belief[1:, lesion].any():  # something else is known to lie there
            return
        image[:] = pasted
        for claims in (belief, plausible):
            claims[:, lesion] = 0
            claims[label, lesion] = 1


def _lesions(example: Example, label: int, spacing_mm: Triple) -> Iterator[Residual]:
    """Yield what each connected region of a label adds to an image."""
    belief, plausible = (np.asarray(part[label], np.float32) for part in example.claims)
    if not belief.any():
        return
    known = 1 - (plausible - belief)
    numbers, count = ndimage.label((belief > 0) & (belief >= _BELIEVED * known))
    image = np.asarray(example.image, np.float32)
    for number in range(1, count + 1):
        residual = lifted(image, numbers == number, spacing_mm=spacing_mm)
        if residual is not None:
            yield residual
