"""One field of view stored in many ways, and soft labels read as bounds."""

import numpy as np
from jaxtyping import Float32, Float64

from voxhint.core import Grid, SoftLabel, Turn, Volume


def plain_grid(
    shape: tuple[int, int, int] = (12, 10, 8),
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Grid:
    """Return a grid along the world's axes whose first voxel's outer corner is the origin."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = np.array(spacing_mm) / 2
    return Grid(shape, affine)


def places(grid: Grid) -> Float64[np.ndarray, "3 i j k"]:
    """Return world x, y and z of every voxel's centre."""
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    return grid.to_world(index).T.reshape(3, *grid.shape)


def turned_image(image: Volume, turn: Turn) -> Volume:
    """Return one image stored another way."""
    return Volume(turn.apply(image.voxels), image.grid.turned(turn), image.unit)


def bounds(
    soft: SoftLabel,
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "class i j k"]]:
    """Return belief and plausibility."""
    return soft.belief, soft.plausibility
