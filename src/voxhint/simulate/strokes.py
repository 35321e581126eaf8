"""What a person draws: whole slices, and scribbles on every second or third slice."""

import math
from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from voxhint.core import UNDRAWN, Grid, LabelSet

_ALIKE = 1.02  # spacings that differ by less are equal
_SMALLEST = 6  # pixels: a smaller spot gets no stroke of its own
_GAP_MM = (3.0, 9.0)  # from the nearest object to the inner side of a background arc
_BAND_MM = 6.0
_ARCS = 2
_ARC_MM = (20.0, 70.0)
_BEND = 0.25  # radians, how much the hand turns from one half pixel to the next
_TURNS = [sign * math.pi / 8 * turn for turn in range(8) for sign in (1, -1)]  # tried in order


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A dense truth whose i, j, k run nearest to right, anterior and superior."""

    classes: UInt8[np.ndarray, "i j k"]
    grid: Grid
    labels: LabelSet

    @property
    def spacing_mm(self) -> Float64[np.ndarray, "3"]:
        """Return the distance of voxel centres along i, j and k."""
        return self.grid.spacing_mm

    @property
    def axis(self) -> int:
        """Return the axis across the slices a person looks at."""
        return drawing_axis(self.grid)

    @property
    def present(self) -> tuple[str, ...]:
        """Return the foreground labels that occur."""
        found = set(np.unique(self.classes).tolist())
        return tuple(n for n in self.labels.foreground if self.labels.number(n) in found)

    def where(self, label: str) -> Bool[np.ndarray, "i j k"]:
        """Return the voxels of a label."""
        return np.asarray(self.classes == self.labels.number(label))


def drawing_axis(grid: Grid) -> int:
    """Return the axis across the slices a person looks at: the coarsest, else head to foot."""
    spacing = grid.spacing_mm
    upright_first = reversed(grid.turn_to_ras().axes)
    return next(axis for axis in upright_first if spacing[axis] * _ALIKE >= spacing.max())


def drawn_slices(scene: Scene, count: int, rng: np.random.Generator) -> UInt8[np.ndarray, "i j k"]:
    """Draw whole slices, chosen from all of the array: some may show no object.

    Args:
        scene: The truth.
        count: How many slices; all of them if there are fewer.
        rng: Chooses the slices.

    Returns:
        Class numbers on the slices drawn, `UNDRAWN` elsewhere.
    """
    number = scene.grid.shape[scene.axis]
    kept = rng.choice(number, size=min(count, number), replace=False)
    drawn = np.full_like(scene.classes, UNDRAWN)
    np.moveaxis(drawn, scene.axis, 0)[kept] = np.moveaxis(scene.classes, scene.axis, 0)[kept]
    return drawn


def scribbles(scene: Scene, rng: np.random.Generator) -> UInt8[np.ndarray, "i j k"]:
    """Scribble on every second or third slice: in each object, and in open arcs around them.

    Returns:
        Class numbers on the strokes, `UNDRAWN` elsewhere.
    """
    drawn = np.full_like(scene.classes, UNDRAWN)
    across = np.delete(scene.spacing_mm, scene.axis)
    pen = _Pen((float(across[0]), float(across[1])), rng)
    # views: one slice after the other along the first axis
    sheets = np.moveaxis(drawn, scene.axis, 0)
    truth = np.moveaxis(scene.classes, scene.axis, 0)
    empty = (scene.classes == 0) | (scene.classes == UNDRAWN)
    spacing = tuple(map(float, scene.spacing_mm))
    away_mm = np.moveaxis(edt.edt(np.ascontiguousarray(empty), anisotropy=spacing), scene.axis, 0)
    at = int(rng.integers(0, 2))
    while at < len(sheets):
        _objects(pen, truth[at], sheets[at], scene)
        _arcs(pen, truth[at], sheets[at], np.ascontiguousarray(away_mm[at]))
        at += int(rng.integers(2, 4))
    _make_up(pen, truth, sheets, scene)
    return drawn


@dataclass(frozen=True, slots=True)
class _Pen:
    """A hand that wanders over one slice."""

    spacing_mm: tuple[float, float]
    rng: np.random.Generator

    def stroke(self, region: Bool[np.ndarray, "a b"], length_mm: float) -> Bool[np.ndarray, "a b"]:
        """Draw a bending line that stays in a region, started well inside it.

        Args:
            region: Where the line may lie.
            length_mm: How long it should be; where there is no way on it ends earlier.

        Returns:
            The pixels drawn; none in an empty region.
        """
        line = np.zeros_like(region)
        start = self._start(region)
        if start is None:
            return line
        step = min(self.spacing_mm) / 2
        heading = float(self.rng.uniform(0, 2 * np.pi))
        at = start
        steps = max(2, round(length_mm / step))
        bends = self.rng.normal(0, _BEND, steps)
        sides = self.rng.choice((-1.0, 1.0), steps)
        for bend, side in zip(bends.tolist(), sides.tolist(), strict=True):
            line[self._pixel(at)] = True
            way = self._way_on(region, at, heading + bend, side * step)
            if way is None:
                break
            at, heading = way
        return line

    def _start(self, region: Bool[np.ndarray, "a b"]) -> tuple[float, float] | None:
        """Return a place in the region, likelier where it is wide; None if it is empty."""
        able = np.flatnonzero(region)
        if not len(able):
            return None
        depth = edt.edt(region, anisotropy=self.spacing_mm, black_border=True).reshape(-1)[able]
        weight = depth.astype(np.float64) ** 2
        row, column = divmod(int(self.rng.choice(able, p=weight / weight.sum())), region.shape[1])
        return row * self.spacing_mm[0], column * self.spacing_mm[1]

    def _way_on(
        self, region: Bool[np.ndarray, "a b"], at: tuple[float, float], heading: float, step: float
    ) -> tuple[tuple[float, float], float] | None:
        """Return the next place and heading: straight on, or turned as little as needed.

        A negative `step` looks to the other side first.
        """
        reach = abs(step)
        for turn in _TURNS:
            course = heading + (turn if step > 0 else -turn)
            place = at[0] + reach * math.cos(course), at[1] + reach * math.sin(course)
            i, j = self._pixel(place)
            if 0 <= i < region.shape[0] and 0 <= j < region.shape[1] and region[i, j]:
                return place, course
        return None

    def _pixel(self, place_mm: tuple[float, float]) -> tuple[int, int]:
        return round(place_mm[0] / self.spacing_mm[0]), round(place_mm[1] / self.spacing_mm[1])


def _objects(
    pen: _Pen, truth: UInt8[np.ndarray, "a b"], sheet: UInt8[np.ndarray, "a b"], scene: Scene
) -> None:
    """Draw one stroke in each label that is large enough on this slice."""
    for label in scene.present:
        number = scene.labels.number(label)
        region = np.ascontiguousarray(truth == number)
        if region.sum() >= _SMALLEST:
            sheet[pen.stroke(region, _length_mm(pen, region))] = number


def _length_mm(pen: _Pen, region: Bool[np.ndarray, "a b"]) -> float:
    """Return how long a stroke is in a region: about its width."""
    width_mm = float(np.sqrt(region.sum() * pen.spacing_mm[0] * pen.spacing_mm[1]))
    return width_mm * float(pen.rng.uniform(0.5, 1.1))


def _arcs(
    pen: _Pen,
    truth: UInt8[np.ndarray, "a b"],
    sheet: UInt8[np.ndarray, "a b"],
    away_mm: Float32[np.ndarray, "a b"],
) -> None:
    """Draw open arcs of background around the objects, some millimetres off."""
    low = float(pen.rng.uniform(*_GAP_MM))
    for _ in range(_ARCS):
        band = (away_mm > low) & (away_mm < low + _BAND_MM) & (truth == 0)
        sheet[pen.stroke(band, float(pen.rng.uniform(*_ARC_MM)))] = 0


def _make_up(
    pen: _Pen,
    truth: UInt8[np.ndarray, "s a b"],
    sheets: UInt8[np.ndarray, "s a b"],
    scene: Scene,
) -> None:
    """Draw the labels that every slice visited so far has missed, on their largest slice."""
    for label in scene.present:
        number = scene.labels.number(label)
        if (sheets == number).any():
            continue
        at = int((truth == number).sum(axis=(1, 2)).argmax())
        region = np.ascontiguousarray(truth[at] == number)
        sheets[at][pen.stroke(region, _length_mm(pen, region))] = number
