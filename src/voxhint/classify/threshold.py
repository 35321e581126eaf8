"""Where a map shows more than images tagged absent do: three rules, learnt from such images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from voxhint.classify.calibration import null_threshold
from voxhint.classify.null_distribution import Null, clusters, discoveries, mass_limit
from voxhint.config import LabelConfig

Map = Float32[np.ndarray, "i j k"]
Region = Bool[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a map shows of an image."""

    evidence: Map
    context: Map
    """What kind of place a voxel is at, such as how dense the tissue around it is."""

    counts: Region
    """The voxels that are spoken of."""

    voxel_mm3: float

    @property
    def pair(self) -> tuple[Float32[np.ndarray, " voxel"], Float32[np.ndarray, " voxel"]]:
        """Return evidence and context of the voxels that count."""
        return self.evidence[self.counts], self.context[self.counts]


@dataclass(frozen=True, slots=True)
class Quantile:
    """A fixed share of healthy voxels exceeds the threshold."""

    threshold: float

    def __call__(self, look: Look, /) -> Region:
        """Return the voxels above the threshold."""
        return look.counts & (look.evidence > self.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class FalseDiscovery:
    """A bounded share of the voxels that are seen in an image is expected to be healthy."""

    null: Null
    rate: float

    def __call__(self, look: Look, /) -> Region:
        """Return the discoveries of an image."""
        seen = np.zeros(look.counts.shape, bool)
        seen[look.counts] = discoveries(self.null.p_values(*look.pair), self.rate)
        return seen


@dataclass(frozen=True, slots=True, eq=False)
class HeavyCluster:
    """A bounded share of healthy images shows any cluster at all."""

    null: Null
    forming: float
    limit: float = 0.0

    def __call__(self, look: Look, /) -> Region:
        """Return the clusters that are heavier than those of healthy images."""
        numbers, masses = self._clusters(look)
        return np.asarray((masses > self.limit)[numbers])

    def heaviest(self, look: Look) -> float:
        """Return the mass of the heaviest cluster, 0 if there is none."""
        return float(self._clusters(look)[1].max())

    def _clusters(
        self, look: Look
    ) -> tuple[Int[np.ndarray, "i j k"], Float64[np.ndarray, " cluster"]]:
        p = np.ones(look.counts.shape)
        p[look.counts] = self.null.p_values(*look.pair)
        return clusters(p, self.forming, voxel_mm3=look.voxel_mm3)


Rule = Quantile | FalseDiscovery | HeavyCluster
"""Tells which voxels of a look show more than images tagged absent do."""


def rule_of(
    config: LabelConfig, looks: Callable[[], Iterator[Look]], *, rng: np.random.Generator
) -> Rule:
    """Learn from images tagged absent which evidence is more than chance.

    Args:
        config: Which rule, and how strict.
        looks: Looks at the images; called once, or twice for clusters.
        rng: Chooses voxels where there are too many.

    Returns:
        The rule.
    """
    if config.tag_threshold == "quantile":
        values = (look.pair[0] for look in looks())
        return Quantile(null_threshold(values, config.null_quantile, rng=rng))
    null = Null.of((look.pair for look in looks()), kinds=config.null_contexts, rng=rng)
    if config.tag_threshold == "fdr":
        return FalseDiscovery(null, config.tag_error)
    free = HeavyCluster(null, 1 - config.null_quantile)
    maxima = np.array([free.heaviest(look) for look in looks()])
    return HeavyCluster(null, free.forming, mass_limit(maxima, config.tag_error))
