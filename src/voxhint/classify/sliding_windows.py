"""Windows of a network's patch in images that are larger than what the network learnt from."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from voxhint.core.box import Window, window_around

__all__ = ["Window", "fading", "is_one_window", "strongest_windows"]

_ONE = 4  # times the voxels of a patch: up to here an image is one window
_RIM = 8  # of a window's edge, the part over which its answer fades


def is_one_window(shape: Sequence[int], patch: tuple[int, int, int]) -> bool:
    """Return whether an image is small enough to be seen as a whole."""
    return bool(np.prod(shape) <= _ONE * np.prod(patch))


def strongest_windows(
    strength: Float32[np.ndarray, "i j k"], patch: tuple[int, int, int], most: int
) -> Iterator[Window]:
    """Yield windows around the strongest places, none around a place of an earlier one.

    Args:
        strength: Larger where it is more worth looking; places of 0 or less are not.
        patch: Size of a window; smaller along axes that the image does not fill.
        most: Windows at most.

    Yields:
        Slices of the image.
    """
    left = strength.copy()
    for _ in range(most):
        place = np.unravel_index(int(left.argmax()), left.shape)
        if left[place] <= 0:
            return
        window = window_around(place, patch, left.shape)
        left[window] = 0
        yield window


def fading(window: Window, shape: tuple[int, ...]) -> Float32[np.ndarray, "a b c"]:
    """Return 1 in a window, less towards faces that are not the image's own."""
    ramps = []
    for part, length in zip(window, shape, strict=True):
        size = part.stop - part.start
        rim = max(1, size // _RIM)
        place = np.arange(size)
        low = (place + 1) / (rim + 1) if part.start > 0 else np.ones(size)
        high = (size - place) / (rim + 1) if part.stop < length else np.ones(size)
        ramps.append(np.minimum(1, np.minimum(low, high)).astype(np.float32))
    return ramps[0][:, None, None] * ramps[1][:, None] * ramps[2]
