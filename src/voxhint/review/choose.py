"""Which cases are worth a picture: the worst, the middling and the best, or an even sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxhint.measure.score import CaseScore


@dataclass(frozen=True, slots=True)
class Choice:
    """A case to show, and why."""

    case: str
    reason: str
    """In words, ready for a caption; empty if it is one of many."""


def choose_scored(scores: Sequence[CaseScore], *, each: int) -> list[Choice]:
    """Choose the worst, the middling and the best cases by mean Dice over labels.

    Args:
        scores: Of all cases; those whose truth lacks every label are not chosen.
        each: How many of each kind; with few cases, none is shown twice.

    Returns:
        The choices from worst to best.
    """
    dices: dict[str, dict[str, float]] = {}
    for row in scores:
        if row.dice is not None:
            dices.setdefault(row.case, {})[row.label] = row.dice
    means = {case: float(np.mean(list(found.values()))) for case, found in dices.items()}
    ranked = sorted(means, key=lambda case: (means[case], case))
    count = len(ranked)
    worst = range(min(each, count))
    best = range(max(count - each, 0), count)
    middle = range(max((count - each) // 2, 0), min((count - each) // 2 + each, count))
    reasons = {place: "in the middle" for place in middle if 0 <= place < count}
    reasons |= dict.fromkeys(best, "among the best") | dict.fromkeys(worst, "among the worst")
    return [
        Choice(
            ranked[place], f"{reasons[place]}; {_tell(means[ranked[place]], dices[ranked[place]])}"
        )
        for place in sorted(reasons)
    ]


def choose_evenly(cases: Sequence[str], *, count: int) -> list[Choice]:
    """Choose cases spread evenly over a list.

    Args:
        cases: To choose from.
        count: How many at most.

    Returns:
        The first, the last, and what lies evenly between.
    """
    if not cases:
        return []
    places = np.linspace(0, len(cases) - 1, min(count, len(cases))).round().astype(int)
    return [Choice(cases[place], "") for place in places]


def _tell(mean: float, dices: dict[str, float]) -> str:
    each = ", ".join(f"{label} {dice:.3f}" for label, dice in dices.items())
    return f"Dice {each}" if len(dices) == 1 else f"mean Dice {mean:.3f} ({each})"
