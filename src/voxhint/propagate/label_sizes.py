"""How much larger or smaller a label is in one case than usual, from how widely its marks lie."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxhint.core import LabelSet
from voxhint.propagate.distance_caps import Marks, Spread

_FEWEST_CASES = 5  # whose spreads tell what is usual


@dataclass(frozen=True, slots=True)
class UsualSize:
    """How widely the marks of a label lie in all cases."""

    log_mm: float
    """Median over cases of the logarithm of `Spread.mm`."""

    variance: float
    """Of that logarithm between cases, what the choice of marks adds taken away."""

    of_a_mark: float
    """Variance that the choice of marks adds, times their number."""

    @staticmethod
    def of(spreads: Sequence[Spread]) -> "UsualSize":
        """Return what the spreads of some cases have in common."""
        logs = np.log([spread.mm for spread in spreads])
        counts = np.array([spread.count for spread in spreads])
        of_a_mark = float(np.mean(counts * [spread.chance for spread in spreads]))
        variance = float(logs.var(ddof=1) - np.mean(of_a_mark / counts))
        return UsualSize(float(np.median(logs)), max(0.0, variance), of_a_mark)

    def times(self, spread: Spread | None) -> float:
        """Return how much larger the label is than usual, in one dimension.

        The spread of a case is believed as far as cases differ by more than the choice of their
        marks explains: organs of adults hardly do, tumours do.

        Args:
            spread: Of the marks of the label in the case.

        Returns:
            1 where its marks tell nothing of its size.

        Source:
            Efron and Morris 1975, "Data analysis using Stein's estimator and its generalizations".
        """
        if spread is None or not self.variance:
            return 1.0
        share = self.variance / (self.variance + self.of_a_mark / spread.count)
        return float(np.exp(share * (np.log(spread.mm) - self.log_mm)))


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
        spreads = [mark.spread for mark in marks if mark.spread is not None]
        if len(spreads) >= _FEWEST_CASES:
            found[name] = UsualSize.of(spreads)
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
    times = {name: usual[name].times(marks[name].spread) for name in usual if name in marks}
    return {name: cap * times.get(name, 1.0) for name, cap in caps_mm.items()}
