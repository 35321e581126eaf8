"""How well scores tell the images that hold a label from those that do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from voxhint.core.errors import VoxhintError
from voxhint.measure.confidence_intervals import RESAMPLES, interval


@dataclass(frozen=True, slots=True)
class Ranking:
    """How often a case with the label scores higher than one without it."""

    auc: float | None
    """Area under the ROC curve; None unless there are cases of both kinds."""

    low: float | None
    """Lower end of the 95 % interval over subjects; None with fewer than two subjects."""

    high: float | None
    positives: int
    negatives: int
    subjects: int


def _roc_auc(scores: Float[np.ndarray, " case"], truth: Bool[np.ndarray, " case"]) -> float | None:
    """Measure how often a case with the label scores higher than one without it.

    Args:
        scores: One for each case, larger for "has the label".
        truth: Which cases have it.

    Returns:
        Area under the ROC curve, ties counted half; None unless there are cases of both kinds.

    Raises:
        VoxhintError: A score is not a number.

    Source:
        Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating
        Characteristic (ROC) Curve", Radiology 143.
    """
    _require_numbers(scores)
    area = _area(_levels(scores), truth, np.ones(len(scores)))
    return None if np.isnan(area) else area


def ranking(
    scores: Float[np.ndarray, " case"],
    truth: Bool[np.ndarray, " case"],
    subjects: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Ranking:
    """Measure the area under the ROC curve and draw subjects anew for its interval.

    Args:
        scores: One for each case, larger for "has the label".
        truth: Which cases have it.
        subjects: Whom each case belongs to; all cases of a subject are drawn together.
        rng: Draws the subjects; untouched with fewer than two.
        resamples: How often they are drawn.

    Returns:
        The area, its interval, and how many it rests on. Draws without cases of both kinds are
        left out.

    Raises:
        VoxhintError: A score is not a number.
    """
    auc = _roc_auc(scores, truth)
    order = {subject: number for number, subject in enumerate(dict.fromkeys(subjects))}
    owner = np.array([order[subject] for subject in subjects], np.int64)
    levels = _levels(scores)

    def areas(drawn: Int64[np.ndarray, "draw subject"]) -> Float64[np.ndarray, " draw"]:
        times = (np.bincount(one, minlength=len(order)) for one in drawn)
        return np.array([_area(levels, truth, one[owner].astype(np.float64)) for one in times])

    known = len(order) if auc is not None else 0
    ends = interval(areas, known, rng=rng, resamples=resamples)
    positives = int(truth.sum())
    return Ranking(
        auc=auc,
        low=ends.low,
        high=ends.high,
        positives=positives,
        negatives=len(truth) - positives,
        subjects=len(order),
    )


def _require_numbers(scores: Float[np.ndarray, " case"]) -> None:
    missing = int(np.isnan(scores).sum())
    if missing:
        msg = (
            f"{missing} of {len(scores)} scores are not numbers; every case needs one; "
            "leave out the cases that have none"
        )
        raise VoxhintError(msg)


def _levels(scores: Float[np.ndarray, " case"]) -> Int64[np.ndarray, " case"]:
    """Return the rank of each score, ties alike."""
    return np.unique(scores, return_inverse=True)[1].astype(np.int64)


def _area(
    levels: Int64[np.ndarray, " case"],
    truth: Bool[np.ndarray, " case"],
    times: Float64[np.ndarray, " case"],
) -> float:
    """Return the area under the ROC curve when each case counts so many times; NaN without pairs.

    A level of scores adds its positives times the negatives below it and half of those beside it.
    """
    positives = np.bincount(levels, times * truth)
    negatives = np.bincount(levels, times * ~truth)
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / pairs) if pairs else float("nan")
