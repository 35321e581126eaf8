"""What a score means: thresholds from images known to be free of a label, and probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

_KEPT = 2_000_000  # values that decide a quantile


def null_threshold(
    maps: Iterable[Float32[np.ndarray, "..."]], quantile: float, *, rng: np.random.Generator
) -> float:
    """Return what a map exceeds by chance only: a quantile over images tagged absent.

    Args:
        maps: Maps of training images tagged absent, at least one.
        quantile: Such as 0.995: the share of healthy voxels below the threshold.
        rng: Chooses the voxels that are looked at where there are too many.

    Returns:
        The threshold, in the unit of the map.
    """
    kept: list[np.ndarray] = []
    size = 0
    for values in maps:
        kept.append(values.ravel())
        size += kept[-1].size
        if size > 2 * _KEPT:
            kept = [rng.choice(np.concatenate(kept), _KEPT, replace=False)]
            size = _KEPT
    return float(np.quantile(np.concatenate(kept), quantile))


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic curve from an image's score to the probability that its label is present."""

    slope: float
    intercept: float

    def probability(self, score: float) -> float:
        """Return the probability of presence."""
        return float(1 / (1 + np.exp(-(self.slope * score + self.intercept))))


def calibrate(scores: Float[np.ndarray, " case"], truth: Bool[np.ndarray, " case"]) -> Calibration:
    """Fit the curve to tags that the network was not trained on.

    Args:
        scores: One logit for each image.
        truth: Which of them are tagged present.

    Returns:
        The curve of largest likelihood; targets are drawn in a little, so that a perfect split
        does not ask for an endless slope.

    Source:
        Platt 1999, "Probabilistic outputs for support vector machines", section 2.2.
    """
    from scipy.optimize import minimize

    present, absent = int(truth.sum()), int((~truth).sum())
    wanted = np.where(truth, (present + 1) / (present + 2), 1 / (absent + 2))

    def surprise(curve: np.ndarray) -> float:
        logits = curve[0] * scores + curve[1]
        return float(np.sum(np.logaddexp(0, logits) - wanted * logits))

    slope, intercept = minimize(surprise, np.array([1.0, 0.0])).x
    return Calibration(float(slope), float(intercept))
