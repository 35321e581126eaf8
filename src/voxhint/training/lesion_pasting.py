"""Lesion pasting: what was found in one patch is shown in others, smaller and fainter too."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from voxhint.nets.crossmodal import shown
from voxhint.training.batches import Batch

_Volume = Float[Tensor, "i j k"]
_Fields = Float[Tensor, "field i j k"]

_CHANCE = 0.5  # that a patch without the label gets one
_BELIEVED = 0.3  # belief from which a patch shows a lesion that can be copied
_CORE = 0.4  # of the largest belief: what belongs to the lesion
_ZOOM = (0.5, 1.1)  # small lesions are the hard ones
_FAINT, _FAINTEST = 0.5, 0.35  # how often a lesion is made fainter, and how faint at most
_RIM_MM = 1.5  # around a lesion that is copied with it, so that its border is its own
_BLEND_MM = 0.9  # over which it passes into where it is put
_PLACES = 4  # that are looked at; the one most like the surround of the lesion is taken
_FIELD_MM = 2.5  # around a place, whose mean tells what it is like
_WIDEST = 3  # voxels that any of these lengths is at most, in finer images than CT
_WEAKEST = 0.5  # weight that a pasted lesion must reach: else it lies beyond the patch


def paste_lesions(
    batch: Batch,
    labels: Sequence[int],
    rng: np.random.Generator,
    *,
    spacing_mm: tuple[float, float, float],
) -> Batch:
    """Return a batch in which half of the patches without a lesion have one of another patch.

    Tags show a place only through what a classifier saw. A pasted lesion is where it is said to be.
    It is moved, made up to two times smaller, and every second one is made fainter, so that small
    and faint ones are met as often as others. Claims move and mix with the image.

    Args:
        batch: Patches; the image of each lesion is taken with a rim of its surround.
        labels: Class numbers that may be pasted: what may lie anywhere.
        rng: Source of chance.
        spacing_mm: Of the patches.

    Returns:
        The batch; as it was if no patch shows a label, or all of them do.

    Source:
        Ghiasi et al. 2021, "Simple copy-paste is a strong data augmentation method for instance
        segmentation"; smaller, fainter and blended here.
    """
    believed = batch.belief[:, list(labels)].amax((2, 3, 4)) >= _BELIEVED
    present = shown(batch.image)
    givers = [(patch, labels[number]) for patch, number in torch.nonzero(believed).tolist()]
    made = Batch(batch.image.clone(), batch.belief.clone(), batch.plausible.clone(), batch.inside)
    for patch in torch.nonzero(~believed.any(1))[:, 0].tolist():
        able = [one for one in givers if bool((present[one[0]] | ~present[patch]).all())]
        if able and rng.random() < _CHANCE:
            giver, label = able[int(rng.integers(len(able)))]
            lesion = _Lesion.of(batch, giver, label, spacing_mm)
            place = _place_like(lesion.surround, batch, patch, rng, spacing_mm)
            _paste(lesion.moved(place, rng), made, (patch, present[patch]), rng)
    return made


def _paste(
    lesion: tuple[_Volume, tuple[_Fields, ...]],
    made: Batch,
    target: tuple[int, Bool[Tensor, " channel"]],
    rng: np.random.Generator,
) -> None:
    """Lay a lesion over a patch, unless most of it lies beyond; every second one is fainter.

    A channel that the case of the patch lacks stays 0.
    """
    (weight, given), (patch, present) = lesion, target
    strength = rng.uniform(_FAINTEST, 1) if rng.random() < _FAINT else 1.0
    if weight.max() < _WEAKEST:
        return
    shares = (strength * weight * present[:, None, None, None], weight, weight)
    parts = (made.image, made.belief, made.plausible)
    for part, new, share in zip(parts, given, shares, strict=True):
        part[patch] += share * (new - part[patch])


@dataclass(frozen=True, slots=True, eq=False)
class _Lesion:
    """What is believed to be of a label in a patch."""

    fields: _Fields
    """Its weight, and the channels, beliefs and plausibilities of its patch."""

    counts: tuple[int, int, int]
    """Of channels, beliefs and plausibilities."""

    middle: tuple[float, float, float]
    surround: float
    """Mean of the first channel around it."""

    @staticmethod
    def of(
        batch: Batch, patch: int, label: int, spacing_mm: tuple[float, float, float]
    ) -> "_Lesion":
        """Return the lesion of a label in a patch that shows one."""
        belief = batch.belief[patch, label]
        core = (belief >= _CORE * belief.max()).to(belief.dtype)
        wide = _widened(core, _RIM_MM, spacing_mm)
        ring = _widened(wide, _RIM_MM, spacing_mm) - core
        image = batch.image[patch]
        weight = _blended(wide, spacing_mm)
        i, j, k = torch.nonzero(core).double().mean(0).tolist()
        parts = (image, batch.belief[patch], batch.plausible[patch])
        a, b, c = map(len, parts)
        surround = float((ring * image[0]).sum() / ring.sum().clamp(min=1))
        return _Lesion(torch.cat([weight[None], *parts]), (a, b, c), (i, j, k), surround)

    def moved(
        self, place: Sequence[int], rng: np.random.Generator
    ) -> tuple[_Volume, tuple[_Fields, ...]]:
        """Return its weight, and image, beliefs and plausibilities, put at a place and smaller."""
        zoom, size = rng.uniform(*_ZOOM), self.fields.shape[1:]
        # grid_sample measures a patch as -1 to 1, from the middle of its first voxel to the last
        lines = [
            (2 * ((np.arange(n) - at) / zoom + mid) / max(n - 1, 1) - 1).astype(np.float32)
            for n, at, mid in zip(size, place, self.middle, strict=True)
        ]
        grid = torch.stack(
            torch.meshgrid(*map(torch.from_numpy, lines), indexing="ij")[::-1], -1
        ).to(self.fields.device)
        weight, fields = (
            functional.grid_sample(part[None], grid[None], padding_mode=beyond, align_corners=True)
            for part, beyond in ((self.fields[:1], "zeros"), (self.fields[1:], "border"))
        )
        return weight[0, 0], torch.split(fields[0], list(self.counts))


def _place_like(
    surround: float,
    batch: Batch,
    patch: int,
    rng: np.random.Generator,
    spacing_mm: tuple[float, float, float],
) -> list[int]:
    """Return the place of a patch, of some at random, that looks most like a surround."""
    inside = batch.inside[patch, 0]
    pads = _voxels(_FIELD_MM, spacing_mm, inside.shape)
    size = [2 * n + 1 for n in pads]
    near = functional.avg_pool3d(batch.image[patch, :1], size, 1, pads, count_include_pad=False)
    places = torch.nonzero(inside > 0)
    some = places[torch.from_numpy(rng.integers(len(places), size=_PLACES)).to(places.device)]
    apart = torch.stack([(near[0][tuple(place)] - surround).abs() for place in some])
    return [*map(int, some[int(apart.argmin())].tolist())]


def _widened(region: _Volume, by_mm: float, spacing_mm: Sequence[float]) -> _Volume:
    """Return a region with a rim, as many whole voxels along each axis as fit into it."""
    pads = _voxels(by_mm, spacing_mm, region.shape)
    return functional.max_pool3d(region[None], [2 * n + 1 for n in pads], 1, pads)[0]


def _blended(region: _Volume, spacing_mm: Sequence[float]) -> _Volume:
    """Return the weight of a region, which falls off at its border."""
    pads = _voxels(_BLEND_MM, spacing_mm, region.shape)
    return functional.avg_pool3d(region[None], [2 * n + 1 for n in pads], 1, pads)[0]


def _voxels(length_mm: float, spacing_mm: Sequence[float], shape: Sequence[int]) -> list[int]:
    """Return how many whole voxels fit into a length along each axis, and twice into the patch."""
    return [
        min(int(length_mm / step), _WIDEST, (n - 1) // 2)
        for step, n in zip(spacing_mm, shape, strict=True)
    ]
