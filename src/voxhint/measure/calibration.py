"""Whether probabilities can be believed, and whether mistakes lie where a network is unsure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from voxhint.core.labels import UNDRAWN
from voxhint.measure.confidence_intervals import RESAMPLES, Estimate, estimate

_BINS = 15
_POSSIBLE = 0.01  # probability above which a label is thought possible
_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)
"""Shares of the voxels, the surest first, at which risk is told."""


@dataclass(frozen=True, slots=True)
class CaseTrust:
    """How far the probabilities of one case can be believed."""

    case: str
    subject: str
    ece: float | None
    """Expected calibration error; None where no voxel is thought possible."""

    risks: tuple[float | None, ...]
    """Share of mistakes among the surest voxels, at each of `_COVERAGES`."""

    aurc: float | None
    """Area under the curve of risk over coverage."""


@dataclass(frozen=True, slots=True)
class TrustTable:
    """How far probabilities can be believed, over all cases."""

    cases: tuple[CaseTrust, ...]
    coverages: tuple[float, ...]
    ece: Estimate
    risks: tuple[Estimate, ...]
    """At each of the coverages."""

    aurc: Estimate


def _expected_calibration_error(
    confidence: Float[np.ndarray, " voxel"], right: Bool[np.ndarray, " voxel"]
) -> float:
    """Return how far confidence is from the share that is right, over 15 bins of confidence.

    Args:
        confidence: In [0, 1]; at least one voxel.
        right: Whether the voxel is what was predicted.

    Returns:
        The mean over the voxels of |share right - mean confidence| of their bin.

    Source:
        Naeini, Cooper and Hauskrecht 2015, "Obtaining well calibrated probabilities using
        Bayesian binning".
    """
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    apart = np.bincount(bins, right - np.asarray(confidence, np.float64), _BINS)
    return float(np.abs(apart).sum() / confidence.size)


def _risk_curve(
    confidence: Float[np.ndarray, " voxel"], right: Bool[np.ndarray, " voxel"]
) -> Float[np.ndarray, " voxel"]:
    """Return the share of mistakes among the surest 1, 2, 3 ... voxels.

    Voxels of one confidence share their mistakes evenly, whatever their order.

    Source:
        El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification".
    """
    values, places = np.unique(-confidence, return_inverse=True)
    counts = np.bincount(places, minlength=len(values))
    wrong = np.bincount(places, ~right, len(values)) / counts
    ranks = np.arange(1, confidence.size + 1)
    return np.asarray(np.cumsum(np.repeat(wrong, counts)) / ranks)


def score_trust(
    probs: Float[np.ndarray, "class i j k"],
    truth: UInt8[np.ndarray, "i j k"],
    *,
    case: str,
    subject: str,
) -> CaseTrust:
    """Score the probabilities of one case where any label but the background is thought possible.

    The rest is background that everybody is sure of; it would hide every fault.

    Args:
        probs: Of each class, the background first.
        truth: Class of each voxel, `UNDRAWN` where the truth says nothing.
        case: The case's name.
        subject: The person the case belongs to.

    Returns:
        The scores, of the likeliest class of each voxel and its probability.
    """
    counts = (truth != UNDRAWN) & (probs[1:].max(0) > _POSSIBLE)
    if not counts.any():
        return CaseTrust(case, subject, None, (None,) * len(_COVERAGES), None)
    confidence = np.asarray(probs.max(0)[counts], np.float64)
    right = (probs.argmax(0) == truth)[counts]
    risk = _risk_curve(confidence, right)
    last = [max(1, round(share * risk.size)) - 1 for share in _COVERAGES]
    return CaseTrust(
        case=case,
        subject=subject,
        ece=_expected_calibration_error(confidence, right),
        risks=tuple(float(risk[place]) for place in last),
        aurc=float(risk.mean()),
    )


def tabulate_trust(
    cases: Sequence[CaseTrust], *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> TrustTable:
    """Average the scores of all cases, with intervals over subjects.

    Args:
        cases: In any order; the result does not depend on it.
        rng: Draws the subjects for the intervals.
        resamples: How often they are drawn.

    Returns:
        The table.
    """
    rows = sorted(cases, key=lambda row: row.case)

    def over(values: Sequence[float | None]) -> Estimate:
        column = np.array([[np.nan if value is None else value] for value in values])
        return estimate(column, [row.subject for row in rows], rng=rng, resamples=resamples)

    return TrustTable(
        cases=tuple(rows),
        coverages=_COVERAGES,
        ece=over([row.ece for row in rows]),
        risks=tuple(over(at) for at in zip(*(row.risks for row in rows), strict=True)),
        aurc=over([row.aurc for row in rows]),
    )
