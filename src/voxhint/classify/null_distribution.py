"""How rare evidence is where a label is absent: p-values, and rules that bound false alarms."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int
from scipy import ndimage, stats

Map = Float32[np.ndarray, "..."]
Image = Float32[np.ndarray, "i j k"]

_KEPT = 2_000_000  # values that decide a null
_TAIL = 0.99  # quantile from which a curve speaks for the few values above
_HEAVIEST = 0.9  # shape of a tail: from 1 on it would have no mean
_FEW = 20  # values above the quantile that a curve needs
_LEAST = 1e-300  # p-values below are told as this, so that logarithms stay finite


@dataclass(frozen=True, slots=True)
class Tail:
    """A generalised Pareto curve over the largest values of a null."""

    start: float
    share: float
    """Of the null above the start."""

    shape: float
    scale: float

    @staticmethod
    def over(values: Float[np.ndarray, " value"]) -> "Tail | None":
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
            return Tail(start, share, 0.0, mean)
        shape = min(shape, _HEAVIEST)
        return Tail(start, share, shape, mean * (1 - shape))

    def beyond(self, values: Float[np.ndarray, " value"]) -> Float64[np.ndarray, " value"]:
        """Return the share of the null that lies above values beyond the start."""
        rest = stats.genpareto.sf(values - self.start, self.shape, scale=self.scale)
        return np.asarray(self.share * rest, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Null:
    """What a map shows in images tagged absent, for each kind of context."""

    edges: Float64[np.ndarray, " edge"]
    """Values of the context between one kind and the next."""

    values: tuple[Float32[np.ndarray, " _"], ...]
    """Sorted, for each kind of context."""

    tails: tuple[Tail | None, ...]

    @staticmethod
    def of(pairs: Iterable[tuple[Map, Map]], *, kinds: int = 1, rng: np.random.Generator) -> "Null":
        """Return the null of maps.

        Args:
            pairs: Maps of images tagged absent, each with a context at the same voxels, such as
                how dense the tissue around a voxel is.
            kinds: Parts of equal size that the context is cut into.
            rng: Chooses the voxels that are kept where there are too many.

        Returns:
            What the maps show by chance.
        """
        kept: list[np.ndarray] = []
        size = 0
        for values, context in pairs:
            kept.append(np.stack([values.ravel(), context.ravel()]))
            size += values.size
            if size > 2 * _KEPT:
                kept = [rng.choice(np.concatenate(kept, 1), _KEPT, axis=1, replace=False)]
                size = _KEPT
        values, context = np.concatenate(kept, 1)
        edges = np.unique(np.quantile(context, np.arange(1, kinds) / kinds)).astype(np.float64)
        kind = np.searchsorted(edges, context)
        parts = [np.sort(values[kind == number]) for number in range(len(edges) + 1)]
        return Null(edges, tuple(parts), tuple(Tail.over(part) for part in parts))

    def p_values(self, values: Map, context: Map | None = None) -> Float64[np.ndarray, "..."]:
        """Return how often a healthy voxel of the same context shows as much or more.

        Args:
            values: A map.
            context: Of its voxels; not needed where all contexts are of one kind.

        Returns:
            Above 0, at most 1. With n healthy voxels, m of them as high: (1 + m) / (1 + n); above
            the 99 % quantile the share of a generalised Pareto tail.
        """
        found = np.ones(values.shape)
        kind = np.searchsorted(self.edges, np.zeros_like(values) if context is None else context)
        for number, (null, tail) in enumerate(zip(self.values, self.tails, strict=True)):
            here = kind == number
            asked = values[here]
            as_high = null.size - np.searchsorted(null, asked, side="left")
            p = (1 + as_high) / (1 + null.size)
            if tail is not None:
                high = asked > tail.start
                p[high] = tail.beyond(asked[high])
            found[here] = p
        return np.clip(found, _LEAST, 1)


def discoveries(p: Float64[np.ndarray, "..."], rate: float) -> Bool[np.ndarray, "..."]:
    """Return the voxels of which at most a share `rate` is expected to be healthy.

    Source:
        Benjamini and Hochberg 1995, "Controlling the False Discovery Rate".
    """
    return np.asarray(stats.false_discovery_control(p.ravel()).reshape(p.shape) <= rate)


def clusters(
    p: Float64[np.ndarray, "i j k"], forming: float, *, voxel_mm3: float
) -> tuple[Int[np.ndarray, "i j k"], Float64[np.ndarray, " cluster"]]:
    """Return connected voxels of small p-values as numbered clusters, and how much each weighs.

    Args:
        p: Of each voxel.
        forming: Largest p-value in a cluster.
        voxel_mm3: Volume of a voxel.

    Returns:
        The number of each voxel's cluster, 0 outside; and each cluster's mass, the integral of
        -log p over its volume. The first mass is that of no cluster, 0.

    Source:
        Bullmore et al. 1999, "Global, voxel, and cluster tests, by theory and permutation, for a
        difference between two groups of structural MR images of the brain".
    """
    numbers, _ = ndimage.label(p <= forming, structure=np.ones((3, 3, 3)))
    masses = np.bincount(numbers.ravel(), weights=-np.log(p.ravel())) * voxel_mm3
    masses[0] = 0
    return np.asarray(numbers, np.int64), masses


def mass_limit(maxima: Float64[np.ndarray, " image"], error: float) -> float:
    """Return what the heaviest cluster of a healthy image exceeds with probability `error` at most.

    Args:
        maxima: Mass of the heaviest cluster of each image tagged absent.
        error: Family-wise: for one false cluster or more in an image.

    Returns:
        The limit. It holds for any distribution of masses, if new images are drawn like these; with
        fewer than 1 / error - 1 images nothing can be promised, and it is the largest mass.
    """
    rank = int(np.ceil((1 - error) * (len(maxima) + 1)))
    return float(np.sort(maxima)[min(rank, len(maxima)) - 1])
