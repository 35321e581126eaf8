"""How well each voxel's intensity fits the seeds of each class."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.core import Volume

_BINS = 64
_BLUR_MM = 0.7
_DOUBT = 3.0  # seeds' worth of "any intensity may occur"


def log_likelihood(
    images: Sequence[Volume], seeds: Bool[np.ndarray, "class i j k"]
) -> Float32[np.ndarray, "class i j k"]:
    """Estimate the log density of each voxel's intensity among the seeds of each class.

    A kernel density over the seeds' intensities, mixed with a flat density that counts as three
    seeds, so that few clicks claim little. Channels are taken as independent.

    Args:
        images: Channels on one grid.
        seeds: Seeds of each class.

    Returns:
        Log density, up to a constant; 0 everywhere for a class without seeds.
    """
    total = np.zeros(seeds.shape, np.float32)
    for image in images:
        smooth = ndimage.gaussian_filter(image.voxels, _BLUR_MM / image.grid.spacing_mm)
        low, high = (float(v) for v in np.percentile(smooth, [1, 99]))
        scaled = np.clip((smooth - low) / max(high - low, 1e-6), 0, 1)
        bins = np.minimum((scaled * _BINS).astype(np.int64), _BINS - 1)
        for number, places in enumerate(seeds):
            if places.any():
                total[number] += np.log(_density(scaled[places]))[bins]
    return total


def _density(values: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " bin"]:
    """Return a smoothed histogram over 0 to 1, bandwidth by Silverman's rule."""
    count = np.histogram(values, bins=_BINS, range=(0, 1))[0].astype(np.float64)
    width = max(0.05, 1.06 * float(values.std()) * values.size**-0.2)
    smooth = ndimage.gaussian_filter1d(count, width * _BINS, mode="constant")
    mixed = (smooth * _BINS + _DOUBT) / (values.size + _DOUBT)
    return mixed.astype(np.float32)
