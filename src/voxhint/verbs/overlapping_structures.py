"""Structures that claim the same voxel: there nothing is known, and a person is told."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, UInt8

from voxhint.core import UNDRAWN, LabelSet


def classes_of(
    layers: Iterable[tuple[str, Bool[np.ndarray, "i j k"]]],
    labels: LabelSet,
    shape: tuple[int, int, int],
) -> tuple[UInt8[np.ndarray, "i j k"], str]:
    """Return the class of each voxel; voxels of two labels are undrawn.

    Args:
        layers: Masks of labels, one after the other.
        labels: The study's.
        shape: Of the masks.

    Returns:
        Class numbers, and how many voxels have two labels, in words, or nothing.
    """
    classes = np.zeros(shape, np.uint8)
    twice: Counter[tuple[str, str]] = Counter()
    for label, layer in layers:
        own = labels.number(label)
        for number in np.unique(classes[layer]).tolist():
            if number not in (0, own, UNDRAWN):
                pair = (labels.names[number], label)
                twice[pair] += int((classes[layer] == number).sum())
        classes[layer] = np.where(np.isin(classes[layer], (0, own)), own, UNDRAWN)
    told = [f"{count} are both '{one}' and '{two}'" for (one, two), count in twice.most_common(2)]
    return classes, f"{twice.total()} voxels have two labels ({', '.join(told)})" if twice else ""
