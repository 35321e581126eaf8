"""Boundary refinement of predicted probabilities by the image itself."""

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from voxhint.classify.contrast import Contrast
from voxhint.classify.refinement import refine

_LIKELY = 0.1  # probability from which a place is looked at
_PLACES = 20  # of one label and case, the likeliest first
_SMOOTH_MM = 1.0  # before the strongest voxel of a place is taken


def refine_boundaries(
    probs: Float32[np.ndarray, "class i j k"],
    number: int,
    image: Float32[np.ndarray, "i j k"],
    *,
    spacing_mm: tuple[float, float, float],
    contrast: Contrast,
    gain: float,
) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities that the borders in the image have had a say in.

    A network that learnt from regions found by tags knows better where something is than where it
    ends: its probability fades over the border, most of all for what is small. Around each place
    that may hold the label the image is asked for the region, as when labels are made, and there
    the label gains probability from the other classes.

    Args:
        probs: Of every class, summing to 1.
        number: The label's class.
        image: Prepared values of the channel that shows the label, on the same grid.
        spacing_mm: Of the grid.
        contrast: The kinds of tissue of the study.
        gain: What is added inside a region, up to 1; with 0.45 a probability of 0.05 is enough
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
    region = np.zeros(chance.shape, bool)
    for place in 1 + np.argsort(-peaks, kind="stable")[:_PLACES]:
        likely = np.where(places == place, smooth, 0)
        region |= refine(likely, image, spacing_mm=spacing_mm, contrast=contrast)
    raised = np.where(region, np.minimum(chance + gain, 1), chance)
    others = (1 - raised) / np.maximum(1 - chance, 1e-6)
    refined = probs * others
    refined[number] = raised
    return np.asarray(refined, np.float32)
