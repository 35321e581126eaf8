"""How rare saliency is where a label is absent: p-values."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

_Map = Float32[np.ndarray, "..."]

_KEPT = 2_000_000  # values that decide a null
_TAIL = 0.99  # quantile from which a curve speaks for the few values above
_HEAVIEST = 0.9  # shape of a tail: from 1 on it would have no mean
_FEW = 20  # values above the quantile that a curve needs
_LEAST = 1e-300  # p-values below are told as this, so that logarithms stay finite


@dataclass(frozen=True, slots=True)
class _ParetoTail:
    """A generalised Pareto curve over the largest values of a null."""

    start: float
    share: float
    """Of the null above the start."""

    shape: float
    scale: float

    @staticmethod
    def over(values: Float[np.ndarray, " value"]) -> "_ParetoTail | None":
        """Return the curve over sorted values; None if too few lie above its start.

        Source:
            Hosking and Wallis 1987, "Parameter and quantile estimation for the generalized Pareto
            distribution": probability-weighted moments. A bounded tail is told as an exponential
            one, so that no value is called impossible.
        """
        start = float(np.quantile(values, _TAIL))
        above = values[np.searchsorted(values, start, side="right") :] - start
        if above.size < _FEW:
            return None
        mean = float(above.mean())
        rarer = 1 - (np.arange(above.size) + 0.65) / above.size
        weighted = float((above * rarer).mean())
        shape = 2 - mean / (mean - 2 * weighted)
        share = above.size / values.size
        if shape <= 0:
            return _ParetoTail(start, share, 0.0, mean)
        shape = min(shape, _HEAVIEST)
        return _ParetoTail(start, share, shape, mean * (1 - shape))

    def beyond(self, values: Float[np.ndarray, " value"]) -> Float64[np.ndarray, " value"]:
        """Return the share of the null that lies above values beyond the start."""
        from scipy.stats import genpareto

        rest = genpareto.sf(values - self.start, self.shape, scale=self.scale)
        return np.asarray(self.share * rest, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class NullDistribution:
    """What a map shows in images tagged absent."""

    values: Float32[np.ndarray, " _"]
    """Sorted."""

    tail: _ParetoTail | None

    @staticmethod
    def of(maps: Iterable[_Map], *, rng: np.random.Generator) -> "NullDistribution":
        """Return the null of maps.

        Args:
            maps: Values of images tagged absent.
            rng: Chooses the voxels that are kept where there are too many.

        Returns:
            What the maps show by chance.
        """
        kept: list[np.ndarray] = []
        size = 0
        for values in maps:
            kept.append(values.ravel())
            size += values.size
            if size > 2 * _KEPT:
                kept = [rng.choice(np.concatenate(kept), _KEPT, replace=False)]
                size = _KEPT
        values = np.sort(np.concatenate(kept))
        return NullDistribution(values, _ParetoTail.over(values))

    def p_values(self, values: _Map) -> Float64[np.ndarray, "..."]:
        """Return how often a healthy voxel shows as much or more.

        Returns:
            Above 0, at most 1. With n healthy voxels, m of them as high: (1 + m) / (1 + n); above
            the 99 % quantile the share of a generalised Pareto tail.
        """
        as_high = self.values.size - np.searchsorted(self.values, values, side="left")
        p = np.asarray((1 + as_high) / (1 + self.values.size), np.float64)
        if self.tail is not None:
            high = values > self.tail.start
            p[high] = self.tail.beyond(values[high])
        return np.clip(p, _LEAST, 1)
