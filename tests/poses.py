"""One image in many poses: axes in another order or direction, or turned in space."""

from itertools import permutations, product

import numpy as np
from jaxtyping import Float64

from voxhint.core import Grid, Turn

TURNS = tuple(
    Turn((a, b, c), (f, g, h))
    for a, b, c in permutations((0, 1, 2))
    for f, g, h in product((False, True), repeat=3)
)
SOME_TURNS = (
    Turn((0, 1, 2), (True, False, False)),
    Turn((2, 0, 1), (False, True, False)),
    Turn((1, 0, 2), (True, True, True)),
)

Triple = tuple[float, float, float]


def rotation(degrees: Triple) -> Float64[np.ndarray, "3 3"]:
    """Return a turn about x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[one, one] = step[two, two] = np.cos(angle)
        step[one, two], step[two, one] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def grid_at(
    shape: tuple[int, int, int] = (10, 12, 8),
    spacing_mm: Triple = (1.0, 1.0, 1.0),
    *,
    degrees: Triple = (0.0, 0.0, 0.0),
    middle_mm: Triple = (0.0, 0.0, 0.0),
) -> Grid:
    """Return a grid around a place, turned by some degrees."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) * np.array(spacing_mm)
    affine[:3, 3] = np.array(middle_mm) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def places_of(grid: Grid) -> Float64[np.ndarray, "i j k 3"]:
    """Return the place of every voxel in millimetres."""
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    return np.asarray(grid.to_world(index).reshape(*grid.shape, 3))
