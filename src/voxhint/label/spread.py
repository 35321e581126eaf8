"""Carry what is known of some voxels to their neighbours, in millimetres."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage
from scipy.sparse.linalg import LinearOperator, cg
from skimage.graph import MCP_Geometric

from voxhint.core import Grid, Volume

_NODE = 0.5  # reaches between the nodes that points are gathered on
_BEYOND = 4.0  # reaches that nodes lie beyond the voxels
_FAR = np.float32(1e6)  # mm: no seed, or no way to it


def edge_cost(images: Sequence[Volume], *, blur_mm: float = 0.7) -> Float32[np.ndarray, "i j k"]:
    """Measure how steep the image is: the slope per millimetre, in typical slopes of the image.

    Args:
        images: Channels on one grid.
        blur_mm: Standard deviation of the Gaussian that quiets noise before slopes are taken.

    Returns:
        Root mean square over channels of |slope| / median |slope|; about 1 in plain tissue, large
        at edges; free of each image's own scale and offset.
    """
    squares = np.zeros(images[0].grid.shape, np.float32)
    for image in images:
        spacing = image.grid.spacing_mm
        smooth = ndimage.gaussian_filter(image.voxels, blur_mm / spacing)
        slopes = [
            np.gradient(smooth, spacing[axis], axis=axis)
            for axis in range(3)
            if smooth.shape[axis] > 1
        ]
        steep = np.sqrt(sum(s.astype(np.float32) ** 2 for s in slopes))
        uneven = steep[steep > 0]  # air clipped to one value has no slope and says nothing
        typical = float(np.median(uneven)) if uneven.size else 1.0
        squares += (steep / typical) ** 2
    return np.asarray(np.sqrt(squares / len(images)), np.float32)


def geodesic_mm(
    seeds: Bool[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    edge_weight: float,
) -> Float32[np.ndarray, "i j k"]:
    """Measure the shortest way from the seeds to every voxel, where edges make ways longer.

    A step of length d mm over slope s costs d sqrt(1 + (edge_weight s)^2). With `edge_weight` 0
    this is the distance along the 26-neighbour grid.

    Args:
        seeds: Where ways start.
        steep: Slope of the image, from `edge_cost`.
        grid: Gives the spacing.
        edge_weight: How much longer one typical slope makes a millimetre.

    Returns:
        Millimetres (of detour); 1e6 where there is no seed.

    Source:
        Criminisi, Sharp and Blake 2008, "GeoS: Geodesic Image Segmentation", eq. 3.
    """
    if not seeds.any():
        return np.full(seeds.shape, _FAR, np.float32)
    cost = np.sqrt(1 + (edge_weight * steep.astype(np.float64)) ** 2)
    ways = MCP_Geometric(cost, sampling=tuple(grid.spacing_mm))
    reached, _ = ways.find_costs(np.argwhere(seeds))
    return np.asarray(np.minimum(reached, _FAR), np.float32)


def gaussian_mm(
    seeds: Float32[np.ndarray, "i j k"], grid: Grid, *, reach_mm: float
) -> Float32[np.ndarray, "i j k"]:
    """Sum a Gaussian bell over all seeds, by one separable filter.

    Args:
        seeds: Weight of each voxel as a seed.
        grid: Gives the spacing.
        reach_mm: Standard deviation of the bell.

    Returns:
        sum_n w_n exp(-|x - p_n|^2 / (2 reach^2)), cut off beyond 4 standard deviations.

    Source:
        PW4MedSeg, arXiv 2403.02566: the point labels, before their normalisation.
    """
    sigma = reach_mm / grid.spacing_mm
    bell = ndimage.gaussian_filter(seeds.astype(np.float64), sigma, mode="constant", truncate=4.0)
    # scipy normalises each axis to sum 1; one voxel's response at its own place undoes that
    peak = np.prod([_peak(s) for s in sigma])
    return (bell / peak).astype(np.float32)


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


def heat_mm(
    seeds: Bool[np.ndarray, "i j k"],
    steep: Float32[np.ndarray, "i j k"],
    grid: Grid,
    *,
    reach_mm: float,
    edge_weight: float,
) -> Float32[np.ndarray, "i j k"]:
    """Measure how far heat got from the seeds, where edges let little of it through.

    One implicit step of length t = reach^2 / 4 of the heat equation, whose flow between neighbours
    falls with the slope between them; the distance is read off its logarithm.

    Args:
        seeds: Where heat starts.
        steep: Slope of the image, from `edge_cost`.
        grid: Gives the spacing.
        reach_mm: How far the heat gets.
        edge_weight: How much one typical slope holds back.

    Returns:
        -sqrt(t) log(heat / heat at the seeds) in millimetres, 1e6 where there is no seed.

    Source:
        Crane, Weischedel and Wardetzky 2013, "Geodesics in heat", eq. 3 and appendix A.
    """
    if not seeds.any():
        return np.full(seeds.shape, _FAR, np.float32)
    step = reach_mm**2 / 4
    flows = []
    ease = 1 / (1 + (edge_weight * steep.astype(np.float64)) ** 2)
    for axis, spacing in enumerate(grid.spacing_mm):
        along = np.moveaxis(ease, axis, 0)
        flow = step / spacing**2 * np.minimum(along[1:], along[:-1])
        flows.append(np.moveaxis(flow, 0, axis))

    def cooled(flat: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        heat = flat.reshape(seeds.shape)
        left = heat.copy()
        for axis, flow in enumerate(flows):
            lost = -np.diff(heat, axis=axis) * flow
            low = (slice(None),) * axis
            left[(*low, slice(None, -1))] += lost
            left[(*low, slice(1, None))] -= lost
        return left.ravel()

    source = seeds.ravel().astype(np.float64)
    operator = LinearOperator((seeds.size, seeds.size), matvec=cooled, dtype=np.float64)
    heat, _ = cg(operator, source, rtol=1e-10, maxiter=500)
    logs = np.log(np.maximum(heat.reshape(seeds.shape), 1e-12) / max(float(heat.max()), 1e-12))
    away = -np.sqrt(step) * logs
    away[seeds] = 0
    return np.asarray(np.minimum(away, _FAR), np.float32)


def _peak(sigma: float) -> float:
    """Return the middle weight of scipy's normalised Gaussian kernel."""
    steps = np.arange(-int(4.0 * sigma + 0.5), int(4.0 * sigma + 0.5) + 1)
    return float(1 / np.exp(-0.5 * (steps / sigma) ** 2).sum())
