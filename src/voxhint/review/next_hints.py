"""Where one more click would tell most: by what a soft label leaves open."""

from collections.abc import Iterator
from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Float32, Float64

from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet
from voxhint.core.volume import SoftLabel

_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class NextHint:
    """A place to click, and what that could gain."""

    case: str
    label: str
    position_mm: tuple[float, float, float]
    """RAS+ millimetres."""

    expected_gain: float
    """Dice that the mask of the likely voxels lacks, if the soft label is right: 0 to 1."""


def next_hints(case: str, soft: SoftLabel, labels: LabelSet) -> Iterator[NextHint]:
    """Yield a place to click for each label that a soft label shows.

    Labels without a likely voxel are left out: no hint of the case says where they may be.

    Args:
        case: Its name.
        soft: Its soft label.
        labels: Names of the classes.
    """
    for number, label in enumerate(labels.foreground, 1):
        prob = soft.probs[number]
        if (prob > _LIKELY).any():
            x, y, z = _doubtful_mm(prob, soft.grid).tolist()
            yield NextHint(case, label, (x, y, z), expected_gain(prob))


def expected_gain(prob: Float32[np.ndarray, "i j k"]) -> float:
    """Return 1 - the Dice to expect of the likely voxels.

    The ratio of expected voxel counts stands for the expected ratio: 1 - 2 sum(m p) / sum(m + p),
    m being 1 where p is above 0.5.

    Args:
        prob: Probability p of a label, above 0.5 somewhere.
    """
    likely = prob > _LIKELY
    both = float(prob[likely].sum(dtype=np.float64))
    return 1 - 2 * both / (int(likely.sum()) + float(prob.sum(dtype=np.float64)))


def _doubtful_mm(prob: Float32[np.ndarray, "i j k"], grid: Grid) -> Float64[np.ndarray, "3"]:
    """Return the middle of the thickest part of what is at least half as doubtful as anything."""
    wrong = np.minimum(prob, 1 - prob)
    doubtful = np.ascontiguousarray(wrong >= wrong.max() / 2)
    spacing = tuple(map(float, grid.spacing_mm))
    depth = edt.edt(doubtful, anisotropy=spacing, black_border=True)
    index = np.array(np.unravel_index(int(depth.argmax()), depth.shape), np.float64)
    return np.asarray(grid.to_world(index[None])[0])
