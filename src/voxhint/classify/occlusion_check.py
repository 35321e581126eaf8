"""Whether regions are what a classifier saw: it must miss them when they are taken away."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from voxhint.prepare.inpaint import Image, Region, without

_SHARE = 0.3  # of the logit lost without all regions, which a believed one gives alone
_Score = Callable[[Image], float]
"""A classifier's logit of a label in a prepared image."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a classifier makes of candidates."""

    whole: float
    """Logit lost when all of them are taken away."""

    effects: tuple[float, ...]
    """Logit that each gives when the others are gone."""

    kept: tuple[int, ...]
    """Numbers of those that are believed, the largest effect first."""


def swap_test(
    image: Image,
    regions: Sequence[Region],
    score: _Score,
    *,
    spacing_mm: tuple[float, float, float],
) -> _Verdict:
    """Try each region alone: how much does the classifier see with it that it does not see without?

    All other regions are taken away first. A soft maximum over places barely misses one of two
    lesions, but it misses the last one.

    Args:
        image: As the classifier sees it.
        regions: Candidates on its grid.
        score: Best of a classifier that did not lead to the regions.
        spacing_mm: Of the image.

    Returns:
        What each region does, and which are believed.
    """
    everything = np.logical_or.reduce([np.zeros(image.shape[1:], bool), *regions])

    def left(hidden: Region) -> float:
        return score(without(image, hidden, spacing_mm=spacing_mm))

    bare = left(everything)
    whole = score(image) - bare
    effects = tuple(left(everything & ~region) - bare for region in regions)
    ranked = sorted(range(len(regions)), key=lambda number: -effects[number])
    kept = tuple(n for n in ranked if effects[n] > 0 and effects[n] >= _SHARE * whole)
    return _Verdict(whole, effects, kept)
