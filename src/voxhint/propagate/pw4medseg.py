"""Point labels in the form published with PW4MedSeg, for several labels at once."""

import numpy as np
from jaxtyping import Float32, Float64

from voxhint.core import Grid, SoftLabel
from voxhint.propagate.constraints import Constraints

_HALF = 0.5
_NODE = 0.5  # standard deviations between the nodes that points are gathered on
_BEYOND = 4.0  # standard deviations that nodes lie beyond the voxels


def point_labels(constraints: Constraints, *, sigma_mm: float) -> SoftLabel:
    """Return Gaussians around the proven voxels of each label, normalised and cut as published.

    The Gaussians of each label are summed and stretched to 0 to 1; above a half the voxel is the
    label's, with the height as its weight; elsewhere it is background with weight one minus the
    height. Where several labels are above a half, the highest has it.

    Args:
        constraints: What the hints prove; those in the background and all that they rule out are
            not looked at, as published.
        sigma_mm: Standard deviation of the Gaussians: 10 voxels of 1 mm as published.

    Returns:
        Hard probabilities; the weight is the trust.

    Source:
        PW4MedSeg, arXiv 2403.02566, and the code its authors published.
    """
    heights = np.zeros(constraints.proven.shape, np.float32)
    for number in range(1, len(heights)):
        index = np.argwhere(constraints.proven[number] > _HALF)
        if len(index):
            places = constraints.grid.to_world(index.astype(np.float64))
            heights[number] = _stretched(point_density(places, constraints.grid, sigma_mm=sigma_mm))
    height, winner = heights.max(0), heights.argmax(0)
    winner[height <= _HALF] = 0
    probs = np.stack([winner == n for n in range(len(heights))]).astype(np.float32)
    weight = np.where(winner > 0, height, 1 - height)
    trust = np.broadcast_to(weight, probs.shape) * np.float32(heights.any())
    return SoftLabel(probs, trust.astype(np.float32), constraints.grid)


def point_density(
    points_mm: Float64[np.ndarray, "n 3"], grid: Grid, *, sigma_mm: float
) -> Float32[np.ndarray, "i j k"]:
    """Sum a Gaussian over points, wherever in a voxel they lie.

    A Gaussian is a sum of narrower ones at nodes half a standard deviation apart (a Gaussian
    smoothed by a Gaussian; the trapezoidal rule is good to 1e-8 here). So the points are gathered
    on the nodes first and spread from there axis by axis: what is left to do does not grow with
    the points.

    Args:
        points_mm: World places.
        grid: Gives the places of the voxels; axes at right angles to each other.
        sigma_mm: Standard deviation.

    Returns:
        sum_n exp(-|x - p_n|^2 / (2 sigma^2)).

    Source:
        PW4MedSeg, arXiv 2403.02566: the point labels, before their normalisation.
    """
    gathered, spread = [], []
    index = grid.to_index(points_mm)
    for axis, (count, spacing) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)):
        step = spacing / sigma_mm  # the standard deviation is the unit from here
        nodes = np.arange(-_BEYOND, (count - 1) * step + _BEYOND, _NODE)
        gathered.append(_profile(nodes[:, None] - index[:, axis] * step))
        spread.append(_profile(np.arange(count)[:, None] * step - nodes))
    i, j, k = gathered
    planes = (i[:, None] * j[None]).reshape(-1, len(index)) @ k.T
    total = planes.reshape(len(i), len(j), len(k))
    for profile in spread:  # the first axis leaves, the spread one comes last
        total = np.tensordot(total, profile, (0, 1))
    return np.asarray(total, np.float32)


def _stretched(heights: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "i j k"]:
    low, high = float(heights.min()), float(heights.max())
    return ((heights - low) / max(high - low, 1e-12)).astype(np.float32)


def _profile(away: Float64[np.ndarray, "a b"]) -> Float32[np.ndarray, "a b"]:
    """Return half of a Gaussian of width 1: smoothed by itself on the nodes it gives the whole."""
    height = np.sqrt(_NODE * np.sqrt(2 / np.pi))
    return np.asarray(height * np.exp(-(away**2)), np.float32)
