"""Slips of the people who hint: two labels at one place, a label forgotten in some cases."""

from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np

from voxhint.core.grid import Grid
from voxhint.core.hints import Points
from voxhint.files.hint_tables import Placed
from voxhint.files.problems import Problem
from voxhint.files.study.layout import some

_USUAL = 0.8  # share of the cases with hints that tell of a label
_FEWEST = 5  # cases with hints that make a habit


def double_clicks(placed: Sequence[Placed], grid: Grid) -> Iterator[Problem]:
    """Yield a warning where clicks of two labels lie in one voxel.

    Args:
        placed: Hints of one case.
        grid: Of its first channel, on which labels lie.

    Yields:
        One warning for the case; labelling shares the voxel between the labels.
    """
    clicks = [(item.where, item.hint) for item in placed if isinstance(item.hint, Points)]
    places = [np.zeros((0, 3)), *(hint.positions_mm for _, hint in clicks)]
    index = np.round(grid.to_index(np.concatenate(places)))
    labels = (hint.label for _, hint in clicks for _ in hint.positions_mm)
    clicked: dict[tuple[float, ...], set[str]] = {}
    for at, label in zip(index.tolist(), labels, strict=True):
        clicked.setdefault(tuple(at), set()).add(label)
    torn = [names for names in clicked.values() if len(names) > 1]
    if torn:
        case, names = placed[0].case, " and ".join(sorted(torn[0]))
        finding = f"case '{case}': {len(torn)} voxels are clicked for two labels ({names})"
        advice = "keep the ones that are right; until then they share the voxel"
        yield Problem(clicks[-1][0], finding, advice, "warning", case)


def forgotten(told: Mapping[str, Set[str]], labels: Sequence[str]) -> Iterator[Problem]:
    """Yield a warning for each label that nearly every case tells of, and some do not.

    Args:
        told: The labels told of in each case, tags included.
        labels: Foreground labels of the study.

    Yields:
        Warnings that name the cases; there the label stays unknown.
    """
    cases = {case: names for case, names in told.items() if names}
    for label in labels:
        silent = [case for case, names in cases.items() if label not in names]
        share = 1 - len(silent) / max(1, len(cases))
        if len(cases) >= _FEWEST and silent and share >= _USUAL:
            finding = f"{len(silent)} of {len(cases)} cases tell nothing of '{label}'"
            advice = "add hints, or a tag that says absent"
            yield Problem("hints", f"{finding} ({some(silent)})", advice, "warning")
