"""The predictor's gate for each region of a large image, where one for the whole says little."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from voxhint.classify.classifier import Presence
from voxhint.classify.guidance import Window
from voxhint.core import LabelSet, Volume
from voxhint.prepare import prepare_image

ROOM = 4
"""Times the voxels of a network's patch: up to here an image is one window."""

_TOUCHING = np.ones((3, 3, 3))


def gate_regions(
    probs: Float32[np.ndarray, "class i j k"],
    labels: LabelSet,
    volumes: Mapping[str, Volume],
    presence: Presence,
) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities without the regions in which the predictor does not see their label.

    An image much larger than those the predictor learnt from is not judged as a whole alone: of
    many places, one will look like the label. Each region is asked about in a window of the size
    the predictor learnt from, and is background if it stays below the gate.

    Args:
        probs: On the grid of the first channel.
        labels: Their classes.
        volumes: The image by channel.
        presence: The predictor of some of the labels.

    Returns:
        The probabilities, changed in place; as they were where the image is one window.
    """
    prepared, working = prepare_image(volumes, presence.plan)
    if prepared[0].size <= ROOM * np.prod(presence.plan.patch):
        return probs
    grid, classes = next(iter(volumes.values())).grid, probs.argmax(0)
    for label in presence.labels:
        number = labels.number(label)
        regions, count = ndimage.label(classes == number, _TOUCHING)
        middles = ndimage.center_of_mass(regions > 0, regions, range(1, count + 1))
        for region, middle in enumerate(middles, 1):
            place = working.to_index(grid.to_world(np.array([middle])))[0]
            window = _around(place, presence.plan.patch, working.shape)
            seen = presence.scores(np.ascontiguousarray(prepared[(slice(None), *window)]))[label]
            if seen < presence.facts[label]["gate"]:
                doubted = regions == region
                probs[0][doubted] += probs[number][doubted]
                probs[number][doubted] = 0
    return probs


def _around(
    place: Float64[np.ndarray, " axis"], patch: tuple[int, int, int], shape: tuple[int, ...]
) -> Window:
    """Return the window of a patch's size around a place, inside an image."""
    low = [
        int(np.clip(round(p) - size // 2, 0, max(0, n - size)))
        for p, size, n in zip(place.tolist(), patch, shape, strict=True)
    ]
    i, j, k = (slice(a, a + size) for a, size in zip(low, patch, strict=True))
    return i, j, k
