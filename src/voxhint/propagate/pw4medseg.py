"""Point labels in the form published with PW4MedSeg, for several labels at once."""

import numpy as np
from jaxtyping import Float32

from voxhint.core import SoftLabel
from voxhint.propagate.bells import bells_mm
from voxhint.propagate.constraints import Constraints

_HALF = 0.5


def point_labels(constraints: Constraints, *, bell_mm: float) -> SoftLabel:
    """Return bells around the proven voxels of each label, normalised and cut as published.

    The sum of bells of each label is stretched to 0 to 1; above a half the voxel is the label's,
    with the height as its weight; elsewhere it is background with weight one minus the height.
    Where several labels are above a half, the highest has it.

    Args:
        constraints: What the hints prove; those in the background and all that they rule out are
            not looked at, as published.
        bell_mm: Standard deviation of the bells: 10 voxels of 1 mm as published.

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
            heights[number] = _stretched(bells_mm(places, constraints.grid, reach_mm=bell_mm))
    height, winner = heights.max(0), heights.argmax(0)
    winner[height <= _HALF] = 0
    probs = np.stack([winner == n for n in range(len(heights))]).astype(np.float32)
    weight = np.where(winner > 0, height, 1 - height)
    trust = np.broadcast_to(weight, probs.shape) * np.float32(heights.any())
    return SoftLabel(probs, trust.astype(np.float32), constraints.grid)


def _stretched(bells: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "i j k"]:
    low, high = float(bells.min()), float(bells.max())
    return ((bells - low) / max(high - low, 1e-12)).astype(np.float32)
