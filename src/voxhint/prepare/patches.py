"""Cut training patches out of prepared cases, around places that are known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

_KNOWN = 0.1  # belief from which a voxel counts as a place to look at


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


def draw_patch(
    belief: Float[np.ndarray, "class i j k"],
    patch: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    centred: float = 0.67,
) -> Draw:
    """Draw where to cut.

    Args:
        belief: What is known of the case; decides where it is worth looking.
        patch: Size wanted.
        rng: Source of chance.
        centred: Share of patches placed around a known voxel of a class drawn at random; the
            others lie anywhere.

    Returns:
        The corner. An axis the case does not fill is centred.
    """
    shape = belief.shape[1:]
    middle = [rng.integers(0, n) for n in shape]
    if rng.random() < centred:
        known = [c for c in range(len(belief)) if belief[c].max() > _KNOWN]
        if known:
            flat = np.flatnonzero(belief[known[rng.integers(len(known))]] > _KNOWN)
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
