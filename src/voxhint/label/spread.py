"""Carry what is known of some voxels to their neighbours, in millimetres."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage
from skimage.graph import MCP_Geometric

from voxhint.core import Grid, Volume

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


def _peak(sigma: float) -> float:
    """Return the middle weight of scipy's normalised Gaussian kernel."""
    steps = np.arange(-int(4.0 * sigma + 0.5), int(4.0 * sigma + 0.5) + 1)
    return float(1 / np.exp(-0.5 * (steps / sigma) ** 2).sum())
