"""Cut training patches out of prepared cases, around places that are known."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

_KNOWN = 0.1  # belief from which a voxel counts as a place to look at
_PLACES = 20_000  # of each class that are remembered; more of them would not be drawn anyway

_DEEP = 64  # planes that are looked at together

_Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Where in a prepared case it is worth looking."""

    sizes: tuple[int, ...]
    """How many places of each class there are to draw from."""

    shown: tuple[bool, ...]
    """Whether each class is believed in anywhere, however little."""

    middle: tuple[float, float, float] | None
    """Of all voxels in which any class is believed in, as an index; None without any."""

    places: Callable[[int], Int64[np.ndarray, " _"]]
    """Gives the flat indices of voxels where a class is known to be."""


@dataclass(frozen=True, slots=True)
class PatchLocation:
    """Where a patch starts; negative where it reaches beyond the case."""

    corner: tuple[int, int, int]

    @staticmethod
    def around(
        middle: Iterable[Any], shape: Sequence[int], patch: tuple[int, int, int]
    ) -> "PatchLocation":
        """Return a patch around a voxel, inside the case; an axis it does not fill is centred."""
        i, j, k = (
            (n - p) // 2 if n <= p else int(np.clip(m - p // 2, 0, n - p))
            for m, n, p in zip(middle, shape, patch, strict=True)
        )
        return PatchLocation((i, j, k))


def survey(bounds: Any) -> Known:  # noqa: ANN401
    """Look once where each class is known to be: at all voxels, or evenly spread ones of too many.

    Args:
        bounds: Belief, then plausibility, of shape (2, class, i, j, k); some planes of one class
            are read at a time.

    Returns:
        What was found.
    """
    _, classes, deep, *plane = bounds.shape
    counts, shown = [0] * classes, [False] * classes
    total, believed = np.zeros(3), 0
    for start in range(0, deep, _DEEP):
        anywhere = np.zeros((min(_DEEP, deep - start), *plane), bool)
        for number in range(classes):
            belief = np.asarray(bounds[0, number, start : start + _DEEP])
            counts[number] += int((belief > _KNOWN).sum())
            shown[number] |= bool((belief > 0).any())
            anywhere |= belief > 0
        along = np.nonzero(anywhere)
        total += [float(axis.sum()) for axis in along]
        total[0] += start * len(along[0])
        believed += len(along[0])
    middle = None if not believed else (total / believed).tolist()
    found = [_spread(bounds, number, count) for number, count in enumerate(counts)]
    return Known(
        tuple(flat.size for flat in found),
        tuple(shown),
        None if middle is None else (middle[0], middle[1], middle[2]),
        found.__getitem__,
    )


def _spread(bounds: Any, number: int, count: int) -> Int64[np.ndarray, " _"]:  # noqa: ANN401
    """Return every so manieth place of a class, so that there are not too many."""
    step, seen = max(1, -(-count // _PLACES)), 0
    found = [np.zeros(0, np.int64)]
    for start in range(0, bounds.shape[2] if count else 0, _DEEP):
        belief = np.asarray(bounds[0, number, start : start + _DEEP])
        flat = np.flatnonzero(belief > _KNOWN).astype(np.int64)
        found.append(flat[-seen % step :: step] + start * belief[0].size)
        seen += flat.size
    return np.concatenate(found)


def sample_location(
    known: Known,
    shape: tuple[int, int, int],
    patch: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    centred: float = 0.67,
) -> PatchLocation:
    """Draw where to crop a patch.

    Args:
        known: What is known of the case; decides where it is worth looking.
        shape: Size of the case.
        patch: Size wanted.
        rng: Source of chance.
        centred: Share of patches placed around a known voxel of a class drawn at random; the
            others lie anywhere.

    Returns:
        The corner. An axis the case does not fill is centred.
    """
    middle = [rng.integers(0, n) for n in shape]
    classes = [number for number, size in enumerate(known.sizes) if size]
    if rng.random() < centred and classes:
        flat = known.places(classes[rng.integers(len(classes))])
        middle = list(np.unravel_index(flat[rng.integers(flat.size)], shape))
    return PatchLocation.around(middle, shape, patch)


def crop(
    array: Any,  # noqa: ANN401
    location: PatchLocation,
    patch: tuple[int, int, int],
    *,
    fill: float | None = None,
) -> Float[np.ndarray, "*lead a b c"]:
    """Crop a patch; beyond the case it holds `fill`, or repeats the border.

    Args:
        array: A prepared case of shape (..., i, j, k), possibly on disk: only the patch is read.
        location: Where.
        patch: Size.
        fill: Value beyond the case; None repeats the border.

    Returns:
        An array of exactly the patch's size.
    """
    lead = len(array.shape) - 3
    inner, pads = [slice(None)] * lead, [(0, 0)] * lead
    for start, size, length in zip(location.corner, patch, array.shape[lead:], strict=True):
        low, high = max(start, 0), min(start + size, length)
        inner.append(slice(low, high))
        pads.append((low - start, start + size - high))
    piece = np.asarray(array[tuple(inner)])
    if fill is None:
        return np.pad(piece, pads, mode="edge")
    return np.pad(piece, pads, constant_values=fill)
