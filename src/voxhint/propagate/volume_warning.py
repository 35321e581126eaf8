"""How large labels come out beside what their hints span, so that one that runs away is seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial import ConvexHull, QhullError

from voxhint.core import LabelSet, SoftLabel
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.propagate.constraints import Constraints

_RUNAWAY = 100.0  # volumes spanned by hints that a label fills when it has run away


@dataclass(frozen=True, slots=True)
class Extent:
    """Of one label in one case."""

    volume_ml: float
    """Of the voxels whose most probable class it is."""

    span_ml: float
    """Of the convex hull of its hints, voxel by voxel; of its box where it has one."""


def extents(
    soft: SoftLabel | CompactSoftLabel,
    constraints: Constraints | SparseConstraints,
    labels: LabelSet,
) -> dict[str, Extent]:
    """Measure each label that hints show in a case.

    Args:
        soft: What was made of the hints.
        constraints: What the hints prove, on the same grid.
        labels: Names of the classes.

    Returns:
        Volumes by label.
    """
    filled = np.zeros(len(labels.names), np.int64)
    for plane in soft.largest_class():  # counted in one go, a whole scan takes eight times itself
        filled += np.bincount(plane.ravel(), minlength=len(filled))
    found = {}
    for number, name in enumerate(labels.names):
        shown = constraints.shown(number) if number else ()
        if len(shown):
            volume = float(filled[number]) * constraints.grid.voxel_mm3 / 1000
            index = np.asarray(shown, np.float64)
            found[name] = Extent(volume, _span_ml(index, constraints.grid.spacing_mm))
    return found


def typical_volumes(
    sizes: Mapping[str, Mapping[str, Extent]], labels: LabelSet
) -> dict[str, dict[str, float]]:
    """Return the median volume of each label and of what its hints span, and of how many cases."""
    found = {}
    for name in labels.foreground:
        known = [case[name] for case in sizes.values() if name in case]
        if known:
            found[name] = {
                "label": round(float(np.median([one.volume_ml for one in known])), 3),
                "hints_span": round(float(np.median([one.span_ml for one in known])), 3),
                "cases": len(known),
            }
    return found


def runaways(sizes: Mapping[str, Mapping[str, Extent]]) -> list[str]:
    """Return a warning for each label that fills far more than its hints span."""
    return [
        f"case {case}: label '{name}' fills {one.volume_ml:.3g} mL, its hints span "
        f"{one.span_ml:.3g} mL; look at it, and show background around it"
        for case, labels in sizes.items()
        for name, one in labels.items()
        if one.volume_ml > _RUNAWAY * one.span_ml
    ]


def _span_ml(index: Float64[np.ndarray, "n 3"], spacing_mm: Float64[np.ndarray, "3"]) -> float:
    half = np.array([[a, b, c] for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5)])
    rim = index[_outermost(index)]
    corners = (rim[:, None] + half).reshape(-1, 3) * spacing_mm
    try:
        return float(ConvexHull(corners).volume) / 1000
    except QhullError:  # voxels too small to have a hull in floating point
        return float(np.prod(np.ptp(corners, axis=0))) / 1000


def _outermost(index: Float64[np.ndarray, "n 3"]) -> Int64[np.ndarray, " m"]:
    """Return the first and last voxel of every row: no other can be a corner of the hull."""
    order = np.lexsort(index.T[::-1])
    rows = index[order, :2]
    first = np.r_[True, (rows[1:] != rows[:-1]).any(1)]
    last = np.r_[first[1:], True]
    return np.asarray(order[first | last])
