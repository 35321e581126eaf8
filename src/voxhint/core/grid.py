"""Where an array lies in the patient: the link between voxel indices and world millimetres."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from voxhint.core.box import corners
from voxhint.core.errors import GridMismatchError

Axis = Literal[0, 1, 2]

_SINGULAR = 1e-9  # mm^3: a voxel smaller than this is no voxel


def reordered(
    array: Shaped[np.ndarray, "*lead i j k"], order: Literal["C", "F"] = "C"
) -> Shaped[np.ndarray, "*lead i j k"]:
    """Return an array that lies in memory in an order; itself if it does.

    Slabs across its middle axis are copied one by one, which is several times as fast as NumPy's
    own copy of a large array whose axes are turned.
    """
    if array.flags.c_contiguous if order == "C" else array.flags.f_contiguous:
        return array
    copy = np.empty(array.shape, array.dtype, order=order)
    for n in range(array.shape[-2]):
        copy[..., n, :] = array[..., n, :]
    return copy


@dataclass(frozen=True, slots=True)
class Turn:
    """A reordering and flipping of array axes: no voxel changes its value or its place."""

    axes: tuple[int, int, int]
    """For each new axis, the old axis it is taken from."""

    flips: tuple[bool, bool, bool]
    """For each new axis, whether it runs against the old one."""

    def apply(self, array: Shaped[np.ndarray, "*lead i j k"]) -> Shaped[np.ndarray, "*lead a b c"]:
        """Return the array turned; leading axes stay."""
        return reordered(self.view(array))

    def view(self, array: Shaped[np.ndarray, "*lead i j k"]) -> Shaped[np.ndarray, "*lead a b c"]:
        """Return the array turned, on the same memory."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.axes))
        return np.flip(turned, tuple(lead + axis for axis in range(3) if self.flips[axis]))

    def undo(self, array: Shaped[np.ndarray, "*lead a b c"]) -> Shaped[np.ndarray, "*lead i j k"]:
        """Return the array as it was before `apply`."""
        lead = array.ndim - 3
        flipped = tuple(lead + axis for axis in range(3) if self.flips[axis])
        back = [lead + int(axis) for axis in np.argsort(self.axes)]
        return reordered(np.flip(array, flipped).transpose(*range(lead), *back))


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The place of an (i, j, k) array: index to world millimetres, RAS+ (NIfTI's convention).

    Raises:
        GridMismatchError: An axis is empty, or the affine is not finite or cannot be inverted.
    """

    shape: tuple[int, int, int]
    """Voxels along i, j and k."""

    affine: Float64[np.ndarray, "4 4"]
    """Takes the index of a voxel's centre to its place in millimetres."""

    also: tuple[Float64[np.ndarray, "4 4"], ...] = ()
    """Affines that other programs take, where the file says its place more than once."""

    header: bytes = b""
    """The header of the file it was read from; what is written for that image carries it on."""

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            msg = (
                f"image of shape {self.shape}; every axis needs at least one voxel; export it again"
            )
            raise GridMismatchError(msg)
        if not np.isfinite(self.affine).all() or self.voxel_mm3 < _SINGULAR:
            msg = "affine is not finite or cannot be inverted; repair the header's orientation"
            raise GridMismatchError(msg)

    def told(self) -> str:
        """Return size and spacing in words."""
        size = " x ".join(map(str, self.shape))
        return f"{size} voxels of {' x '.join(f'{step:g}' for step in self.spacing_mm.round(3))} mm"

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"Grid({self.told()})"

    @property
    def spacing_mm(self) -> Float64[np.ndarray, "3"]:
        """Return the distance of neighbouring voxel centres along i, j and k."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0), dtype=np.float64)

    @property
    def voxel_mm3(self) -> float:
        """Return the volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def to_world(self, index: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return the places of (fractional) indices in world millimetres."""
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3], dtype=np.float64)

    def to_index(self, world_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return the fractional indices of places in world millimetres."""
        moved = world_mm - self.affine[:3, 3]
        return np.asarray(np.linalg.solve(self.affine[:3, :3], moved.T).T, dtype=np.float64)

    def holds(self, world_mm: Float64[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        """Return which places lie in a voxel of this grid (a voxel reaches half a step)."""
        index = self.to_index(world_mm)
        # a thousandth of a voxel forgives the rounding of coordinates written as text
        room = 0.501
        return np.asarray(((index >= -room) & (index <= np.array(self.shape) - 1 + room)).all(1))

    def corners_mm(self) -> Float64[np.ndarray, "8 3"]:
        """Return the centres of the eight corner voxels in world millimetres."""
        return self.to_world(corners((0, 0, 0), [n - 1 for n in self.shape]))

    def distance_mm(self, other: "Grid") -> float:
        """Return how far apart the corners of two grids lie at most."""
        apart = np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1)
        return float(apart.max())

    def distance_voxels(self, other: "Grid") -> float:
        """Return how far apart the corners lie at most along i, j or k, in voxels of this grid.

        Between the corners two grids of one shape are nowhere further apart.
        """
        apart = np.linalg.solve(self.affine[:3, :3], (self.corners_mm() - other.corners_mm()).T)
        return float(np.abs(apart).max())

    def readings(self) -> tuple["Grid", ...]:
        """Return this grid, and where else other programs read it from the same header."""
        return (self, *(Grid(self.shape, affine) for affine in self.also))

    def same(self, other: "Grid", *, tol_mm: float = 1e-3) -> bool:
        """Return whether two grids have one shape and one place."""
        return self.shape == other.shape and self.distance_mm(other) <= tol_mm

    def require_same(self, other: "Grid", *, tol_mm: float = 1e-3) -> None:
        """Refuse a grid that differs from this one.

        Args:
            other: The grid to compare with.
            tol_mm: How far apart the corners may lie; headers round affines to about 1e-4.

        Raises:
            GridMismatchError: Shapes differ, or corners lie further apart than allowed.
        """
        if self.shape != other.shape:
            msg = f"shapes differ: {self.shape} and {other.shape}; resample one onto the other"
            raise GridMismatchError(msg)
        apart = self.distance_mm(other)
        if apart > tol_mm:
            msg = f"corners differ by {apart:.3g} mm (allowed {tol_mm:g} mm); check both headers"
            raise GridMismatchError(msg)

    def turn_to_ras(self, stacked: int | None = None) -> Turn:
        """Return the turn after which i, j, k run nearest to right, anterior and superior.

        Each axis is matched to the world axis it runs along most, the clearest match first.

        Args:
            stacked: Axis along which thick slices are to lie, whatever they run along most.
        """
        return _nearest_turn(self.affine[:3, :3] / self.spacing_mm, self._thick_to(stacked))

    def turn_along(self, other: "Grid") -> Turn:
        """Return the turn after which i, j, k run nearest to those of another grid."""
        own, wanted = (grid.affine[:3, :3] / grid.spacing_mm for grid in (self, other))
        return _nearest_turn(wanted.T @ own, None)

    def _thick_to(self, stacked: int | None) -> tuple[int, int] | None:
        thick = thick_axis(self.spacing_mm)
        return None if stacked is None or thick is None else (stacked, thick)

    def turned(self, turn: Turn) -> "Grid":
        """Return the grid of an array after `turn.apply`."""
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for new, old in enumerate(turn.axes):
            step[old, new] = -1 if turn.flips[new] else 1
            step[old, 3] = self.shape[old] - 1 if turn.flips[new] else 0
        shape = (self.shape[turn.axes[0]], self.shape[turn.axes[1]], self.shape[turn.axes[2]])
        return Grid(shape, self.affine @ step)

    def cropped(self, part: tuple[slice, slice, slice]) -> "Grid":
        """Return the grid of a box of voxels; what of it lies beyond the array is left out."""
        i, j, k = (range(n)[along] for n, along in zip(self.shape, part, strict=True))
        step = np.eye(4)
        step[:3, 3] = (i.start, j.start, k.start)
        return Grid((len(i), len(j), len(k)), self.affine @ step)

    def spaced(self, spacing_mm: Float64[np.ndarray, "3"]) -> "Grid":
        """Return a grid of another spacing over the same field of view, centred on it."""
        field = np.array(self.shape) * self.spacing_mm
        count = np.maximum(1, np.round(field / spacing_mm)).astype(int)
        scale = field / count / self.spacing_mm  # whole voxels, so the edges stay in place
        step = np.diag([*scale, 1.0])
        step[:3, 3] = (scale - 1) / 2
        return Grid((int(count[0]), int(count[1]), int(count[2])), self.affine @ step)


def thick_axis(spacing_mm: Iterable[float], times: float = 2.0) -> Axis | None:
    """Return the axis whose steps are far longer than all others; None if there is none.

    Args:
        spacing_mm: Of the three axes.
        times: How many times as long, at least.
    """
    steps = list(spacing_mm)
    every: tuple[Axis, Axis, Axis] = (0, 1, 2)
    thick = max(every, key=lambda axis: steps[axis])
    others = [step for axis, step in enumerate(steps) if axis != thick]
    return thick if steps[thick] >= times * max(others) else None


def _nearest_turn(cosines: np.ndarray, fixed: tuple[int, int] | None) -> Turn:
    """Return the turn that matches axes by how far they run along each other.

    Args:
        cosines: Of each wanted axis (rows) with each there is.
        fixed: A wanted axis and the one that it is to be, if that is settled.
    """
    left = np.abs(cosines)
    axes = [0, 0, 0]
    for turn in range(3):
        if turn == 0 and fixed is not None:
            new, old = fixed
        else:
            new, old = (int(n) for n in np.unravel_index(int(np.argmax(left)), (3, 3)))
        axes[new] = old
        left[new, :] = -1
        left[:, old] = -1
    flips = [bool(cosines[new, axes[new]] < 0) for new in range(3)]
    return Turn((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))
