"""Bells around points, in millimetres: the point labels of PW4MedSeg before they are cut."""

import numpy as np
from jaxtyping import Float32, Float64

from voxhint.core import Grid

_NODE = 0.5  # reaches between the nodes that points are gathered on
_BEYOND = 4.0  # reaches that nodes lie beyond the voxels


def bells_mm(
    points_mm: Float64[np.ndarray, "n 3"], grid: Grid, *, reach_mm: float
) -> Float32[np.ndarray, "i j k"]:
    """Sum a Gaussian bell over points, wherever in a voxel they lie.

    A bell is a sum of narrower bells at nodes half a reach apart (a Gaussian smoothed by a
    Gaussian; the trapezoidal rule is good to 1e-8 here). So the points are gathered on the nodes
    first and spread from there axis by axis: what is left to do does not grow with the points.

    Args:
        points_mm: World places.
        grid: Gives the places of the voxels; axes at right angles to each other.
        reach_mm: Standard deviation of the bell.

    Returns:
        sum_n exp(-|x - p_n|^2 / (2 reach^2)).

    Source:
        PW4MedSeg, arXiv 2403.02566: the point labels, before their normalisation.
    """
    gathered, spread = [], []
    index = grid.to_index(points_mm)
    for axis, (count, spacing) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)):
        step = spacing / reach_mm  # the reach is the unit from here
        nodes = np.arange(-_BEYOND, (count - 1) * step + _BEYOND, _NODE)
        gathered.append(_profile(nodes[:, None] - index[:, axis] * step))
        spread.append(_profile(np.arange(count)[:, None] * step - nodes))
    i, j, k = gathered
    planes = (i[:, None] * j[None]).reshape(-1, len(index)) @ k.T
    total = planes.reshape(len(i), len(j), len(k))
    for profile in spread:  # the first axis leaves, the spread one comes last
        total = np.tensordot(total, profile, (0, 1))
    return np.asarray(total, np.float32)


def _profile(away: Float64[np.ndarray, "a b"]) -> Float32[np.ndarray, "a b"]:
    """Return half of a bell of width 1: smoothed by itself on the nodes it gives the bell."""
    height = np.sqrt(_NODE * np.sqrt(2 / np.pi))
    return np.asarray(height * np.exp(-(away**2)), np.float32)
