"""Overlap and volume of two masks, with empty masks named and never hidden in a number."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

Empty = Literal["both empty", "truth empty", "mask empty"]
"""Which of two masks holds no voxel; a measure that needs both returns this instead."""

_MM3_PER_ML = 1000.0


def which_empty(truth: Bool[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"]) -> Empty | None:
    """Return which of two masks holds no voxel, or None if both hold some."""
    if not truth.any():
        return "truth empty" if mask.any() else "both empty"
    return None if mask.any() else "mask empty"


def dice(truth: Bool[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"]) -> float | Empty:
    """Return the Dice overlap of two masks in [0, 1], or which of them is empty.

    Source:
        Dice 1945, "Measures of the Amount of Ecologic Association Between Species", Ecology 26.
    """
    empty = which_empty(truth, mask)
    if empty is not None:
        return empty
    sizes = np.count_nonzero(truth) + np.count_nonzero(mask)
    return 2.0 * np.count_nonzero(truth & mask) / sizes


def volume_ml(mask: Bool[np.ndarray, "i j k"], *, voxel_mm3: float) -> float:
    """Return the volume of a mask in millilitres."""
    return np.count_nonzero(mask) * voxel_mm3 / _MM3_PER_ML


@dataclass(frozen=True, slots=True)
class _VolumeError:
    """How much more a mask holds than the truth; negative if it holds less."""

    ml: float
    """Mask minus truth, in millilitres."""

    relative: float | None
    """The same as a share of the truth's volume; None if the truth is empty."""


def volume_error(*, truth_ml: float, mask_ml: float) -> _VolumeError:
    """Return by how much a mask's volume misses the truth's."""
    excess = mask_ml - truth_ml
    return _VolumeError(ml=excess, relative=excess / truth_ml if truth_ml > 0 else None)
