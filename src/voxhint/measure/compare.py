"""Whether one set of masks is better than another, told from the same cases, subject by subject."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from voxhint.core.errors import BadFileError
from voxhint.core.words import counted
from voxhint.measure.confidence_intervals import estimate
from voxhint.measure.score import CaseScore

_FEWEST_SUBJECTS = 6  # with five, even the clearest result has p = 0.0625

_MEASURES: Mapping[str, Callable[[CaseScore], float | None]] = {
    "dice": lambda row: row.dice,
    "nsd": lambda row: row.nsd,
    "hd95_mm": lambda row: row.hd95_mm,
    "assd_mm": lambda row: row.assd_mm,
}
"""What is compared; each is None where the truth lacks the label."""


@dataclass(frozen=True, slots=True)
class Difference:
    """These masks minus the other ones, for one label and one measure."""

    mean: float | None
    low: float | None
    """Lower end of the 95 % interval over subjects."""

    high: float | None
    n: int
    subjects: int
    p: float | None
    """Two-sided Wilcoxon signed-rank test on subject means; None if it cannot be done."""

    p_corrected: float | None
    """The same after Holm's correction over the labels."""

    note: str | None
    """Why there is no test, if there is none."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two sets of masks of the same cases differ."""

    against: str
    """What the other masks are called."""

    labels: Mapping[str, Mapping[str, Difference]]
    """By label, then by measure: dice, nsd, hd95_mm, assd_mm."""


def compare(
    cases: Sequence[CaseScore],
    others: Sequence[CaseScore],
    *,
    against: str,
    rng: np.random.Generator,
) -> Comparison:
    """Compare two sets of scores of the same cases against the same truth.

    Args:
        cases: Scores of the masks at hand.
        others: Scores of the masks to compare with.
        against: What the other masks are called.
        rng: Draws the subjects for the intervals.

    Returns:
        Mean differences (these minus the others), intervals and tests, by label and measure.

    Raises:
        BadFileError: The two do not cover the same cases, labels and truth.
    """
    pairs = _paired(cases, others)
    labels = list(dict.fromkeys(row.label for row, _ in pairs))
    found: dict[str, dict[str, Difference]] = {label: {} for label in labels}
    for name, measure in _MEASURES.items():
        differences = [
            _difference([pair for pair in pairs if pair[0].label == label], measure, rng)
            for label in labels
        ]
        for label, difference in zip(labels, _holm(differences), strict=True):
            found[label][name] = difference
    return Comparison(against=against, labels=found)


def _paired(
    cases: Sequence[CaseScore], others: Sequence[CaseScore]
) -> list[tuple[CaseScore, CaseScore]]:
    theirs = {(row.case, row.label): row for row in others}
    ours = {(row.case, row.label): row for row in cases}
    alone = sorted(set(ours) ^ set(theirs))
    if alone:
        case, label = alone[0]
        msg = (
            f"the two sets of scores differ in {len(alone)} rows, first case {case}, "
            f"label {label}; they must cover the same cases and labels; "
            "measure both against one truth folder"
        )
        raise BadFileError(msg)
    pairs = [(ours[key], theirs[key]) for key in sorted(ours)]
    for row, other in pairs:
        if not math.isclose(row.truth_ml, other.truth_ml, rel_tol=1e-6, abs_tol=1e-9):
            msg = (
                f"case {row.case}, label {row.label}: the truth is {row.truth_ml:.4g} mL here and "
                f"{other.truth_ml:.4g} mL there; measure both against one truth folder"
            )
            raise BadFileError(msg)
    return pairs


def _difference(
    pairs: Sequence[tuple[CaseScore, CaseScore]],
    measure: Callable[[CaseScore], float | None],
    rng: np.random.Generator,
) -> Difference:
    apart: list[float] = []
    subjects: list[str] = []
    for row, other in pairs:
        here, there = measure(row), measure(other)
        if here is not None and there is not None:
            apart.append(here - there)
            subjects.append(row.subject)
    values = np.array(apart, np.float64)
    centre = estimate(values[:, None], subjects, rng=rng)
    people = np.array(subjects)
    by_subject = np.array([values[people == one].mean() for one in dict.fromkeys(subjects)])
    p, note = _signed_rank(by_subject.astype(np.float64))
    return Difference(
        mean=centre.mean,
        low=centre.low,
        high=centre.high,
        n=centre.n,
        subjects=centre.subjects,
        p=p,
        p_corrected=None,
        note=note,
    )


def _signed_rank(by_subject: Float64[np.ndarray, " subject"]) -> tuple[float | None, str | None]:
    """Return the p-value, or why there is none.

    Source:
        Wilcoxon 1945, "Individual Comparisons by Ranking Methods"; zero differences are dropped.
    """
    apart = by_subject[by_subject != 0]
    if len(by_subject) < _FEWEST_SUBJECTS:
        told = counted(len(by_subject), "subject")
        return None, f"{told}; a paired test needs {_FEWEST_SUBJECTS}"
    if len(apart) < _FEWEST_SUBJECTS:
        note = f"only {len(apart)} of {len(by_subject)} subjects differ; "
        return None, note + f"a paired test needs {_FEWEST_SUBJECTS}"
    from scipy.stats import wilcoxon

    return float(wilcoxon(apart).pvalue), None


def _holm(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with p-values corrected for how many labels were tested.

    Source:
        Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    tested = sorted(
        (difference.p, place)
        for place, difference in enumerate(differences)
        if difference.p is not None
    )
    corrected = list(differences)
    floor = 0.0
    for rank, (p, place) in enumerate(tested):
        floor = max(floor, min(1.0, p * (len(tested) - rank)))
        corrected[place] = replace(differences[place], p_corrected=floor)
    return corrected
