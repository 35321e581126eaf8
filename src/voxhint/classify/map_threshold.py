"""The threshold of a map: what images tagged absent exceed by chance only."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

NULL_QUANTILE = 0.995
"""Share of voxels of images tagged absent that lie below the threshold of a map."""

_Map = Float32[np.ndarray, "i j k"]
_Region = Bool[np.ndarray, "i j k"]

_KEPT = 2_000_000  # values that decide a quantile


@dataclass(frozen=True, slots=True)
class QuantileThreshold:
    """A fixed share of healthy voxels exceeds the threshold."""

    value: float

    def __call__(self, values: _Map, counts: _Region, /) -> _Region:
        """Return the voxels above the threshold, among those that count."""
        return np.asarray(counts & (values > self.value))


def null_quantile(
    maps: Iterable[Float32[np.ndarray, "..."]], quantile: float, *, rng: np.random.Generator
) -> float:
    """Return what a map exceeds by chance only: a quantile over images tagged absent.

    Args:
        maps: Maps of training images tagged absent, at least one.
        quantile: Such as 0.995: the share of healthy voxels below the threshold.
        rng: Chooses the voxels that are looked at where there are too many.

    Returns:
        The threshold, in the unit of the map.
    """
    kept: list[np.ndarray] = []
    size = 0
    for values in maps:
        kept.append(values.ravel())
        size += kept[-1].size
        if size > 2 * _KEPT:
            kept = [rng.choice(np.concatenate(kept), _KEPT, replace=False)]
            size = _KEPT
    return float(np.quantile(np.concatenate(kept), quantile))
