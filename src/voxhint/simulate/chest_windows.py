"""Windows of a chest CT, and what a person who looks at one would say: a nodule, or none."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from voxhint.core.errors import BadRecipeError
from voxhint.core.grid import Grid
from voxhint.core.hints import Diameter
from voxhint.core.volume import Volume

_BORDER_MM = 8.0
"""How far from the border of a window the centre of its nodule lies at least."""

_LUNG_SHARE = 0.2  # of a window
_LUNG_HU = -400.0  # lung and air lie below, all other tissue above
_COARSE_MM = 3.0
_SMALLEST_PART = 0.1  # of the largest part: one lung beside the other


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a scan."""

    low: tuple[int, int, int]
    """Its first voxel."""

    shape: tuple[int, int, int]
    state: Literal["present", "absent"]


def lung_windows(
    scan: Volume, nodules: Sequence[Diameter], *, size_mm: float
) -> tuple[Window, ...]:
    """Cut a scan into cubes that overlap by half, and keep those that say something of the lung.

    Kept is what is a fifth lung and either holds the centre of a nodule, 8 mm from the border or
    more, or nothing of any nodule; what cuts through a nodule is neither.

    Args:
        scan: In Hounsfield units.
        nodules: Every nodule of the scan, as balls.
        size_mm: The edge of a cube; where the scan is smaller, the scan's.

    Returns:
        The windows, in the order of their places.

    Raises:
        BadRecipeError: No nodule can lie 8 mm from every border.
    """
    if size_mm <= 2 * _BORDER_MM:
        msg = (
            f"windows of {size_mm:g} mm cannot hold a nodule {_BORDER_MM:g} mm from every border; "
        )
        msg += "make them larger"
        raise BadRecipeError(msg)
    lungs = _lungs(scan)
    steps = _steps(scan.grid)
    found = []
    for low, shape in _places(scan.grid, size_mm):
        part = tuple(
            slice(start // step, -(-(start + count) // step))
            for start, count, step in zip(low, shape, steps, strict=True)
        )
        if lungs[part].mean() < _LUNG_SHARE:
            continue
        state = _state(scan.grid, low, shape, nodules)
        if state is not None:
            found.append(Window(low, shape, state))
    return tuple(found)


def choose_windows(
    windows: Sequence[Window], count: int, rng: np.random.Generator
) -> tuple[Window, ...]:
    """Draw some windows of a scan, half of them with a nodule if there are so many.

    Args:
        windows: Of one scan.
        count: How many to draw at most.
        rng: Draws them.

    Returns:
        The chosen ones, in their order.
    """
    mixed = [windows[number] for number in rng.permutation(len(windows))]
    present = [window for window in mixed if window.state == "present"]
    absent = [window for window in mixed if window.state == "absent"]
    wanted = max((count + 1) // 2, count - len(absent))
    present = present[:wanted]
    chosen = {*present, *absent[: count - len(present)]}
    return tuple(window for window in windows if window in chosen)


def _steps(grid: Grid) -> tuple[int, int, int]:
    """Return every how manieth voxel the lungs are looked for in, along each axis."""
    i, j, k = (max(1, round(_COARSE_MM / step)) for step in grid.spacing_mm.tolist())
    return i, j, k


def _lungs(scan: Volume) -> Bool[np.ndarray, "a b c"]:
    """Return the lungs and airways on a coarse grid: air that nothing joins to the air outside.

    Lungs may run out of the scan above and below, never at its sides.
    """
    i, j, k = _steps(scan.grid)
    parts, _ = ndimage.label(scan.voxels[::i, ::j, ::k] < _LUNG_HU)
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    for side in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        sizes[np.unique(side)] = 0
    inside = (sizes > 0) & (sizes >= _SMALLEST_PART * sizes.max())
    return np.asarray(inside[parts])


def _places(
    grid: Grid, size_mm: float
) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Yield first voxel and shape of each cube; the last ones end where the scan ends."""
    counts = [
        min(most, max(1, round(size_mm / step)))
        for most, step in zip(grid.shape, grid.spacing_mm.tolist(), strict=True)
    ]
    starts = [
        sorted({*range(0, most - count + 1, max(1, count // 2)), most - count})
        for most, count in zip(grid.shape, counts, strict=True)
    ]
    for i, j, k in itertools.product(*starts):
        yield (i, j, k), (counts[0], counts[1], counts[2])


def _state(
    grid: Grid,
    low: tuple[int, int, int],
    shape: tuple[int, int, int],
    nodules: Sequence[Diameter],
) -> Literal["present", "absent"] | None:
    """Return what a window shows; None if it shows a nodule in part, or at its border."""
    depths = [_depth_mm(grid, low, shape, nodule) for nodule in nodules]
    if any(depth >= _BORDER_MM for depth in depths):
        return "present"
    radii = [nodule.diameter_mm / 2 for nodule in nodules]
    if any(depth > -radius for depth, radius in zip(depths, radii, strict=True)):
        return None
    return "absent"


def _depth_mm(
    grid: Grid, low: tuple[int, int, int], shape: tuple[int, int, int], nodule: Diameter
) -> float:
    """Return how far inside a window a nodule's centre lies; below 0 outside."""
    centre = grid.to_index(nodule.centre_mm[None])[0]
    ahead = centre - (np.array(low) - 0.5)
    behind = np.array(low) + np.array(shape) - 0.5 - centre
    return float((np.minimum(ahead, behind) * grid.spacing_mm).min())
