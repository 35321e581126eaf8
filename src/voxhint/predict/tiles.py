"""Cut an image into tiles, ask the network about each, and blend the answers plane by plane."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

_Triple = tuple[int, int, int]

_AT_ONCE = 2  # tiles: of a single one PyTorch computes small 3D convolutions on CPUs the slow way


@runtime_checkable
class Segmenter(Protocol):
    """A network from images to logits of the same size."""

    def __call__(
        self, image: Float[Tensor, "batch channel i j k"], /
    ) -> Float[Tensor, "batch class i j k"]:
        """Return the logits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiling:
    """How an image is cut, and who is asked about the tiles."""

    segment: Segmenter
    """The network, in evaluation mode."""

    patch: _Triple
    """The tile."""

    overlap: float
    """Share of a tile that its neighbour covers again."""

    device: torch.device
    """Where the network is; what is blended stays in main memory."""

    alike: bool = False
    """Whether the network says the same of the same tile: of tiles that hold one value all over,
    such as clipped air, only the first is then asked about."""

    progress: Callable[[int, int], None] | None = None
    """Hears the number of each tile, and of how many."""

    def tiles_of(self, shape: Sequence[int], rows: slice = slice(None)) -> list[list[int]]:
        """Return where tiles start along each axis of an image, those alone that touch some rows.

        Args:
            shape: Of the image, padded to a tile at least.
            rows: Of the axis j.
        """
        i, j, k = (
            _starts(max(n, p), p, self.overlap) for n, p in zip(shape, self.patch, strict=True)
        )
        return [i, _touching(j, self.patch[1], range(max(j) + self.patch[1])[rows]), k]

    def cut(self, image: Any, at: _Triple) -> Float32[np.ndarray, "channel a b c"]:  # noqa: ANN401
        """Return the tile of an image that starts at a voxel."""
        i, j, k = (slice(start, start + n) for start, n in zip(at, self.patch, strict=True))
        tile: Float32[np.ndarray, "channel a b c"] = image[:, i, j, k]
        return tile

    def value_of(self, tile: Float32[np.ndarray, "channel a b c"]) -> bytes | None:
        """Return the one value of a tile whose probabilities may serve again, if it has one."""
        alike = self.alike and bool((tile == tile[:, :1, :1, :1]).all())
        return tile[:, 0, 0, 0].tobytes() if alike else None

    def asked_of(self, image: Any, rows: slice = slice(None)) -> int:  # noqa: ANN401
        """Return how many tiles of an image the network is asked about; all of them are read."""
        places = product(*self.tiles_of(image.shape[1:], rows))
        values = [self.value_of(self.cut(image, (i, j, k))) for i, j, k in places]
        return values.count(None) + len({*values} - {None})


def predict_planes(
    tiling: Tiling,
    image: Any,  # noqa: ANN401
    flips: Sequence[tuple[int, ...]] = ((),),
    rows: slice = slice(None),
) -> Iterator[Float32[np.ndarray, "class j k"]]:
    """Yield class probabilities of a prepared image of any size, plane after plane of its axis i.

    Tiles overlap and are blended by a Gaussian that trusts their middles; an image smaller than a
    tile is padded by its border and cut back. Only what tiles of one row still touch is kept.

    Args:
        tiling: How the image is cut.
        image: Prepared by the plan, of shape (channel, i, j, k); tiles of it are read, so it need
            not be an array.
        flips: Axes of the array along which the image is flipped; answers to all of them are
            averaged.
        rows: Those of the axis j that are wanted: only tiles that touch them are asked about.

    Yields:
        Probabilities that sum to 1.
    """
    wanted = range(image.shape[2])[rows]
    streams = [
        _Stream(tiling, image, axes, wanted).planes(n, len(flips)) for n, axes in enumerate(flips)
    ]
    for planes in zip(*streams, strict=True):
        total, *others = planes
        total /= len(flips)
        for plane in others:
            total += plane / len(flips)
        yield total


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    """One pass over an image, flipped or not; planes come in the order of the image itself."""

    tiling: Tiling
    image: Any
    """Of shape (channel, i, j, k)."""

    axes: tuple[int, ...]
    """Along which it is flipped."""

    rows: range
    """Of the axis j, those that are wanted."""

    def planes(self, number: int, passes: int) -> Iterator[Float32[np.ndarray, "class j k"]]:
        """Yield the planes of one pass of several."""
        patch, shape = self.tiling.patch, self.image.shape[1:]
        room = [max(0, p - n) for p, n in zip(patch, shape, strict=True)]
        pads = [(0, 0), *((r // 2, r - r // 2) for r in room)]
        pads = [pad[::-1] if axis in self.axes else pad for axis, pad in enumerate(pads)]
        image = np.pad(self.image[:, :, :, :], pads, mode="edge") if any(room) else self.image
        i, j, k = (slice(low, low + n) for (low, _), n in zip(pads[1:], shape, strict=True))
        j = slice(j.start + self.rows.start, j.start + self.rows.stop)
        over_i, over_j, over_k = self._along(image.shape[1:])
        over_j = _touching(over_j, patch[1], range(j.start, j.stop))
        first = min(over_j)
        size = (image.shape[1], max(over_j) + patch[1] - first, image.shape[3])
        places = list(product(over_i, over_j, over_k))
        answers = self._answers(image, places, number, passes)
        for at, plane in enumerate(_blended(answers, patch, first, size, self.axes)):
            if i.start <= at < i.stop:
                yield plane[:, j.start - first : j.stop - first, k]

    def _along(self, shape: Sequence[int]) -> list[list[int]]:
        """Return where tiles start along each axis of the image."""
        return [
            [n - p - at for at in reversed(starts)] if axis in self.axes else starts
            for axis, starts, n, p in zip(
                (1, 2, 3), self.tiling.tiles_of(shape), shape, self.tiling.patch, strict=True
            )
        ]

    def _answers(
        self,
        image: Any,  # noqa: ANN401
        places: Sequence[_Triple],
        number: int,
        passes: int,
    ) -> Iterator[tuple[_Triple, Float32[np.ndarray, "class a b c"]]]:
        """Yield where each tile starts and its probabilities, by their start along the axis i."""
        known: dict[bytes, np.ndarray] = {}
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            cuts = [self.tiling.cut(image, at) for at in some]
            for turn, probs in enumerate(self._asked(cuts, known)):
                if self.tiling.progress is not None:
                    tile = number * len(places) + first + turn + 1
                    self.tiling.progress(tile, passes * len(places))
                yield some[turn], probs

    def _asked(
        self, cuts: Sequence[Float32[np.ndarray, "channel a b c"]], known: dict[bytes, np.ndarray]
    ) -> Iterator[Float32[np.ndarray, "class a b c"]]:
        """Yield the probabilities of tiles; of those that hold one value, the first time's."""
        keys = [self.tiling.value_of(cut) for cut in cuts]
        new = [n for n, key in enumerate(keys) if key is None or key not in known]
        answers = dict(zip(new, self._probabilities([cuts[n] for n in new]), strict=True))
        for n, key in enumerate(keys):
            probs = answers[n] if n in answers else known[key or b""]
            if key is not None:
                known[key] = probs
            yield probs

    def _probabilities(
        self, cuts: Sequence[Float32[np.ndarray, "channel a b c"]]
    ) -> Sequence[Float32[np.ndarray, "class a b c"]]:
        if not cuts:
            return ()
        with torch.inference_mode():
            tiles = np.stack([np.flip(cut, self.axes) for cut in cuts])
            batch = torch.from_numpy(tiles).to(self.tiling.device)
            probs = self.tiling.segment(batch).float().softmax(1).contiguous().cpu()
        return [np.flip(one, self.axes) for one in np.asarray(probs.numpy(), np.float32)]


def _blended(
    answers: Iterator[tuple[_Triple, Float32[np.ndarray, "class a b c"]]],
    patch: _Triple,
    row: int,
    size: Sequence[int],
    axes: tuple[int, ...],
) -> Iterator[Float32[np.ndarray, "class j k"]]:
    """Yield the planes of some rows, from one on, as soon as no later tile touches them."""
    deep, weight = patch[0], _importance(patch, axes)
    count = np.zeros((deep, *size[1:]), np.float32)
    total: np.ndarray = np.zeros((0, *count.shape), np.float32)
    done = 0
    for (i, j, k), probs in answers:
        if not len(total):
            total = np.zeros((len(probs), *count.shape), np.float32)
        if i > done:
            yield from _taken(total, count, i - done)
            done = i
        part = (slice(None), slice(j - row, j - row + patch[1]), slice(k, k + patch[2]))
        total[:, *part] += probs * weight
        count[part] += weight
    yield from _taken(total, count, deep)


def _taken(
    total: Float32[np.ndarray, "class a j k"], count: Float32[np.ndarray, "a j k"], ready: int
) -> Iterator[Float32[np.ndarray, "class j k"]]:
    """Yield the first planes, and move the others to their place."""
    for plane in range(ready):
        mixed = total[:, plane] / count[plane]
        mixed /= mixed.sum(0, keepdims=True)
        yield mixed
    left = len(count) - ready
    for one in (*total, count):
        one[:left] = one[ready:]
        one[left:] = 0


def _touching(starts: Sequence[int], patch: int, rows: range) -> list[int]:
    """Return the starts of tiles that some rows are part of."""
    return [at for at in starts if at < rows.stop and at + patch > rows.start]


def _starts(length: int, patch: int, overlap: float) -> list[int]:
    """Return where tiles start along an axis; the last one ends with it."""
    step = max(1, int(patch * (1 - overlap)))
    return [*range(0, length - patch, step), length - patch]


def _importance(patch: _Triple, axes: tuple[int, ...]) -> Float32[np.ndarray, "i j k"]:
    """Return how much each voxel of a tile is trusted."""
    from monai.data.utils import compute_importance_map  # takes seconds to load

    weight = compute_importance_map(patch, mode="gaussian", sigma_scale=0.125).numpy()
    return np.asarray(np.flip(weight, tuple(axis - 1 for axis in axes)), np.float32)
