"""What a model says of a case, as hints are propagated: doubted where they contradict it."""

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from voxhint.core import SoftLabel
from voxhint.propagate.constraints import Constraints
from voxhint.propagate.prior import Prior

_LEAN = 3.0  # natural logarithm of odds: most that distance may speak against what a model says
_LEAST = 0.02  # probability below which a model's no is no surer
_DOUBT = 1.0  # caps around a hint that contradicts the model, within which the model is doubted


def doubted(
    prior: Float32[np.ndarray, "class i j k"], constraints: Constraints, cap_mm: float
) -> Prior:
    """Return what a model says, with doubt around the hints that contradict it.

    Args:
        prior: Probabilities of the model.
        constraints: What hints prove, on the same grid.
        cap_mm: How far labels reach.
    """
    said = prior.argmax(0)
    proven = np.where(constraints.proven.max(0) > 0.5, constraints.proven.argmax(0), said)
    wrong = proven != said
    logs = np.log(np.clip(prior, _LEAST, 1))
    if wrong.any():
        away = ndimage.distance_transform_edt(~wrong, constraints.grid.spacing_mm)
        logs *= 1 - np.exp(-0.5 * (away / (_DOUBT * cap_mm)) ** 2)
    return Prior(logs.astype(np.float32), _LEAN)


def chances_of(
    soft: SoftLabel, prior: Float32[np.ndarray, "class i j k"] | None
) -> Float32[np.ndarray, "class i j k"]:
    """Return the probability of each class; what nothing is known of is as the model says."""
    chances = soft.probs * (soft.trust > 0)
    if prior is None:
        chances[0] = np.maximum(1 - chances[1:].sum(0), 0)
        return chances
    return np.where(soft.trust.max(0) > 0, chances, prior).astype(np.float32)
