"""Shapes that are no blobs, and the hints that people give of them: what propagation is tried on.

Shapes are made in the units of half an image, so that thick slices stretch them along the third
axis. Strokes are drawn in slices across that axis.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from scipy import ndimage
from skimage.morphology import skeletonize

from voxhint.core import UNDRAWN, Grid, Hint, LabelSet, Mask, Strokes, Volume
from voxhint.simulate.hints import HintRequest, simulate_hints

_BRIGHT = (0.0, 1.0, 0.5)  # of background, first and second label
_NOISE = 0.35  # of the contrast of the first label
_CLUTTER = 0.2  # of that contrast, in smooth spots
_CLUTTER_VOXELS = 3.0
_PARTIAL = 0.5  # voxels by which borders are blurred
_KEPT = 0.75  # of the middle line that a stroke follows
_JITTER = 0.6  # standard deviation of a hand, in voxels
_WIDE = 0.35  # of the places of a stroke where the pen presses
_EVERY_MM = 3.0  # slices of a stack that are drawn in lie at least so far apart
_RING_VOXELS = (3.0, 4.6)  # from the object to both sides of a line around it
_DABS = 5
_DAB_VOXELS = (2.0, 9.0)
_CLICKS = 20
_SLICES = 5

_Places = Float64[np.ndarray, "3 i j k"]
_Classes = UInt8[np.ndarray, "i j k"]
_Sheet = Bool[np.ndarray, "a b"]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A made-up image of a shape."""

    image: Volume
    truth: Mask


def _classes(*parts: Bool[np.ndarray, "i j k"]) -> _Classes:
    numbers = [number * part for number, part in enumerate(parts, 1)]
    return np.asarray(np.sum(numbers, axis=0), np.uint8)


def _ring(at: _Places) -> _Classes:
    return _classes(np.hypot(np.hypot(at[0], at[1]) - 0.55, at[2]) < 0.2)


def _shells(at: _Places) -> _Classes:
    away = np.linalg.norm(at, axis=0)
    return _classes((away > 0.6) & (away < 0.82), (away > 0.28) & (away < 0.5))


def _tube(at: _Places) -> _Classes:
    away = np.hypot(at[0] - 0.35 * np.sin(2 * at[2]), at[1] - 0.2 * np.cos(3 * at[2]))
    return _classes((away > 0.2) & (away < 0.36), away <= 0.2)


def _horseshoe(at: _Places) -> _Classes:
    arch = np.hypot(at[0], at[1] + 0.2)
    arms = (at[1] > -0.2) | (arch > 2)
    bow = arms & (abs(arch - 0.55) < 0.14)
    ends = (at[1] <= -0.2) & (at[1] > -0.75) & (abs(abs(at[0]) - 0.55) < 0.14)
    return _classes((bow | ends) & (abs(at[2]) < 0.45))


def _coil(at: _Places) -> _Classes:
    path = np.linspace(-1, 1, 120)
    middle = np.stack([0.5 * np.cos(5 * path), 0.5 * np.sin(5 * path), 0.75 * path], axis=1)
    return _classes(_away(at, middle) < 0.17)


def _sheet(at: _Places) -> _Classes:
    height = 0.25 * np.sin(3 * at[0]) + 0.2 * at[2]
    return _classes((abs(at[1] - height) < 0.07) & (abs(at[0]) < 0.75) & (abs(at[2]) < 0.75))


def _tree(at: _Places) -> _Classes:
    ends = np.array(
        [
            ((0, 0, -0.9), (0, 0, -0.2)),
            ((0, 0, -0.2), (0.45, 0.2, 0.3)),
            ((0, 0, -0.2), (-0.45, 0.1, 0.25)),
            ((0.45, 0.2, 0.3), (0.7, -0.3, 0.8)),
            ((0.45, 0.2, 0.3), (0.4, 0.65, 0.8)),
            ((-0.45, 0.1, 0.25), (-0.75, 0.4, 0.7)),
            ((-0.45, 0.1, 0.25), (-0.3, -0.5, 0.8)),
        ]
    )
    wide = (0.2, 0.15, 0.15, 0.12, 0.12, 0.12, 0.12)
    found = np.zeros(at.shape[1:], np.bool_)
    for (first, last), width in zip(ends, wide, strict=True):
        found |= _away(at, np.linspace(first, last, 12)) < width
    return _classes(found)


def _islands(at: _Places) -> _Classes:
    steps = np.stack(np.meshgrid(*[np.linspace(-0.7, 0.7, 4)] * 3, indexing="ij")).reshape(3, -1).T
    middles = steps + np.random.default_rng(5).uniform(-0.1, 0.1, steps.shape)
    return _classes(_away(at, middles[::2]) < 0.14)


def _small(at: _Places) -> _Classes:
    away = np.linalg.norm((at - np.array([0.3, -0.2, 0.1])[:, None, None, None]), axis=0)
    return _classes(away < 0.22)


def _away(at: _Places, points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "i j k"]:
    ways = [np.linalg.norm(at - p[:, None, None, None], axis=0) for p in points]
    return np.asarray(np.min(ways, axis=0))


SHAPES: Mapping[str, Callable[[_Places], _Classes]] = {
    "ring": _ring,
    "shell in shell": _shells,
    "tube": _tube,
    "horseshoe": _horseshoe,
    "coil": _coil,
    "thin sheet": _sheet,
    "branching tree": _tree,
    "many islands": _islands,
    "small organ": _small,
}

HINTS = ("clicks", "strokes, ring", "strokes, arcs", "strokes, dabs", "slices")


def made_up(shape: str, *, thick: bool, seed: int = 0) -> Scan:
    """Return a noisy image of a shape, of moderate contrast.

    Args:
        shape: One of `SHAPES`.
        thick: Slices of 8 mm rather than 1 mm.
        seed: Of the noise.

    Returns:
        An image of some tens of voxels a side, and its truth.
    """
    size = (40, 40, 12) if thick else (30, 30, 30)
    if shape == "small organ":
        size = (44, 44, 12) if thick else (36, 36, 36)
    grid = Grid(size, np.diag([1.0, 1.0, 8.0 if thick else 1.0, 1.0]))
    middle = (np.array(size) - 1) / 2
    at = (np.indices(size) - middle[:, None, None, None]) / (middle[:, None, None, None] + 0.5)
    classes = SHAPES[shape](at)
    names = ("background", "a", "b")[: 1 + int(classes.max())]
    labels = LabelSet(names, tuple(range(len(names))))
    return Scan(noisy(classes, grid, seed), Mask(classes, grid, labels))


def noisy(classes: _Classes, grid: Grid, seed: int) -> Volume:
    """Return an image of moderate contrast, with blurred borders, smooth clutter and noise.

    Args:
        classes: Numbers of at most two labels and the background.
        grid: Of the image.
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    blur = _PARTIAL * grid.spacing_mm.min() / grid.spacing_mm
    plain = ndimage.gaussian_filter(np.array(_BRIGHT)[classes], blur)
    spots = ndimage.gaussian_filter(
        rng.standard_normal(grid.shape), _CLUTTER_VOXELS * blur / _PARTIAL
    )
    noise = rng.normal(0, _NOISE, grid.shape)
    return Volume((plain + _CLUTTER * spots / spots.std() + noise).astype(np.float32), grid)


def hints_for(truth: Mask, hints: str, seed: int = 0) -> tuple[Hint, ...]:
    """Return the hints that a person gives of a shape.

    Args:
        truth: What is there.
        hints: One of `HINTS`.
        seed: Of the person's choices.

    Returns:
        Clicks half near borders and half deep; drawn slices; or strokes along the middle of each
        class, with background as a closed line around it all, as two arcs, or as a few dabs.
    """
    rng = np.random.default_rng(seed)
    if hints == "clicks":
        return simulate_hints(truth, HintRequest("points", _CLICKS), rng)
    if hints == "slices":
        return simulate_hints(truth, HintRequest("slices", _SLICES), rng)
    around = {"strokes, ring": _line, "strokes, arcs": _arcs, "strokes, dabs": _dabs}[hints]
    drawn = np.full(truth.ids.shape, UNDRAWN, np.uint8)
    classes = truth.names.to_classes(truth.ids)
    held = np.flatnonzero(classes.any((0, 1)))
    step = max(1, round(_EVERY_MM / float(truth.grid.spacing_mm[2])))
    for k in held[step // 2 :: step]:
        sheet = np.asarray(classes[:, :, k])
        beside = around(sheet > 0, rng) & (sheet == 0)
        drawn[beside, k] = 0
        for number in range(1, len(truth.names.names)):
            drawn[_along(sheet == number, rng), k] = number
    return (Strokes(drawn, truth.grid, complete=False),)


def _along(inside: _Sheet, rng: np.random.Generator) -> _Sheet:
    """Return a jagged line of uneven width along the middle of each piece in a slice."""
    drawn = np.zeros_like(inside)
    pieces, count = ndimage.label(inside, np.ones((3, 3)))
    for number in range(1, count + 1):
        piece = pieces == number
        line = np.argwhere(skeletonize(piece))  # type: ignore[no-untyped-call]
        if not len(line):
            continue
        start = line[rng.integers(len(line))]  # where the hand stops is far from where it starts
        near = np.argsort(np.linalg.norm(line - start, axis=1))[: int(np.ceil(_KEPT * len(line)))]
        drawn |= _by_hand(line[near], inside.shape, rng) & piece
    return drawn


def _by_hand(
    line: Float64[np.ndarray, "n 2"] | np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
) -> _Sheet:
    drawn, pressed = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    moved = np.round(line + rng.normal(0, _JITTER, line.shape)).astype(np.int64)
    i, j = np.clip(moved, 0, np.array(shape) - 1).T
    drawn[i, j] = True
    hard = rng.random(len(line)) < _WIDE
    pressed[i[hard], j[hard]] = True
    return np.asarray(drawn | ndimage.binary_dilation(pressed))


def _line(inside: _Sheet, rng: np.random.Generator) -> _Sheet:
    """Return a line around everything, as a hand draws it that goes around once."""
    whole = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(inside, 9), iterations=8))
    away = ndimage.distance_transform_edt(~whole)[9:-9, 9:-9]
    wander = ndimage.gaussian_filter(rng.standard_normal(inside.shape), 4)
    away = away + 0.7 * wander / wander.std()
    return np.asarray((away > _RING_VOXELS[0]) & (away < _RING_VOXELS[1]))


def _arcs(inside: _Sheet, rng: np.random.Generator) -> _Sheet:
    """Return a quarter of such a line on each of two sides."""
    i, j = (
        p - q for p, q in zip(np.indices(inside.shape), np.argwhere(inside).mean(0), strict=True)
    )
    turn = (np.arctan2(i, j) / np.pi + rng.uniform(0, 2)) % 1  # both sides alike
    return np.asarray(_line(inside, rng) & (turn < 0.5))


def _dabs(inside: _Sheet, rng: np.random.Generator) -> _Sheet:
    """Return a few spots near the border, in holes too."""
    away = ndimage.distance_transform_edt(~inside)
    able = np.argwhere((away > _DAB_VOXELS[0]) & (away < _DAB_VOXELS[1]))
    drawn = np.zeros_like(inside)
    for middle in able[rng.integers(0, len(able), _DABS)]:
        drawn |= _by_hand(middle + rng.normal(0, 0.7, (5, 2)), inside.shape, rng)
    return drawn
