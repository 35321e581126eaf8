"""How much larger or smaller a label is in one case than usual, from how widely its marks lie."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from voxhint.core import LabelSet
from voxhint.propagate.distance_caps import Marks

_FEWEST_CASES = 5  # whose spreads tell what is usual


@dataclass(frozen=True, slots=True)
class UsualSize:
    """How widely the marks of a label lie in all cases."""

    log_spread: float
    """Median over cases of the logarithm of `Marks.spread_mm`."""

    variance: float
    """Of that logarithm between cases, what the choice of marks adds taken away."""

    of_a_mark: float
    """Variance that the choice of marks adds, times their number."""

    def times(self, marks: Marks) -> float:
        """Return how much larger the label is than usual, in one dimension.

        The spread of a case is believed as far as cases differ by more than the choice of their
        marks explains: organs of adults hardly do, tumours do.

        Args:
            marks: How the marks of the label lie in the case.

        Returns:
            1 where its marks tell nothing of its size.

        Source:
            Efron and Morris 1975, "Data analysis using Stein's estimator and its generalizations".
        """
        if marks.spread_mm is None or not self.variance:
            return 1.0
        share = self.variance / (self.variance + self.of_a_mark / marks.count)
        return float(np.exp(share * (np.log(marks.spread_mm) - self.log_spread)))


def usual_sizes(measured: Iterable[Mapping[str, Marks]], labels: LabelSet) -> dict[str, UsualSize]:
    """Learn how widely the marks of each label lie, and by how much cases differ.

    Args:
        measured: What `measure_marks` found in some or all cases.
        labels: Names of the classes.

    Returns:
        For each foreground label whose marks tell a spread in five cases or more.
    """
    cases, found = list(measured), {}
    for name in labels.foreground:
        marks = [case[name] for case in cases if name in case]
        told = [mark for mark in marks if mark.spread_mm is not None]
        if len(told) < _FEWEST_CASES:
            continue
        logs = np.log([mark.spread_mm or 1.0 for mark in told])
        of_a_mark = float(np.mean([mark.count * mark.chance for mark in told]))
        by_chance = float(np.mean([of_a_mark / mark.count for mark in told]))
        variance = max(0.0, float(logs.var(ddof=1)) - by_chance)
        found[name] = UsualSize(float(np.median(logs)), variance, of_a_mark)
    return found


def caps_of_case(
    caps_mm: Mapping[str, float], usual: Mapping[str, UsualSize], marks: Mapping[str, Marks]
) -> dict[str, float]:
    """Return how far each label reaches in one case.

    Args:
        caps_mm: From `distance_caps`, for the usual case.
        usual: From `usual_sizes`.
        marks: From `measure_marks`, of the case.
    """
    times = {name: usual[name].times(marks[name]) for name in usual if name in marks}
    return {name: cap * times.get(name, 1.0) for name, cap in caps_mm.items()}
