"""Means over cases with intervals that respect subjects: all cases of a person stay together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES = 2000
"""How often the subjects are drawn anew, with replacement, unless told otherwise."""

_PERCENTS = (2.5, 97.5)
_FEWEST_SUBJECTS = 2  # one person says nothing about how people differ


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and how sure it is; None where there is nothing to average."""

    mean: float | None
    median: float | None
    low: float | None
    """Lower end of the 95 % interval over subjects; None with fewer than two subjects."""

    high: float | None
    n: int
    """Cases that count."""

    subjects: int
    """Subjects those cases belong to."""


@dataclass(frozen=True, slots=True)
class _Interval:
    """Where a number lies in 95 % of draws of the subjects; None if that cannot be told."""

    low: float | None
    high: float | None


def interval(
    statistic: Callable[[Int64[np.ndarray, "draw subject"]], Float64[np.ndarray, " draw"]],
    subjects: int,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> _Interval:
    """Draw subjects anew, with replacement, and see how far a number moves.

    Args:
        statistic: Gives the number for each draw of subjects, told by their places; NaN for draws
            that give none, which are left out.
        subjects: How many there are.
        rng: Draws the subjects; untouched if there are fewer than two.
        resamples: How often they are drawn.

    Returns:
        The percentile interval.

    Source:
        Efron 1979, "Bootstrap Methods", Annals of Statistics 7; whole subjects drawn as in Davison
        and Hinkley 1997, section 3.8.
    """
    if subjects < _FEWEST_SUBJECTS:
        return _Interval(None, None)
    found = statistic(rng.integers(0, subjects, (resamples, subjects)))
    low, high = np.percentile(found[~np.isnan(found)], _PERCENTS)
    return _Interval(float(low), float(high))


def estimate(
    values: Float64[np.ndarray, "case label"],
    subjects: Sequence[str],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Average over cases, then over labels, and draw subjects anew for the interval.

    Args:
        values: A row per case; NaN where a case does not count for a label.
        subjects: Whom each row belongs to.
        rng: Draws the subjects; untouched if fewer than two subjects count.
        resamples: How often they are drawn.

    Returns:
        The mean of the labels' means, the mean of their medians, and the interval of the mean.
    """
    counts = ~np.isnan(values)
    rows = counts.any(axis=1)
    values, counts = values[rows], counts[rows]
    kept = [subject for subject, row in zip(subjects, rows, strict=True) if row]
    order = {subject: number for number, subject in enumerate(dict.fromkeys(kept))}
    if not order:
        return Estimate(mean=None, median=None, low=None, high=None, n=0, subjects=0)
    owner = np.array([order[subject] for subject in kept])
    sums = np.zeros((len(order), values.shape[1]))
    sizes = np.zeros_like(sums)
    np.add.at(sums, owner, np.where(counts, values, 0.0))
    np.add.at(sizes, owner, counts)
    used = counts.any(axis=0)
    medians = [float(np.median(values[counts[:, label], label])) for label in np.flatnonzero(used)]
    everyone = np.arange(len(order))[None]
    ends = interval(
        lambda drawn: _mean_of_means(sums, sizes, drawn), len(order), rng=rng, resamples=resamples
    )
    return Estimate(
        mean=float(_mean_of_means(sums, sizes, everyone)[0]),
        median=float(np.mean(medians)),
        low=ends.low,
        high=ends.high,
        n=len(kept),
        subjects=len(order),
    )


def _mean_of_means(
    sums: Float64[np.ndarray, "subject label"],
    sizes: Float64[np.ndarray, "subject label"],
    drawn: Int64[np.ndarray, "draw subject"],
) -> Float64[np.ndarray, " draw"]:
    """Return the mean over labels of the mean over cases, for each draw of subjects.

    A label none of whose cases was drawn is left out of that draw.
    """
    total, size = np.zeros(len(drawn)), np.zeros(len(drawn))
    for label in range(sums.shape[1]):
        cases = sizes[drawn, label].sum(axis=1)
        total += np.where(cases > 0, sums[drawn, label].sum(axis=1) / np.maximum(cases, 1), 0.0)
        size += cases > 0
    return np.asarray(total / size, dtype=np.float64)
