"""What a score means: the probability that a label is present."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


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

    def negative_log_likelihood(curve: np.ndarray) -> float:
        logits = curve[0] * scores + curve[1]
        return float(np.sum(np.logaddexp(0, logits) - wanted * logits))

    slope, intercept = minimize(negative_log_likelihood, np.array([1.0, 0.0])).x
    return Calibration(float(slope), float(intercept))
