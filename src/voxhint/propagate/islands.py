"""Islands of a mask: pieces that hang together with nothing that was shown of their label."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from voxhint.core.box import Window


def show_ends(
    shown: Bool[np.ndarray, "class i j k"], classes: UInt8[np.ndarray, "x y z"], window: Window
) -> None:
    """Mark the ends of a window at which a class goes on beyond it: it is rooted there.

    Args:
        shown: In the window; changed in place.
        classes: Of the whole image.
        window: Of the image.
    """
    numbers = np.arange(len(shown))[:, None, None]
    for axis, w in enumerate(window):
        for end, plane in ((0, w.start - 1), (-1, w.stop)):
            if 0 <= plane < classes.shape[axis]:
                outside = classes[(*window[:axis], plane, *window[axis + 1 :])]
                np.moveaxis(shown, axis + 1, 1)[:, end] |= outside == numbers


def rooted(
    scores: Float32[np.ndarray, "class i j k"], shown: Bool[np.ndarray, "class i j k"]
) -> Float32[np.ndarray, "class i j k"]:
    """Return scores without islands: what hangs together with nothing shown of its label."""
    classes = scores.argmax(0)
    for number in range(1, len(scores)):
        parts, count = ndimage.label(classes == number, np.ones((3, 3, 3)))
        kept = np.zeros(count + 1, np.bool_)
        kept[np.unique(parts[shown[number]])] = True
        if count and shown[number].any():
            island = (parts > 0) & ~kept[parts]
            scores[0][island] += scores[number][island]
            scores[number][island] = 0
    return scores
