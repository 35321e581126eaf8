"""Cut training patches out of prepared cases, around places that are known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

_KNOWN = 0.1  # belief from which a voxel counts as a place to look at
_PLACES = 20_000  # of each class that are remembered; more of them would not be drawn anyway

Places = tuple[Int[np.ndarray, " _"], ...]
"""For each class the flat indices of voxels where it is known to be."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Where a patch starts; negative where it reaches beyond the case."""

    corner: tuple[int, int, int]

    @staticmethod
    def around(middle: Iterable[Any], shape: Sequence[int], patch: tuple[int, int, int]) -> "Draw":
        """Return a patch around a voxel, inside the case; an axis it does not fill is centred."""
        i, j, k = (
            (n - p) // 2 if n <= p else int(np.clip(m - p // 2, 0, n - p))
            for m, n, p in zip(middle, shape, patch, strict=True)
        )
        return Draw((i, j, k))


def known_places(belief: Float[np.ndarray, "class i j k"]) -> Places:
    """Return where each class is known to be: all voxels, or evenly spread ones of too many."""
    found = [np.flatnonzero(one > _KNOWN) for one in belief]
    return tuple(flat[:: max(1, -(-flat.size // _PLACES))].copy() for flat in found)


def draw_patch(
    places: Places,
    shape: tuple[int, int, int],
    patch: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    centred: float = 0.67,
) -> Draw:
    """Draw where to cut.

    Args:
        places: What is known of the case; decides where it is worth looking.
        shape: Size of the case.
        patch: Size wanted.
        rng: Source of chance.
        centred: Share of patches placed around a known voxel of a class drawn at random; the
            others lie anywhere.

    Returns:
        The corner. An axis the case does not fill is centred.
    """
    middle = [rng.integers(0, n) for n in shape]
    known = [flat for flat in places if flat.size]
    if rng.random() < centred and known:
        flat = known[rng.integers(len(known))]
        middle = list(np.unravel_index(flat[rng.integers(flat.size)], shape))
    return Draw.around(middle, shape, patch)


def cut(
    array: Float[np.ndarray, "lead i j k"],
    draw: Draw,
    patch: tuple[int, int, int],
    *,
    fill: float | None = None,
) -> Float[np.ndarray, "lead a b c"]:
    """Cut a patch; beyond the case it holds `fill`, or repeats the border.

    Args:
        array: A prepared case, possibly memory-mapped: only the patch is read.
        draw: Where.
        patch: Size.
        fill: Value beyond the case; None repeats the border.

    Returns:
        An array of exactly the patch's size.
    """
    inner, pads = [slice(None)], [(0, 0)]
    for start, size, length in zip(draw.corner, patch, array.shape[1:], strict=True):
        low, high = max(start, 0), min(start + size, length)
        inner.append(slice(low, high))
        pads.append((low - start, start + size - high))
    piece = np.asarray(array[tuple(inner)])
    if fill is None:
        return np.pad(piece, pads, mode="edge")
    return np.pad(piece, pads, constant_values=fill)
