"""False-positive reduction: what classifier and network say of each region of a large image."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.classify.classifier import Classifier
from voxhint.classify.predicted_borders import mean_log_odds
from voxhint.classify.sliding_windows import is_one_window
from voxhint.core import Grid, LabelSet, Volume
from voxhint.core.box import Window, window_around
from voxhint.prepare import prepare_image
from voxhint.prepare.resample import resample

_TOUCHING = np.ones((3, 3, 3))
_DOUBT = 1.0  # logits above the operating point: most places of a large image hold nothing


def reduce_false_positives(
    probs: Float32[np.ndarray, "class i j k"],
    labels: LabelSet,
    volumes: Mapping[str, Volume],
    classifier: Classifier,
) -> Float32[np.ndarray, "class i j k"]:
    """Return probabilities without the regions that classifier and network together doubt.

    An image much larger than those the classifier learnt from is not judged as a whole alone: of
    many places, one will look like the label. Each region is looked at in a window of the size the
    classifier learnt from, where its own voxels alone have a say. To their score the mean log odds
    of the network are added, as two witnesses who do not know of each other would be heard (naive
    Bayes). A region is background if that is too little beside the operating point.

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
        needed = classifier.facts[label]["operating_point"] + _DOUBT
        regions, _ = ndimage.label(classes == number, _TOUCHING)
        for region, (i, j, k) in enumerate(ndimage.find_objects(regions), 1):
            box = (i, j, k)
            part = regions[box] == region
            seen, window = _in_window(part, grid.cropped(box), working, classifier.plan.patch)
            image = np.ascontiguousarray(prepared[(slice(None), *window)])
            score = classifier.scores(image, seen)[label] + mean_log_odds(probs[number][box][part])
            if score < needed:
                probs[0][box][part] += probs[number][box][part]
                probs[number][box][part] = 0
    return probs


def _in_window(
    region: Bool[np.ndarray, "i j k"], grid: Grid, working: Grid, size: tuple[int, int, int]
) -> tuple[Bool[np.ndarray, "a b c"], Window]:
    """Return a region in the window of the working grid around its middle, and the window."""
    middle = grid.to_world(np.argwhere(region).mean(0)[None])
    place = np.rint(working.to_index(middle)[0]).astype(int).clip(0, np.array(working.shape) - 1)
    window = window_around(place.tolist(), size, working.shape)
    target = working.cropped(window)
    seen = resample(region.astype(np.float32), grid, target, nearest=True, outside=0.0) > 0
    seen[tuple(place - [edge.start for edge in window])] = True  # thinner than voxels here
    return seen, window
