"""Regions that tags led to, as soft labels: sure in their cores, doubtful at their borders."""

from collections.abc import Mapping
from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Bool, Float32

from voxhint.core import SoftLabel
from voxhint.propagate.constraints import Constraints

_OUTER_MM, _OUTER = 1.0, 0.4  # just outside the border: how far, and the share of trust left
_INNER_MM, _INNER = 1.0, 0.6  # just inside
_ELSEWHERE = 0.25  # where more saliency lies that the region does not explain


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Where a label was found in a case that is tagged to hold it."""

    inside: Bool[np.ndarray, "i j k"]
    above: Bool[np.ndarray, "i j k"]
    """Where saliency lies above what healthy images show."""


def with_regions(
    soft: SoftLabel, constraints: Constraints, regions: Mapping[int, Region], *, trust: float
) -> SoftLabel:
    """Lay regions over what other hints imply; facts stay facts.

    Args:
        soft: What the other hints of the case imply.
        constraints: What they prove.
        regions: By class number.
        trust: In the core of a region and far from it.

    Returns:
        The soft label of both.
    """
    belief, plausible = soft.belief, soft.plausibility
    for number, region in regions.items():
        sure = trust * _sureness(region, soft.grid.spacing_mm)
        inside = region.inside.astype(np.float32)
        belief[number] = np.maximum(belief[number], sure * inside)
        plausible[number] = np.minimum(plausible[number], 1 - sure * (1 - inside))
    # background is what is left where no label is plausible, and no more than labels leave it
    belief[0] = np.maximum(belief[0], 1 - plausible[1:].sum(0))
    rest = 1 - (belief.sum(0, keepdims=True) - belief)
    belief = np.clip(np.minimum(belief, constraints.possible), constraints.proven, None)
    plausible = np.clip(np.minimum(plausible, rest), belief, None)
    plausible = np.minimum(plausible, np.maximum(constraints.possible, belief))
    return SoftLabel.of_bounds(
        belief.astype(np.float32), plausible.astype(np.float32), constraints.grid
    )


def _sureness(
    region: Region, spacing_mm: Float32[np.ndarray, "3"] | np.ndarray
) -> Float32[np.ndarray, "i j k"]:
    """Return the share of trust at each voxel: less at borders and at saliency left unexplained."""
    inside = np.ascontiguousarray(region.inside)
    step = tuple(float(s) for s in spacing_mm)
    outer = edt.edt(np.ascontiguousarray(~inside), anisotropy=step)
    inner = edt.edt(inside, anisotropy=step)
    sure = np.ones(inside.shape, np.float32)
    sure[region.above & ~inside] = _ELSEWHERE
    sure[~inside & (outer <= _OUTER_MM)] = _OUTER
    sure[inside & (inner <= _INNER_MM)] = _INNER
    return sure
