"""Undo preparation: probabilities of the working grid on the scanner's own grid."""

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.core import Grid, SoftLabel
from voxhint.prepare import back_from

_CERTAIN = 0.999  # belief and plausibility within this of 1 and 0 are facts


def restore(
    probs: Float32[np.ndarray, "class a b c"], working: Grid, source: Grid
) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities on the grid of the image they came from.

    Each class is mixed linearly between voxels, so a mask taken afterwards has smooth outlines.

    Args:
        probs: On the working grid.
        working: Where they lie.
        source: The first channel's own grid.
    """
    return np.stack([back_from(p, working, source) for p in probs])


def respect(
    probs: Float32[np.ndarray, "class i j k"], facts: SoftLabel
) -> UInt8[np.ndarray, "i j k"]:
    """Return the likeliest class of every voxel among those the facts allow.

    Args:
        probs: What the network says.
        facts: What the hints prove, on the same grid.

    Returns:
        Class numbers: a proven class where there is one, never a class that is ruled out.
    """
    ruled_out = facts.plausibility <= 1 - _CERTAIN
    allowed = np.where(ruled_out & ~ruled_out.all(0), -1.0, probs)
    allowed = np.where(facts.belief >= _CERTAIN, 2.0, allowed)
    return np.asarray(allowed.argmax(0), np.uint8)
