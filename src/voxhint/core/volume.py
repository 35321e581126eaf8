"""Arrays that know their place: images, masks and soft labels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.core.errors import GridMismatchError
from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet

Unit = Literal["HU", "SUV", "a.u."]


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
