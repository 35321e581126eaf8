"""The cheap marks people give, in world millimetres: tags, points, boxes, diameters, strokes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from voxhint.core.grid import Grid

State = Literal["present", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class Tag:
    """Whether a label occurs in the image, or between two heights of it."""

    label: str
    state: State
    z_range_mm: tuple[float, float] | None = None
    """World z the tag speaks of; None is the whole image."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Clicks that lie in one label (`background` included)."""

    label: str
    positions_mm: Float64[np.ndarray, "n 3"]
    confidence: Float64[np.ndarray, " n"]
    """How sure the person was of each click, in (0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A box along the world's axes that holds the whole of a label's object."""

    label: str
    low_mm: Float64[np.ndarray, "3"]
    high_mm: Float64[np.ndarray, "3"]


@dataclass(frozen=True, slots=True, eq=False)
class Diameter:
    """The centre and the longest diameter of a roundish object."""

    label: str
    centre_mm: Float64[np.ndarray, "3"]
    diameter_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Strokes:
    """Class numbers drawn on voxels; `UNDRAWN` elsewhere.

    Scribbles and drawn slices are told apart by `complete`: on a drawn slice everything is drawn,
    so its edges are edges of the object; a scribble's edge says nothing.
    """

    classes: UInt8[np.ndarray, "i j k"]
    grid: Grid
    complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """A probability per voxel for one label, from another method or several readers.

    NaN where it says nothing.
    """

    label: str
    probability: Float32[np.ndarray, "i j k"]
    grid: Grid


Hint = Tag | Points | Box | Diameter | Strokes | Soft
