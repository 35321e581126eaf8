"""What the hints of other cases say of the voxels of one, as hints are propagated."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What the hints of other cases say of the voxels of one."""

    log_probs: Float32[np.ndarray, "class i j k"]
    """Log probability of each class, from `VoxelClassifier`."""

    distance_limit: float = np.inf
    """Most that distance may speak against a class, as a logarithm of odds; if it is finite, that
    much also against a class that the case does not show at all."""

    told: Bool[np.ndarray, " class"] | None = None
    """Classes of which other cases can tell; None for all. Distance limits nothing for the rest."""

    rarity: Float32[np.ndarray, " class"] | None = None
    """What odds of a class weigh, when the lead of the winner is asked for; None for 1. Even odds
    for what is rare are strong evidence, long ones against it are weak."""

    @property
    def everywhere(self) -> bool:
        """Return whether it speaks far from hints too, and of classes that no hint shows."""
        return bool(np.isfinite(self.distance_limit))

    def limits(self) -> Float32[np.ndarray, " class"]:
        """Return the most that distance may speak against each class."""
        told = np.ones(len(self.log_probs), np.bool_) if self.told is None else self.told
        return distance_limits(told, self.distance_limit)

    def cropped(self, part: tuple[slice, slice, slice]) -> "Prior":
        """Return what is said of a box of voxels."""
        return replace(self, log_probs=self.log_probs[(slice(None), *part)])


def distance_limits(
    told: Bool[np.ndarray, " class"], limit: float
) -> Float32[np.ndarray, " class"]:
    """Return the most that distance may speak against each class: of some other cases tell."""
    return np.where(told, limit, np.inf).astype(np.float32)


def lead_among(
    probs: Float32[np.ndarray, "class i j k"], rarity: Float32[np.ndarray, " class"]
) -> Float32[np.ndarray, "i j k"]:
    """Return the lead of each winner, 0 at least, if the odds of each class weigh as given."""
    weighed = probs * rarity[:, None, None, None]
    first = probs.argmax(0)[None]
    own = np.take_along_axis(weighed, first, 0)[0]
    total = weighed.sum(0)
    np.put_along_axis(weighed, first, 0, 0)
    lead = np.maximum(own - weighed.max(0), 0)
    return np.asarray(np.divide(lead, total, out=np.zeros_like(lead), where=total > 0))
