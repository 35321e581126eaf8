"""Distances between the surfaces of two masks in millimetres: measured once, summarised cheaply."""

from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Bool, Float64

from voxhint.measure.overlap import Empty, which_empty

_ROUNDING_MM = 1e-4  # distances come as 32-bit floats; a tolerance of 2.1 must admit 2.1000001


@dataclass(frozen=True, slots=True, eq=False)
class _SurfaceDistances:
    """For each piece of either surface, how far the other surface is and how large the piece is.

    A surface is made of the voxel corners that touch both inside and outside; where a mask reaches
    the border of the image, that border counts as surface. Corners weigh by the area they stand
    for, so that thick slices count no more than they should. Distances run from corner to corner:
    0 where surfaces coincide, exact for a shift along an axis, and too small between surfaces
    oblique to the axes: by less than half a voxel's diagonal on average, at most by a whole one.
    """

    from_truth_mm: Float64[np.ndarray, " n"]
    """Distance of each piece of the truth's surface to the mask's surface."""

    truth_mm2: Float64[np.ndarray, " n"]
    """Area of each piece of the truth's surface."""

    from_mask_mm: Float64[np.ndarray, " m"]
    """Distance of each piece of the mask's surface to the truth's surface."""

    mask_mm2: Float64[np.ndarray, " m"]
    """Area of each piece of the mask's surface."""


def surface_distances(
    truth: Bool[np.ndarray, "i j k"],
    mask: Bool[np.ndarray, "i j k"],
    *,
    spacing_mm: Float64[np.ndarray, "3"],
) -> _SurfaceDistances | Empty:
    """Measure the distances between two surfaces, both ways, in one pass over their joint box.

    Args:
        truth: What a person drew.
        mask: What is to be judged.
        spacing_mm: Distance of neighbouring voxels along i, j and k; the axes are taken as
            perpendicular.

    Returns:
        Distances and areas, or which of the masks is empty.
    """
    empty = which_empty(truth, mask)
    if empty is not None:
        return empty
    box = _joint_box(truth, mask)
    truth_at, truth_mm2 = _surface(truth[box], spacing_mm)
    mask_at, mask_mm2 = _surface(mask[box], spacing_mm)
    return _SurfaceDistances(
        from_truth_mm=_distance_to(mask_at, spacing_mm)[truth_at].astype(np.float64),
        truth_mm2=truth_mm2,
        from_mask_mm=_distance_to(truth_at, spacing_mm)[mask_at].astype(np.float64),
        mask_mm2=mask_mm2,
    )


def hd95_mm(distances: _SurfaceDistances) -> float:
    """Return the larger of the two distances within which 95 % of each surface's area lies.

    Source:
        Reinke et al. 2024, "Understanding metric-related pitfalls in image analysis validation",
        Nature Methods 21: percentile per direction first, then the larger.
    """
    there = _share_within(distances.from_truth_mm, distances.truth_mm2, 0.95)
    back = _share_within(distances.from_mask_mm, distances.mask_mm2, 0.95)
    return max(there, back)


def assd_mm(distances: _SurfaceDistances) -> float:
    """Return the mean distance over the area of both surfaces together."""
    there = distances.from_truth_mm @ distances.truth_mm2
    back = distances.from_mask_mm @ distances.mask_mm2
    return float((there + back) / (distances.truth_mm2.sum() + distances.mask_mm2.sum()))


def normalised_surface_dice(distances: _SurfaceDistances, *, tolerance_mm: float) -> float:
    """Return the share of both surfaces' area that lies within a tolerance of the other surface.

    Args:
        distances: Both ways, from `surface_distances`.
        tolerance_mm: The largest distance that is still called right.

    Returns:
        A share in [0, 1].

    Source:
        Nikolov et al. 2018, "Deep learning to achieve clinically applicable segmentation of head
        and neck anatomy for radiotherapy", arXiv:1809.04430, surface Dice at a tolerance.
    """
    limit = tolerance_mm + _ROUNDING_MM
    right = distances.truth_mm2[distances.from_truth_mm <= limit].sum()
    right += distances.mask_mm2[distances.from_mask_mm <= limit].sum()
    return float(right / (distances.truth_mm2.sum() + distances.mask_mm2.sum()))


def _joint_box(
    truth: Bool[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"]
) -> tuple[slice, slice, slice]:
    ends: list[slice] = []
    for axis in range(3):
        across = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(truth.any(axis=across) | mask.any(axis=across))
        ends.append(slice(int(used[0]), int(used[-1]) + 1))
    return ends[0], ends[1], ends[2]


def _surface(
    mask: Bool[np.ndarray, "i j k"], spacing_mm: Float64[np.ndarray, "3"]
) -> tuple[Bool[np.ndarray, "a b c"], Float64[np.ndarray, " n"]]:
    """Find the voxel corners on a mask's surface, and the area each of them stands for.

    The area of a surface is the integral of the gradient's length of the function that is 1 inside
    and 0 outside; at each corner that gradient is estimated from the eight voxels around it. This
    is exact for walls along the axes and along their diagonals.

    Args:
        mask: Cropped to what matters; outside of it nothing is set.
        spacing_mm: Distance of neighbouring voxels.

    Returns:
        Which corners are surface (one more than voxels along each axis), and mm^2 of each.

    Source:
        Federer 1959, "Curvature Measures", Trans. AMS 93: the coarea formula.
    """
    padded = np.pad(mask, 1)
    ends = [(slice(None, -1), slice(1, None))] * 3
    around = [padded[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]]
    inside = np.zeros(around[0].shape, np.uint8)
    for voxels in around:
        inside += voxels
    at = (inside > 0) & (inside < len(around))
    eight = np.stack([voxels[at] for voxels in around]).astype(np.float64).reshape(2, 2, 2, -1)
    slopes = [
        np.diff(eight, axis=axis).reshape(4, -1).mean(axis=0) / spacing_mm[axis]
        for axis in range(3)
    ]
    area_mm2 = np.linalg.norm(slopes, axis=0) * np.prod(spacing_mm)
    return at, np.asarray(area_mm2, dtype=np.float64)


def _distance_to(at: Bool[np.ndarray, "a b c"], spacing_mm: Float64[np.ndarray, "3"]) -> np.ndarray:
    """Return how far each corner is from the nearest corner of a surface, in millimetres."""
    anisotropy = tuple(float(step) for step in spacing_mm)
    return np.asarray(edt.edt(np.ascontiguousarray(~at), anisotropy=anisotropy, parallel=1))


def _share_within(
    distances_mm: Float64[np.ndarray, " n"], area_mm2: Float64[np.ndarray, " n"], share: float
) -> float:
    """Return the smallest distance within which at least a share of the area lies."""
    order = np.argsort(distances_mm)
    area = np.cumsum(area_mm2[order])
    enough = int(np.searchsorted(area, share * area[-1] * (1 - 1e-9)))
    return float(distances_mm[order[enough]])
