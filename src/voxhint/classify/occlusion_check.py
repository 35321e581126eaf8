"""Whether regions are what a classifier saw: it must miss them when they are taken away."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

_Image = Float32[np.ndarray, "channel i j k"]
_Region = Bool[np.ndarray, "i j k"]
_WIDER_MM = 1.0  # beyond a region: the rim of what is taken away, blurred by the scanner
_FEATHER_MM = 2.0  # from there to where the image is as it was
_SMOOTH_MM = 1.5  # of tissue that is grown into a hole
_SHARE = 0.3  # of the logit lost without all regions, which a believed one gives alone
_Score = Callable[[_Image], float]
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
    image: _Image,
    regions: Sequence[_Region],
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

    def left(hidden: _Region) -> float:
        return score(without(image, hidden, spacing_mm=spacing_mm))

    bare = left(everything)
    whole = score(image) - bare
    effects = tuple(left(everything & ~region) - bare for region in regions)
    ranked = sorted(range(len(regions)), key=lambda number: -effects[number])
    kept = tuple(n for n in ranked if effects[n] > 0 and effects[n] >= _SHARE * whole)
    return _Verdict(whole, effects, kept)


def without(image: _Image, region: _Region, *, spacing_mm: tuple[float, float, float]) -> _Image:
    """Return an image in which its surroundings take the place of a region, without a seam.

    Args:
        image: Prepared values.
        region: What goes; a millimetre around it goes too, and two more fade over.
        spacing_mm: Of both.

    Returns:
        The image, unchanged beyond the seam.
    """
    if not region.any() or region.all():
        return image
    apart = edt.edt(np.ascontiguousarray(~region), anisotropy=spacing_mm)
    weight = np.clip(1 - (apart - _WIDER_MM) / _FEATHER_MM, 0, 1)
    other = _grown_over(image, weight > 0, spacing_mm)
    return np.asarray(image + weight * (other - image), np.float32)


def _grown_over(image: _Image, hole: _Region, spacing_mm: tuple[float, float, float]) -> _Image:
    """Return an image whose hole is filled with the nearest voxels around it, smoothed."""
    if hole.all():
        return image
    _, places = ndimage.distance_transform_edt(hole, sampling=spacing_mm, return_indices=True)
    filled = image[:, places[0], places[1], places[2]]
    width = (0, *(_SMOOTH_MM / np.array(spacing_mm)))
    return np.where(hole, ndimage.gaussian_filter(filled, width), image)
