"""Undo preparation: probabilities of the working grid on the scanner's own grid."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.core import Grid
from voxhint.prepare.resample import reach_of, resample

_CERTAIN = 0.999  # belief and plausibility within this of 1 and 0 are facts
_SLAB = 2**22  # probabilities that are worked on together, at most; a plane at least

_Planes = Float32[np.ndarray, "class a j k"]


def restored(
    planes: Iterable[Float32[np.ndarray, "class b c"]], working: Grid, target: Grid
) -> Iterator[tuple[slice, _Planes]]:
    """Yield probabilities on the grid of the image they came from, some planes at a time.

    Each class is mixed linearly between voxels, so a mask taken afterwards has smooth outlines.

    Args:
        planes: Of the working grid, in the order of its first axis.
        working: Where they lie.
        target: The image's own grid, its axes in the order and direction of the working one's.

    Yields:
        Which planes of the target, and their probabilities.
    """
    kept, first, source = list[np.ndarray](), 0, iter(planes)
    part = slice(0, 0)
    while part.stop < target.shape[0]:
        needed = range(0)
        if not kept:  # the first plane tells how many classes there are
            kept.append(next(source))
        deep = max(1, _SLAB // (len(kept[0]) * target.shape[1] * target.shape[2]))
        part = slice(part.stop, min(part.stop + deep, target.shape[0]))
        needed = reach_of(working, target, part)
        while first + len(kept) < needed.stop:
            kept.append(next(source))
        drop = max(0, min(needed.start - first, len(kept) - 1))
        kept, first = kept[drop:], first + drop
        within = (slice(first, first + len(kept)), slice(None), slice(None))
        here, there = working.cropped(within), target.cropped((part, slice(None), slice(None)))
        probs = np.stack(kept, 1)
        if not here.same(there, tol_mm=1e-6):  # else nothing is copied
            probs = np.stack([resample(one, here, there) for one in probs])
        yield part, probs


def respect(probs: _Planes, belief: _Planes, plausible: _Planes) -> UInt8[np.ndarray, "a j k"]:
    """Return the likeliest class of every voxel among those the facts allow.

    Args:
        probs: What the network says.
        belief: The least chance of each class that the hints leave, at the same voxels.
        plausible: The greatest chance.

    Returns:
        Class numbers: a proven class where there is one, never a class that is ruled out.
    """
    ruled_out = plausible <= 1 - _CERTAIN
    allowed = np.where(ruled_out & ~ruled_out.all(0), -1.0, probs)
    allowed = np.where(belief >= _CERTAIN, 2.0, allowed)
    return np.asarray(allowed.argmax(0), np.uint8)
