"""Boundary refinement of predicted probabilities by the image itself."""

import numpy as np
from jaxtyping import Float32
from scipy import ndimage
from scipy.special import logit

from voxhint.classify.contrast import Contrast
from voxhint.classify.refinement import refine

_LIKELY = 0.1  # probability from which a place is looked at
_PLACES = 20  # of one label and case, the likeliest first
_SMOOTH_MM = 1.0  # before the strongest voxel of a place is taken
_SURE = 0.05  # chance of being wrong below which a network is not believed any more
_ANY = 2.0  # times the odds of a place: share of the gain that a region of any volume gets
_ONE_ML = 1.0  # what is added to that for a region of 1 mL, and the more the smaller it is


def mean_log_odds(probs: Float32[np.ndarray, " n"]) -> float:
    """Return the mean log odds of a region's voxels, where none is believed beyond a limit."""
    return float(logit(probs.astype(np.float64).clip(_SURE, 1 - _SURE)).mean())


def refine_boundaries(  # noqa: PLR0913 - each says another thing
    probs: Float32[np.ndarray, "class i j k"],
    number: int,
    image: Float32[np.ndarray, "i j k"],
    *,
    spacing_mm: tuple[float, float, float],
    contrast: Contrast,
    shown: float,
    gain: float,
) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities that the borders in the image have had a say in.

    A network that learnt from regions found by tags knows better where something is than where it
    ends: its probability fades over the border, most of all for what is small. Around each place
    that may hold the label the image is asked for the region, as when labels are made, and there
    the label gains probability from the other classes.

    Regions grow around false places as readily. So the gain follows the odds of the place, by the
    classifier of the image and the mean of the network as two witnesses who do not know of each
    other. It is larger for a small region: of two that are as likely, the larger one adds more that
    is false.

    Args:
        probs: Of every class, summing to 1.
        number: The label's class.
        image: Prepared values of the channel that shows the label, on the same grid.
        spacing_mm: Of the grid.
        contrast: The kinds of tissue of the study.
        shown: Chance that the image shows the label, by a classifier; 1 if a person said so.
        gain: What is added inside a region at most; with 0.45 a probability of 0.05 is enough
            there.

    Returns:
        Probabilities, summing to 1; the same ones if nothing is seen.
    """
    chance = probs[number]
    places, count = ndimage.label(chance > _LIKELY, np.ones((3, 3, 3)))
    if gain == 0 or count == 0:
        return probs
    smooth = ndimage.gaussian_filter(chance, _SMOOTH_MM / np.array(spacing_mm))
    peaks = np.asarray(ndimage.maximum(smooth, places, range(1, count + 1)))
    gains = np.zeros(chance.shape, np.float32)
    for where in 1 + np.argsort(-peaks, kind="stable")[:_PLACES]:
        place = places == where
        likely = np.where(place, smooth, 0)
        region = refine(likely, image, spacing_mm=spacing_mm, contrast=contrast)
        if region.any():
            odds = np.exp(logit(shown) + mean_log_odds(chance[place]))
            volume_ml = region.sum() * np.prod(spacing_mm) / 1000
            say = min(1.0, odds * (_ANY + _ONE_ML / volume_ml))
            gains[region] = np.maximum(gains[region], gain * say)
    raised = np.minimum(chance + gains, 1)
    others = (1 - raised) / np.maximum(1 - chance, 1e-6)
    refined = probs * others
    refined[number] = raised
    return np.asarray(refined, np.float32)
