"""What predicting an image will need, by headers alone, and in how many bands of rows it fits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from voxhint.prepare import Plan

_BASE = 560 * 2**20  # bytes: Python, torch, MONAI and the weights of an ordinary trunk
_READ = 4  # bytes a voxel and channel of an image as it is read, and again once it is smoothed
_KEPT = 4  # bytes a voxel and channel of the prepared image, were it no whole numbers
_SPARE = 1.1  # of all that: memory that is free, and in pieces
_MASK = 4  # bytes a voxel of the mask, turned back and written
_UNSURE = 6  # bytes a voxel of the uncertainty, the same
_CHANCE = 2  # bytes a voxel and label of probabilities, which lie on disk until memory is short
_WHOLE = 20  # bytes a voxel and class, where a classifier looks at borders and regions
_FLOATS = 12  # of a voxel of a tile and feature map of the first level, all levels counted
_TILES = 2  # at once
_ANSWERS = 5  # copies of what a network says of tiles
_SLAB = 2**22  # probabilities that are carried to the image's grid together, at most
_SLABS = 6  # copies of them

_Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionMemory:
    """Bytes that predicting one image takes; figures were measured on the trunk."""

    classes: int
    read: int
    """Voxels of all channels, as they are stored."""

    working: _Shape
    """Voxels where tiles lie, the axis first along which planes come."""

    target: _Shape
    """Voxels of the mask, turned alike."""

    patch: _Shape
    """Of a tile, turned alike."""

    features: int
    """Maps of the first level of the network, branches counted."""

    channels: int
    passes: int
    """How many flips of the image are averaged."""

    whole: bool
    """Whether all classes of the image are held together."""

    each: int
    """Bytes a voxel of what is asked for beside the mask."""

    @property
    def most_bands(self) -> int:
        """Return how many bands save memory: a tile is no thinner."""
        return 1 if self.whole else max(1, -(-self.working[1] // self.patch[1]))

    def taken(self, bands: int) -> int:
        """Return how many bytes are taken where rows are looked at in so many bands."""
        deep, tall, _ = self.patch
        rows = min(self.working[1], -(-self.working[1] // bands) + 2 * tall)
        blended = self.passes * deep * rows * self.working[2]
        slab = max(_SLAB // self.classes, self.target[2] * -(-self.target[1] // bands))
        said = _TILES * _ANSWERS * math.prod(self.patch) + blended + _SLABS * slab
        voxels = math.prod(self.target)
        if self.whole:
            said += _WHOLE // 4 * voxels
        network = _TILES * _FLOATS * self.features * math.prod(self.patch)
        kept = _KEPT * self.channels * math.prod(self.working) + (_MASK + self.each) * voxels
        twice = 2 if self.working != self.target else 1
        reading = twice * (_READ * self.read + _KEPT * self.channels * math.prod(self.working))
        return _BASE + int(_SPARE * max(reading, kept + 4 * (self.classes * said + network)))

    def bands_within(self, limit: int) -> int:
        """Return the fewest bands that fit into a memory limit, or else the most that help."""
        every = range(1, self.most_bands + 1)
        return next((bands for bands in every if self.taken(bands) <= limit), self.most_bands)


def prediction_memory(
    plan: Plan,
    shapes: tuple[_Shape, _Shape, _Shape],
    read: int,
    *,
    passes: int,
    whole: bool,
    asked: Sequence[bool],
) -> PredictionMemory:
    """Return what predicting an image takes.

    Args:
        plan: Of the model.
        shapes: Voxels where tiles lie, of the mask, and of a tile; the axis first along which
            planes come.
        read: Voxels of all channels, as they are stored.
        passes: How many flips of the image are averaged.
        whole: Whether all classes of the image are held together.
        asked: Whether uncertainty and probabilities are asked for.
    """
    working, target, patch = shapes
    uncertainty, probabilities = asked
    classes, channels = len(plan.labels.names), len(plan.views or plan.channels)
    branches = 1 + channels * (plan.network == "crossmodal")
    return PredictionMemory(
        classes=classes,
        read=read,
        working=working,
        target=target,
        patch=patch,
        features=plan.features[0] * branches,
        channels=channels,
        passes=passes,
        whole=whole,
        each=_UNSURE * uncertainty + _CHANCE * (classes - 1) * probabilities,
    )
