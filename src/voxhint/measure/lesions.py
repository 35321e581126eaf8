"""Lesions one by one: how many a mask finds, how many it invents, and FROC with its mean (CPM)."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from voxhint.core.grid import Grid
from voxhint.measure.confidence_intervals import interval

_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False regions an image at which FROC is read."""

_LEAST_IOU = 0.1
_SIZES = ((0.0, 6.0, "under 6 mm"), (6.0, 10.0, "6 to 10 mm"), (10.0, np.inf, "10 mm and more"))

_Voxels = Bool[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True)
class CaseLesions:
    """The lesions of one label in one case, and the regions of a mask that are none."""

    subject: str
    diameters_mm: tuple[float, ...]
    """Of each lesion of the truth: that of a ball of its volume."""

    scores: tuple[float | None, ...]
    """Of each lesion, that of the surest region on it; None if it was missed."""

    false_scores: tuple[float, ...]
    """Of each region of the mask on no lesion that was found."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A ratio of counts, with its 95 % interval over subjects; None where there is nothing."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class _SizeCount:
    """How many lesions of a size there are, and how many of them were found."""

    size: str
    lesions: int
    found: int
    cpm: float | None
    """As of all lesions, with false regions of any size; None without probabilities or lesions."""


@dataclass(frozen=True, slots=True)
class LesionSummary:
    """Detection of one label's lesions over all cases."""

    lesions: int
    found: int
    false_regions: int
    sensitivity: Rate
    false_per_image: Rate
    sizes: tuple[_SizeCount, ...]
    froc: tuple[float, ...] | None
    """Sensitivity at each of `_RATES` false regions an image; None without probabilities."""

    cpm: float | None
    """The mean of `froc`."""


def case_lesions(
    truth: _Voxels,
    mask: _Voxels,
    grid: Grid,
    *,
    subject: str,
    probability: Float[np.ndarray, "i j k"] | None = None,
) -> CaseLesions:
    """Hold the connected regions of a mask against those of the truth.

    A lesion is found if the regions of the mask that touch it have, together, an intersection
    over union of at least 0.1 with it. A region that touches no such lesion is false.

    Args:
        truth: Where the label is.
        mask: Where it is said to be.
        grid: Of both.
        subject: The person the case belongs to.
        probability: Of the label; the score of a region is the largest in it. 1 if not given.

    Returns:
        The lesions and the false regions.

    Source:
        The least intersection is that of nnDetection (Baumgartner et al. 2021, arXiv 2106.00817).
    """
    lesions, count = cc3d.connected_components(truth, connectivity=26, return_N=True)
    regions, number = cc3d.connected_components(mask, connectivity=26, return_N=True)
    lesion_sizes = np.bincount(lesions.ravel(), minlength=count + 1)
    region_sizes = np.bincount(regions.ravel(), minlength=number + 1)
    region_scores = np.ones(number + 1)
    if probability is not None:
        region_scores = np.zeros(number + 1)
        np.maximum.at(region_scores, regions.ravel(), np.asarray(probability).ravel())
    both = truth & mask
    pairs, shared = np.unique(
        np.stack([lesions[both], regions[both]]).astype(np.int64), axis=1, return_counts=True
    )
    scores: list[float | None] = []
    right: set[int] = set()
    for lesion in range(1, count + 1):
        on = pairs[0] == lesion
        touching, overlap = pairs[1][on], int(shared[on].sum())
        union = lesion_sizes[lesion] + region_sizes[touching].sum() - overlap
        if not len(touching) or overlap < _LEAST_IOU * union:
            scores.append(None)
            continue
        scores.append(float(region_scores[touching].max()))
        right |= set(touching.tolist())
    volumes = lesion_sizes[1:] * grid.voxel_mm3
    return CaseLesions(
        subject=subject,
        diameters_mm=tuple(np.cbrt(6 * volumes / np.pi).tolist()),
        scores=tuple(scores),
        false_scores=tuple(float(region_scores[n]) for n in range(1, number + 1) if n not in right),
    )


def are_lesions(cases: Sequence[CaseLesions]) -> bool:
    """Return whether a label comes in numbers: none, or several, in some case of the truth."""
    return any(len(case.scores) != 1 for case in cases) and any(case.scores for case in cases)


def summarise_lesions(
    cases: Sequence[CaseLesions],
    *,
    scored: bool,
    rng: np.random.Generator,
) -> LesionSummary:
    """Count over all cases.

    Args:
        cases: Of one label.
        scored: Whether regions have scores, so that FROC can be drawn.
        rng: Draws the subjects for the intervals.

    Returns:
        Sensitivity, false regions an image, and FROC. Where even all regions together make fewer
        false ones than a rate, the sensitivity of all of them stands there.

    Source:
        FROC and its mean at seven rates: Setio et al. 2017, "Validation, comparison, and
        combination of algorithms for automatic detection of pulmonary nodules", LUNA16.
    """
    found = [score for case in cases for score in case.scores if score is not None]
    false = [score for case in cases for score in case.false_scores]
    total = sum(len(case.scores) for case in cases)
    curve = _Froc(false, len(cases)) if scored else None
    froc = None if curve is None else curve.of(found, total)

    def ratio(over: Callable[[CaseLesions], int], under: Callable[[CaseLesions], int]) -> Rate:
        return _rate(cases, over, under, rng)

    return LesionSummary(
        lesions=total,
        found=len(found),
        false_regions=len(false),
        sensitivity=ratio(lambda c: sum(s is not None for s in c.scores), lambda c: len(c.scores)),
        false_per_image=ratio(lambda c: len(c.false_scores), lambda _: 1),
        sizes=tuple(_by_size(cases, curve)),
        froc=froc,
        cpm=_cpm(froc),
    )


def _by_size(cases: Sequence[CaseLesions], curve: "_Froc | None") -> Iterator[_SizeCount]:
    """Yield how many lesions of each size there are, and how many of them are found."""
    diameters = [(mm, s) for c in cases for mm, s in zip(c.diameters_mm, c.scores, strict=True)]
    for low, high, name in _SIZES:
        inside = [score for mm, score in diameters if low <= mm < high]
        found = [score for score in inside if score is not None]
        froc = None if curve is None else curve.of(found, len(inside))
        yield _SizeCount(name, len(inside), len(found), _cpm(froc))


class _Froc:
    """Sensitivity at each rate of false regions, by the lowest threshold that keeps to it."""

    def __init__(self, false: Sequence[float], images: int) -> None:
        """Find the false region that a threshold must leave out at each rate.

        Args:
            false: Scores of all false regions.
            images: How many there are.
        """
        falling = sorted(false, reverse=True)
        kept = [int(rate * images) for rate in _RATES]
        self._left_out = [falling[n] if n < len(falling) else -np.inf for n in kept]

    def of(self, found: Sequence[float], lesions: int) -> tuple[float, ...] | None:
        """Return the curve of some lesions, of which some were found with these scores."""
        if not lesions:
            return None
        return tuple(sum(score > low for score in found) / lesions for low in self._left_out)


def _cpm(froc: tuple[float, ...] | None) -> float | None:
    return None if froc is None else float(np.mean(froc))


def _rate(
    cases: Sequence[CaseLesions],
    over: Callable[[CaseLesions], int],
    under: Callable[[CaseLesions], int],
    rng: np.random.Generator,
) -> Rate:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case in cases:
        counts[case.subject][0] += over(case)
        counts[case.subject][1] += under(case)
    told = np.array(list(counts.values()), np.float64).reshape(-1, 2)

    def of(drawn: Int64[np.ndarray, "draw subject"]) -> Float64[np.ndarray, " draw"]:
        sums = told[drawn].sum(1)
        empty = sums[:, 1] == 0
        return np.where(empty, np.nan, sums[:, 0] / np.where(empty, 1, sums[:, 1]))

    if not told[:, 1].sum():
        return Rate(None, None, None)
    ends = interval(of, len(told), rng=rng)
    return Rate(float(of(np.arange(len(told))[None])[0]), ends.low, ends.high)
