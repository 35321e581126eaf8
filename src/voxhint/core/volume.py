"""Arrays that know their place: images, masks and soft labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped, UInt8, UInt16

from voxhint.core.errors import GridMismatchError
from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet

Floats = Float32[np.ndarray, "i j k"]
_INT16 = np.iinfo(np.int16)

Unit = Literal["HU", "SUV", "a.u."]

STEPS = np.float32(2**15)
"""Probabilities and trust are kept as whole numbers of 2^-15: 0, 1/2 and 1 exactly."""


def with_background(
    labels: Float32[np.ndarray, "label i j k"],
) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities of all classes: background comes first, and has what labels leave."""
    rest = np.maximum(1 - labels.sum(0, keepdims=True), 0)
    return np.concatenate([rest, labels])


def steps_of(values: Float32[np.ndarray, "..."]) -> UInt16[np.ndarray, "..."]:
    """Return probabilities as whole numbers of 2^-15; rounding beyond [0, 1] is cut off."""
    return np.asarray(np.rint(np.clip(values, 0, 1) * STEPS), np.uint16)


def narrowed(voxels: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "i j k"]:
    """Return voxels as 16-bit whole numbers where that changes none: half the size."""
    if voxels.min() < _INT16.min or voxels.max() > _INT16.max:
        return voxels
    whole = np.empty(voxels.shape, np.int16)
    for plane, kept in zip(voxels, whole, strict=True):
        kept[:] = plane
        if not np.array_equal(plane, kept):
            return voxels
    return whole


def _require_shape(shape: tuple[int, ...], grid: Grid) -> None:
    if shape != grid.shape:
        msg = f"array of shape {shape} on a grid of shape {grid.shape}; they must agree"
        raise GridMismatchError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One image: a value per voxel, in `unit`.

    Raises:
        GridMismatchError: The array's shape is not the grid's.
    """

    voxels: Float32[np.ndarray, "i j k"]
    grid: Grid
    unit: Unit = "a.u."
    notes: tuple[str, ...] = ()
    """What a person should know of how its voxels were read, each as "finding; advice"."""

    def __post_init__(self) -> None:
        _require_shape(self.voxels.shape, self.grid)

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"Volume({self.grid.told()}, {self.unit})"

    def cropped(self, part: tuple[slice, slice, slice]) -> "Volume":
        """Return a box of voxels, where it lies."""
        voxels = np.ascontiguousarray(self.voxels[part])
        return Volume(voxels, self.grid.cropped(part), self.unit)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """One label a voxel, as file ids.

    Raises:
        GridMismatchError: The array's shape is not the grid's.
    """

    ids: UInt8[np.ndarray, "i j k"]
    grid: Grid
    names: LabelSet

    def __post_init__(self) -> None:
        _require_shape(self.ids.shape, self.grid)

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"Mask({self.grid.told()}, {', '.join(self.names.foreground)})"


@dataclass(frozen=True, slots=True, eq=False)
class SoftLabel:
    """What is known of each voxel, class by class.

    `trust` is per class, because "A is absent here, B unknown" must be sayable: there A has
    probability 0 and trust 1, B trust 0. The pair reads as an interval for the chance of class c:
    at least trust x probability (belief), at most 1 - trust x (1 - probability) (plausibility).

    Raises:
        GridMismatchError: An array's shape is not the grid's.

    Source:
        Shafer 1976, "A Mathematical Theory of Evidence", chapters 2 and 3.
    """

    probs: Float32[np.ndarray, "class i j k"]
    """Probability of each class, in [0, 1]."""

    trust: Float32[np.ndarray, "class i j k"]
    """How much that probability is to be believed, in [0, 1]; 0 is unknown."""

    grid: Grid

    def __post_init__(self) -> None:
        _require_shape(self.probs.shape[1:], self.grid)
        _require_shape(self.trust.shape[1:], self.grid)

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"SoftLabel({len(self.probs)} classes, {self.grid.told()})"

    @staticmethod
    def of_classes(pairs: Iterable[tuple[Floats, Floats]], grid: Grid) -> "SoftLabel":
        """Return the soft label of probability and trust of one class after the other."""
        probs, trust = zip(*pairs, strict=True)
        return SoftLabel(np.stack(probs), np.stack(trust), grid)

    @staticmethod
    def of_bounds(
        belief: Float32[np.ndarray, "class i j k"],
        plausibility: Float32[np.ndarray, "class i j k"],
        grid: Grid,
    ) -> "SoftLabel":
        """Return the soft label that says the same as belief and plausibility.

        Trust = 1 - (plausibility - belief); probability = belief / trust, 0 where nothing is
        trusted.
        """
        known = np.clip(1 - (plausibility - belief), 0, 1)
        probs = np.divide(belief, known, out=np.zeros_like(belief), where=known > 0)
        probs = np.clip(probs, 0, 1).astype(np.float32)
        return SoftLabel(probs, known.astype(np.float32), grid)

    @property
    def belief(self) -> Float32[np.ndarray, "class i j k"]:
        """Return the least chance of each class: trust x probability."""
        return np.asarray(self.trust * self.probs, np.float32)

    @property
    def plausibility(self) -> Float32[np.ndarray, "class i j k"]:
        """Return the greatest chance of each class: 1 - trust x (1 - probability)."""
        return np.asarray(1 - self.trust * (1 - self.probs), np.float32)

    def by_class(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield probability and trust of one class after the other."""
        yield from zip(self.probs, self.trust, strict=True)

    def bounds(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield the least and the greatest chance of one class after the other."""
        for prob, trust in self.by_class():
            yield trust * prob, 1 - trust * (1 - prob)

    def dense(self) -> "SoftLabel":
        """Return itself; soft labels kept in another form return one of these."""
        return self

    def largest_class(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the most probable class of each voxel; background where nothing is trusted."""
        chances = self.probs * (self.trust > 0)
        chances[0] = 1 - chances[1:].sum(0)  # whatever it is rather than these labels
        return np.asarray(chances.argmax(0), np.uint8)
