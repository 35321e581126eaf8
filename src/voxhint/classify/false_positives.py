"""False-positive reduction: each region of a large image must convince the classifier."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from voxhint.classify.classifier import Classifier
from voxhint.classify.sliding_windows import is_one_window
from voxhint.core import LabelSet, Volume
from voxhint.core.box import window_around
from voxhint.prepare import prepare_image

_TOUCHING = np.ones((3, 3, 3))


def reduce_false_positives(
    probs: Float32[np.ndarray, "class i j k"],
    labels: LabelSet,
    volumes: Mapping[str, Volume],
    classifier: Classifier,
) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities without the regions in which the classifier does not see their label.

    An image much larger than those the classifier learnt from is not judged as a whole alone: of
    many places, one will look like the label. Each region is asked about in a window of the size
    the classifier learnt from, and is background if it stays below the operating point.

    Args:
        probs: On the grid of the first channel.
        labels: Their classes.
        volumes: The image by channel.
        classifier: The classifier of some of the labels.

    Returns:
        The probabilities, changed in place; as they were where the image is one window.
    """
    prepared, working = prepare_image(volumes, classifier.plan)
    if is_one_window(working.shape, classifier.plan.patch):
        return probs
    grid, classes = next(iter(volumes.values())).grid, probs.argmax(0)
    for label in classifier.labels:
        number = labels.number(label)
        regions, count = ndimage.label(classes == number, _TOUCHING)
        middles = ndimage.center_of_mass(regions > 0, regions, range(1, count + 1))
        for region, middle in enumerate(middles, 1):
            place = working.to_index(grid.to_world(np.array([middle])))[0]
            window = window_around(
                np.rint(place).astype(int).tolist(), classifier.plan.patch, working.shape
            )
            score = classifier.scores(np.ascontiguousarray(prepared[(slice(None), *window)]))[label]
            if score < classifier.facts[label]["operating_point"]:
                doubted = regions == region
                probs[0][doubted] += probs[number][doubted]
                probs[number][doubted] = 0
    return probs
