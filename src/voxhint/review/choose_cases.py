"""Which cases are worth a picture: the worst, the least sure, the strongest findings."""

from collections.abc import Mapping, Sequence
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
    """Choose the worst cases, the middle one and the best by mean Dice over labels.

    Args:
        scores: Of all cases; those whose truth lacks every label are not chosen.
        each: How many of the worst, and no more than half of all.

    Returns:
        The choices from worst to best, no case twice.
    """
    dices: dict[str, dict[str, float]] = {}
    for row in scores:
        if row.dice is not None:
            dices.setdefault(row.case, {})[row.label] = row.dice
    means = {case: float(np.mean(list(found.values()))) for case, found in dices.items()}
    ranked = sorted(means, key=lambda case: (means[case], case))
    count = len(ranked)
    reasons = dict.fromkeys(range(count - 1, count), "the best") if count else {}
    reasons |= dict.fromkeys(range(count // 2, min(count // 2 + 1, count)), "in the middle")
    reasons |= dict.fromkeys(range(min(each, count // 2)), "among the worst")
    if count == 1:
        reasons = {0: "the only one"}
    return [
        Choice(
            ranked[place], f"{reasons[place]}: {_tell(means[ranked[place]], dices[ranked[place]])}"
        )
        for place in sorted(reasons)
    ]


def choose_highest(values: Mapping[str, float], *, words: str, count: int) -> list[Choice]:
    """Choose the cases with the highest values.

    Args:
        values: By case; values of 0 are not chosen.
        words: Why, with `{}` where the value in per cent goes.
        count: How many at most.

    Returns:
        The choices, the highest first.
    """
    ranked = sorted(values, key=lambda case: (-values[case], case))
    return [
        Choice(case, words.format(f"{values[case]:.0%}"))
        for case in ranked[:count]
        if values[case] > 0
    ]


def choose_evenly(cases: Sequence[str], *, count: int) -> list[Choice]:
    """Choose cases spread evenly over a list.

    Returns:
        The first, the last, and what lies evenly between.
    """
    if not cases:
        return []
    places = np.linspace(0, len(cases) - 1, min(count, len(cases))).round().astype(int)
    return [Choice(cases[place], "") for place in places]


def merge(*choices: Sequence[Choice]) -> list[Choice]:
    """Return each chosen case once, with all its reasons, in the order of the first."""
    reasons: dict[str, list[str]] = {}
    for choice in (one for chosen in choices for one in chosen):
        reasons.setdefault(choice.case, []).append(choice.reason)
    return [Choice(case, "; ".join(filter(None, found))) for case, found in reasons.items()]


def _tell(mean: float, dices: Mapping[str, float]) -> str:
    each = ", ".join(f"{label} {dice:.3f}" for label, dice in dices.items())
    return f"Dice {each}" if len(dices) == 1 else f"mean Dice {mean:.3f} ({each})"
