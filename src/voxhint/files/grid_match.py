"""On which image a mask lies, though headers round and programs read them differently."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid

_ROUNDING = 0.01  # of a voxel, anywhere in the volume: headers round
_ROUNDING_MM = 1e-3
_CLOSE = 0.1  # of a voxel: as good as in place, and worth a word
_RESAMPLE = "resample it onto the image's grid, or mend the header that is wrong"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Which image a mask lies on."""

    grid: Grid | None
    """The image's, exactly; None if the mask lies elsewhere."""

    told: str = ""
    """What is odd, as "finding; advice"; empty where the mask lies on the image."""


def rounded(grid: Grid, other: Grid) -> bool:
    """Return whether grids of one shape differ by no more than headers round."""
    near = grid.distance_voxels(other) <= _ROUNDING * (1 + 1e-3)
    return near or grid.distance_mm(other) <= _ROUNDING_MM


def place_of(grid: Grid, images: Sequence[Grid]) -> Place:
    """Find the image that a mask was drawn on.

    A hundredth of a voxel is forgiven, a tenth is told. A mask that lies where other programs see
    the image lies on it, too: they read another of two places in its header.

    Args:
        grid: Of the mask.
        images: The grids of the channels, one at least.

    Returns:
        The image's grid, or why there is none.
    """
    alike = [image for image in images if image.shape == grid.shape]
    if not alike:
        return Place(None, _elsewhere(grid, min(images, key=grid.distance_mm)))
    nearest = min(alike, key=grid.distance_mm)
    if rounded(nearest, grid):
        return Place(nearest)
    if nearest.distance_voxels(grid) <= _CLOSE:
        off = f"lies {_apart(nearest, grid)} off the image's grid ({differences(nearest, grid)})"
        return Place(nearest, f"{off} and is taken as on it; write it with the image's header")
    for image in alike:
        if any(rounded(a, b) for a, b in product(image.readings(), grid.readings())):
            finding = (
                f"lies {_apart(image, grid)} from where the image's header is read here, and where "
                "others (programs on ITK) read it; it is laid on the image voxel by voxel"
            )
            return Place(image, f"{finding}; look at one in the other, and give both one header")
    return Place(None, _elsewhere(grid, nearest))


def require_place(path: Path, grid: Grid, images: Sequence[Grid]) -> Grid:
    """Return the grid of the image that a mask was drawn on.

    Args:
        path: The mask, for the message.
        grid: Of the mask.
        images: The grids of the channels, one at least.

    Raises:
        BadFileError: It lies on none.
    """
    place = place_of(grid, images)
    if place.grid is None:
        msg = f"{path.name}: {place.told}"
        raise BadFileError(msg)
    return place.grid


def _elsewhere(grid: Grid, image: Grid) -> str:
    shapes = f"{_size(grid)} voxels where the image has {_size(image)}"
    return (
        f"lies on another grid: {shapes}, corners {_apart(image, grid)} apart "
        f"({differences(image, grid)}); {_RESAMPLE}"
    )


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))


def _apart(image: Grid, grid: Grid) -> str:
    return f"{image.distance_mm(grid):.3g} mm ({image.distance_voxels(grid):.2g} voxels)"


def differences(first: Grid, second: Grid) -> str:
    """Return in what two grids differ: their steps, directions and first voxels."""
    return ", ".join(_differences(first, second)) or "shape alone"


def _differences(first: Grid, second: Grid) -> Iterator[str]:
    if not np.allclose(first.spacing_mm, second.spacing_mm, rtol=1e-5, atol=0):
        yield f"spacing {_told(second.spacing_mm)} against {_told(first.spacing_mm)} mm"
    ours, theirs = (grid.affine[:3, :3] / grid.spacing_mm for grid in (first, second))
    # from the sine and the cosine: the cosine alone cannot tell small angles from rounding
    sine = np.linalg.norm(np.cross(ours, theirs, axis=0), axis=0)
    degrees = float(np.degrees(np.arctan2(sine, (ours * theirs).sum(axis=0))).max())
    if degrees > 1e-3:
        yield f"directions {degrees:.3g} degrees apart"
    if np.linalg.norm(first.affine[:3, 3] - second.affine[:3, 3]) > _ROUNDING_MM:
        yield f"first voxel at ({_at(second)}) against ({_at(first)}) mm"


def _told(spacing: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return " x ".join(f"{step:.6g}" for step in spacing)


def _at(grid: Grid) -> str:
    return ", ".join(f"{value:.6g}" for value in grid.affine[:3, 3])
