"""How well each voxel's intensity fits the seeds of each class."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy import ndimage

from voxhint.core import Volume
from voxhint.propagate.gaussian_blur import blurred

BINS = 64
"""Of intensities."""

_BLUR = 0.65  # voxels of the finest axis: wider, the two sides of a thin sheet mix
_DOUBT = 5.0  # seeds' worth of "any intensity may occur"
_MOST = 100  # seeds that count

_Index = Int64[np.ndarray, "n 3"]


def log_likelihood(
    images: Sequence[Volume],
    seeds: Sequence[_Index],
    near: Bool[np.ndarray, "i j k"],
) -> Float32[np.ndarray, "class i j k"]:
    """Estimate the log density of each voxel's intensity among the seeds of each class.

    A kernel density over the seeds' intensities, mixed with a flat density that counts as five
    seeds, so that few clicks claim little; more than a hundred seeds count as a hundred, so that
    long strokes do not claim more than they show. Channels share one vote.

    Args:
        images: Channels on one grid.
        seeds: Voxels that show each class.
        near: Voxels near the seeds, which set the range of intensities.

    Returns:
        Mean log density over channels, up to a constant; that of all voxels near the seeds for a
        background that nobody showed, 0 everywhere for another class without seeds.
    """
    total = np.zeros((len(seeds), *near.shape), np.float32)
    for image in images:
        table, bins = class_tables(image, seeds, near)
        for number in np.flatnonzero(table.any(1)):
            total[number] += table[number][bins]
    return total / np.float32(len(images))


def class_tables(
    image: Volume,
    seeds: Iterable[_Index],
    near: Bool[np.ndarray, "i j k"],
    *,
    memory: Float32[np.ndarray, "i j k"] | None = None,
) -> tuple[Float32[np.ndarray, "class bin"], UInt8[np.ndarray, "i j k"]]:
    """Return the log density of each bin of intensities for each class, and each voxel's bin.

    Args:
        image: One channel.
        seeds: Voxels that show each class.
        near: Voxels near the seeds, which set the range of intensities.
        memory: As for `edge_cost`.
    """
    spacing_mm = image.grid.spacing_mm
    scaled = blurred(image.voxels, _BLUR * spacing_mm.min() / spacing_mm, out=memory)
    known = scaled[near]
    low, high = (float(v) for v in np.percentile(known if known.size else scaled, [1, 99]))
    bins = _binned(scaled, low, high)
    shown = [scaled[tuple(index.T)] for index in seeds]
    least = min((one.size for one in shown if one.size), default=0)
    table = np.zeros((len(shown), BINS), np.float32)
    for number, values in enumerate(shown):
        if values.size:
            table[number] = np.log(_density(values, _MOST))
        elif number == 0 and near.any():  # claims no more than the least of what was shown
            table[number] = np.log(_density(scaled[near], min(least, _MOST)))
    return table, bins


def _binned(
    values: Float32[np.ndarray, "i j k"], low: float, high: float
) -> UInt8[np.ndarray, "i j k"]:
    """Return the bin of each value, and bring the values themselves to the range from 0 to 1."""
    bins = np.empty(values.shape, np.uint8)
    for plane, numbers in zip(values, bins, strict=True):  # each stays in the cache
        np.divide(np.subtract(plane, low, out=plane), max(high - low, 1e-6), out=plane)
        np.clip(plane, 0, 1, out=plane)
        numbers[:] = np.minimum(plane * BINS, BINS - 1)
    return bins


def _density(values: Float32[np.ndarray, " n"], most: int) -> Float32[np.ndarray, " bin"]:
    """Return a smoothed histogram over 0 to 1, bandwidth by Silverman's rule."""
    share = np.histogram(values, bins=BINS, range=(0, 1))[0] / values.size
    width = max(0.05, 1.06 * float(values.std()) * min(values.size, 2 * most) ** -0.2)
    smooth = ndimage.gaussian_filter1d(share, width * BINS, mode="nearest")
    count = min(values.size, most)
    mixed = (count * smooth * BINS + _DOUBT) / (count + _DOUBT)
    return mixed.astype(np.float32)
