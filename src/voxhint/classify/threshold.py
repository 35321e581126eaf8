"""Where a map shows more than images tagged absent do: a rule, learnt from such images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from voxhint.classify.calibration import null_threshold

NULL_QUANTILE = 0.995
"""Share of voxels of images tagged absent that lie below the threshold of a map."""

Map = Float32[np.ndarray, "i j k"]
Region = Bool[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a map shows of an image."""

    evidence: Map
    counts: Region
    """The voxels that are spoken of."""

    @property
    def values(self) -> Float32[np.ndarray, " voxel"]:
        """Return the evidence of the voxels that count."""
        return np.asarray(self.evidence[self.counts])


@dataclass(frozen=True, slots=True)
class Quantile:
    """A fixed share of healthy voxels exceeds the threshold."""

    threshold: float

    def __call__(self, look: Look, /) -> Region:
        """Return the voxels above the threshold."""
        return np.asarray(look.counts & (look.evidence > self.threshold))


def quantile_of(looks: Iterator[Look], *, rng: np.random.Generator) -> Quantile:
    """Learn from images tagged absent which evidence is more than chance.

    Args:
        looks: Looks at the images.
        rng: Chooses voxels where there are too many.

    Returns:
        The rule.
    """
    return Quantile(null_threshold((look.values for look in looks), NULL_QUANTILE, rng=rng))
