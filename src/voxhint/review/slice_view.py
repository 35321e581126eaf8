"""A cut through the patient as a radiologist looks at it, in millimetres."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from voxhint.core.grid import Grid

View = Literal["axial", "coronal"]

_AXES: dict[View, tuple[int, int, int]] = {"axial": (0, 1, 2), "coronal": (0, 2, 1)}
"""Across, up and through the picture, on a grid that runs to right, anterior and superior."""

_LETTERS: dict[View, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
}
"""Left, right, top and bottom of the picture: radiological, so the patient's right is left."""

Span = tuple[int, int]
"""First index, and one past the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One layer of voxels, with the part of it that is shown."""

    grid: Grid
    """Turned so that its axes run nearest to right, anterior and superior."""

    view: View
    index: int
    """Which layer."""

    across: Span
    up: Span

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """Return what lies at the left, right, top and bottom edge of the picture."""
        return _LETTERS[self.view]

    @property
    def thickness_mm(self) -> float:
        """Return how thick the layer is."""
        return float(self.grid.spacing_mm[_AXES[self.view][2]])

    @property
    def place(self) -> str:
        """Return where the middle of the layer lies, in words."""
        middle = (np.array(self.grid.shape, np.float64)[None] - 1) / 2
        through = _AXES[self.view][2]
        middle[0, through] = self.index
        return f"{'xyz'[through]} = {round(self.grid.to_world(middle)[0, through])} mm"

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """Return the outer edges of the voxels shown: across from, to, up from, to."""
        across_axis, up_axis, _ = _AXES[self.view]
        across_mm, up_mm = self.grid.spacing_mm[[across_axis, up_axis]]
        return (
            float((self.across[0] - 0.5) * across_mm),
            float((self.across[1] - 0.5) * across_mm),
            float((self.up[0] - 0.5) * up_mm),
            float((self.up[1] - 0.5) * up_mm),
        )

    def sample(
        self, array: Shaped[np.ndarray, "i j k"], grid: Grid, *, outside: int | float
    ) -> Shaped[np.ndarray, "up across"]:
        """Return the values of an array on this plane, each from the nearest voxel.

        Args:
            array: Values on any grid.
            grid: Where they lie.
            outside: What stands where the array does not reach.

        Returns:
            Rows from the bottom up, columns from the patient's left to right.
        """
        index = np.rint(grid.to_index(self._points_mm())).astype(int)
        within = self._within(index, grid)
        values = np.full(len(index), outside, array.dtype)
        values[within] = array[tuple(index[within].T)]
        return values.reshape(self.up[1] - self.up[0], self.across[1] - self.across[0])

    def locate(self, world_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Return where places appear: across, up, and signed distance from the plane, in mm."""
        moved = self.grid.to_index(world_mm)
        moved[:, _AXES[self.view][2]] -= self.index
        return np.asarray((moved * self.grid.spacing_mm)[:, _AXES[self.view]], dtype=np.float64)

    def _points_mm(self) -> Float64[np.ndarray, "n 3"]:
        up, across = np.meshgrid(np.arange(*self.up), np.arange(*self.across), indexing="ij")
        index = np.empty((up.size, 3))
        across_axis, up_axis, through = _AXES[self.view]
        index[:, across_axis], index[:, up_axis] = across.ravel(), up.ravel()
        index[:, through] = self.index
        return self.grid.to_world(index)

    @staticmethod
    def _within(index: Shaped[np.ndarray, "n 3"], grid: Grid) -> Bool[np.ndarray, " n"]:
        return np.asarray(((index >= 0) & (index < np.array(grid.shape))).all(axis=1))


def through_axis(view: View) -> int:
    """Return the axis that a view looks along, on a grid turned to the patient."""
    return _AXES[view][2]


def plane_at(grid: Grid, view: View, index: int, spans: tuple[Span, Span, Span]) -> Plane:
    """Return a plane of a turned grid, showing only what lies within the spans of its axes."""
    across, up, _ = _AXES[view]
    return Plane(grid=grid, view=view, index=index, across=spans[across], up=spans[up])
