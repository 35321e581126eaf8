"""Windows of an image at coarser steps, and hints as far as they speak of one."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from voxhint.core import UNDRAWN, Box, Diameter, Grid, Hint, Points, Soft, Strokes, Tag

Window = tuple[slice, slice, slice]
_ENDS = ("start", "stop")


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """A window of the image in steps of some voxels."""

    window: Window
    step: tuple[int, int, int]
    grid: Grid

    @staticmethod
    def of(grid: Grid, window: Window, step: tuple[int, int, int]) -> "Coarse":
        """Return a window widened so that whole steps fill it, as far as the image goes."""
        count = [-(-(w.stop - w.start) // s) for w, s in zip(window, step, strict=True)]
        affine = grid.cropped(window).affine @ np.diag([*step, 1.0])
        affine[:3, 3] = (
            grid.affine[:3, :3] @ [w.start + (s - 1) / 2 for w, s in zip(window, step, strict=True)]
            + grid.affine[:3, 3]
        )
        return Coarse(window, step, Grid((count[0], count[1], count[2]), affine))

    def mean(self, voxels: np.ndarray) -> Float32[np.ndarray, "i j k"]:
        """Return the mean of each block of voxels."""
        blocks = self._blocks(voxels)
        return np.asarray(blocks.mean((1, 3, 5), dtype=np.float32), np.float32)

    def drawn(self, classes: UInt8[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "a b c"]:
        """Return the highest class drawn in each block, `UNDRAWN` where nothing is."""
        blocks = self._blocks(classes)
        highest = np.where(blocks == UNDRAWN, -1, blocks.astype(np.int16)).max((1, 3, 5))
        return np.where(highest < 0, UNDRAWN, highest).astype(np.uint8)

    def _blocks(self, voxels: np.ndarray) -> np.ndarray:
        part = voxels[self.window]
        wide = [
            (0, n * s - have)
            for n, s, have in zip(self.grid.shape, self.step, part.shape, strict=True)
        ]
        if any(more for _, more in wide):
            part = np.pad(part, wide, mode="edge")
        (a, b, c), (i, j, k) = self.grid.shape, self.step
        return part.reshape(a, i, b, j, c, k)

    def fine(self, values: Float32[np.ndarray, "c i j k"]) -> Float32[np.ndarray, "c x y z"]:
        """Return values of blocks between which voxels are interpolated."""
        if max(self.step) == 1:
            return values
        finer = [
            ndimage.zoom(each, self.step, order=1, mode="nearest", grid_mode=True)
            for each in values
        ]
        shape = [w.stop - w.start for w in self.window]
        return np.stack(finer)[:, : shape[0], : shape[1], : shape[2]].astype(np.float32)


def hinted_box(hints: Sequence[Hint], grid: Grid) -> Window | None:
    """Return the box of all voxels that hints show, None if none shows any."""
    low, high = [], []
    for hint in hints:
        index = _extent(hint, grid)
        if index is not None:
            low.append(index[0])
            high.append(index[1])
    if not low:
        return None
    first = np.clip(np.min(low, axis=0), 0, np.array(grid.shape) - 1).astype(int)
    last = np.clip(np.max(high, axis=0), 0, np.array(grid.shape) - 1).astype(int)
    i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return i, j, k


def _extent(hint: Hint, grid: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the first and the last index of what a hint shows."""
    index = np.zeros((0, 3))
    match hint:
        case Points():
            index = np.round(grid.to_index(hint.positions_mm))
        case Box():
            index = grid.to_index(np.stack([hint.low_mm, hint.high_mm]))
        case Diameter():
            half = hint.diameter_mm / 2
            index = grid.to_index(np.stack([hint.centre_mm - half, hint.centre_mm + half]))
        case Strokes():
            index = _span(hint.classes != UNDRAWN)
        case Soft():
            index = _span(hint.probability > 0)
        case Tag():
            pass
    return (index.min(0), index.max(0)) if len(index) else None


def _span(where: np.ndarray) -> np.ndarray:
    along = [
        np.flatnonzero(where.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)
    ]
    if not along[0].size:
        return np.zeros((0, 3))
    return np.array([[each[0] for each in along], [each[-1] for each in along]], np.float64)


class Places:
    """Where hints lie: of very many, those near a window are found without looking at each."""

    def __init__(self, hints: Sequence[Hint], grid: Grid) -> None:
        self._hints = hints
        everywhere = np.full(3, -np.inf), np.full(3, np.inf)
        found = [
            (_extent(hint, grid) if isinstance(hint, Box | Diameter) else None) or everywhere
            for hint in hints
        ]
        self._low, self._high = (
            np.array([each[end] for each in found]).reshape(-1, 3) for end in (0, 1)
        )

    def near(self, coarse: Coarse) -> list[Hint]:
        """Return the hints that speak of a window, or lie beside it, as they are."""
        start, stop = (np.array([getattr(w, end) for w in coarse.window]) for end in _ENDS)
        step = np.array(coarse.step)
        there = (self._high >= start - step) & (self._low <= stop + step)
        return [self._hints[number] for number in np.flatnonzero(there.all(1)).tolist()]


def within(hint: Hint, coarse: Coarse) -> list[Hint]:
    """Return a hint as far as it speaks of a window, on its coarser grid; empty if it does not."""
    grid = coarse.grid
    found: Hint | None = hint
    match hint:
        case Points():
            inside = grid.holds(hint.positions_mm)
            found = Points(hint.label, hint.positions_mm[inside], hint.confidence[inside])
            found = found if inside.any() else None
        case Box() | Diameter():
            found = hint if _meets(hint, grid) else None
        case Strokes():
            found = Strokes(coarse.drawn(hint.classes), grid, hint.complete)
            found = found if (found.classes != UNDRAWN).any() else None
        case Soft():
            found = Soft(hint.label, coarse.mean(hint.probability), grid)
        case Tag():
            pass
    return [] if found is None else [found]


def _meets(hint: Box | Diameter, grid: Grid) -> bool:
    extent = _extent(hint, grid)
    room = np.array(grid.shape) - 0.5
    return extent is not None and bool(((extent[1] > -0.5) & (extent[0] < room)).all())


def ruled_out(hints: Sequence[Hint], near: Sequence[Hint]) -> list[Tag]:
    """Return the tags that say what boxes and balls outside a window say of it: not here."""
    shaped = {hint.label for hint in hints if isinstance(hint, Box | Diameter)}
    there = {hint.label for hint in near if isinstance(hint, Box | Diameter)}
    return [Tag(label, "absent") for label in sorted(shaped - there)]


def key_of(hints: Sequence[Hint]) -> int:
    """Return a number that differs where hints do."""
    key = 0
    for hint in hints:
        for field in fields(hint):
            value = getattr(hint, field.name)
            told = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            key = zlib.crc32(b"" if isinstance(value, Grid) else told, key)
        key = zlib.crc32(type(hint).__name__.encode(), key)
    return key


def box_of(voxel: tuple[int, int, int]) -> Window:
    """Return the box of one voxel."""
    i, j, k = (slice(n, n + 1) for n in voxel)
    return i, j, k


def grown(window: Window, by_mm: float, grid: Grid) -> Window:
    """Return a window with a rim around it, as far as the image goes."""
    rim = np.ceil(by_mm / grid.spacing_mm).astype(int)
    i, j, k = (
        slice(int(max(0, w.start - r)), int(min(n, w.stop + r)))
        for w, r, n in zip(window, rim, grid.shape, strict=True)
    )
    return i, j, k


def meets(voxel: tuple[int, int, int], window: Window) -> bool:
    """Return whether a voxel lies in a window."""
    return all(w.start <= at < w.stop for at, w in zip(voxel, window, strict=True))


def union(*windows: Window) -> Window:
    """Return the box around some windows."""
    i, j, k = (
        slice(min(w.start for w in along), max(w.stop for w in along))
        for along in zip(*windows, strict=True)
    )
    return i, j, k


def tiles(
    window: Window, reach_mm: float, step: tuple[int, int, int], grid: Grid, most: int
) -> list[Window]:
    """Return the parts of a window that are propagated over one by one, in so many blocks each."""
    rim = 2 * reach_mm / grid.spacing_mm
    parts = []
    for w, r, s in zip(window, rim, step, strict=True):
        side = max(int(r), s * round(most ** (1 / 3)) - int(r))
        count = max(1, -(-(w.stop - w.start) // max(1, side)))
        ends = np.linspace(w.start, w.stop, count + 1).astype(int).tolist()
        parts.append([slice(a, b) for a, b in pairwise(ends)])
    return [(i, j, k) for i in parts[0] for j in parts[1] for k in parts[2]]


def single_clicks(hints: Sequence[Hint]) -> list[Points]:
    """Return the clicks that were made one by one, and are meant."""
    clicks = [hint for hint in hints if isinstance(hint, Points) and len(hint.positions_mm) == 1]
    return [click for click in clicks if click.confidence[0] > 0.5]


def step_for(grid: Grid, reach_mm: float, budget: int) -> tuple[int, int, int]:
    """Return the step at which a window of four times the reach has at most so many blocks."""
    spacing = grid.spacing_mm
    room = np.minimum(4 * reach_mm, spacing * grid.shape)
    wide = float(spacing.min())
    while np.prod(room / _steps(spacing, wide) / spacing) > budget:
        wide *= 1.1
    i, j, k = (int(s) for s in _steps(spacing, wide))
    return i, j, k


def _steps(spacing_mm: np.ndarray, wide_mm: float) -> np.ndarray:
    return np.maximum(1, np.round(wide_mm / spacing_mm))


def coarser_by(window: Window, step: tuple[int, int, int], most: int) -> int:
    """Return by how much steps must grow for a window to have no more than `most` voxels."""
    voxels = np.prod([(w.stop - w.start) / s for w, s in zip(window, step, strict=True)])
    return max(1, int(np.ceil((voxels / most) ** (1 / 3))))
