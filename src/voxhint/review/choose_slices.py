"""What one picture shows, and where in the image it is worth looking."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped

from voxhint.core.grid import Grid
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import UNDRAWN, LabelSet
from voxhint.core.volume import Mask, SoftLabel, Volume
from voxhint.review.slice_view import Plane, Span, View, plane_at, through_axis

_LIKELY = 0.5
_MARGIN_MM = 15.0  # seen around the object, so that one knows where one is
_SMALLEST_MM = 70.0  # side of the smallest picture, unless the image is smaller
_ENOUGH = 20_000  # voxels that tell where an object lies
_STROKE_WORTH = 3.0  # strokes are seen on their own layer only
_POINT_WORTH = 1.5  # points beside the layer are seen, but faint


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """Something worth seeing."""

    places_mm: Float64[np.ndarray, "n 3"]
    worth: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One case as a picture shows it; what is None or empty is left out."""

    image: Volume
    names: LabelSet
    hints: tuple[Hint, ...] = ()
    soft: SoftLabel | None = None
    """Classes in the order of `names`, background first."""

    mask: Mask | None = None
    truth: Mask | None = None
    unsure: tuple[Float32[np.ndarray, "i j k"], Grid] | None = None
    """How unsure the network is of each voxel, 0 to 1."""

    without: Volume | None = None
    """The image as it would be without what tags name, on the same grid."""


def choose_planes(scene: Scene, view: View, *, most: int) -> tuple[tuple[Plane, ...], int]:
    """Find the slice that shows most of every label's object and hints, and slices around it.

    Args:
        scene: The case.
        view: From where to look.
        most: How many slices at most.

    Returns:
        Slices in order through all that is worth seeing, cut to its surroundings, and which of
        them is best: the one with the largest sum of objects' and hints' shares, or the middle one
        if there are none.
    """
    grid = scene.image.grid.turned(scene.image.grid.turn_to_ras())
    axis = through_axis(view)
    worth, middle = _worth(scene, grid, axis)
    nearest = np.abs(np.arange(len(worth)) - middle)
    best = int(np.lexsort((nearest, -worth))[0])
    shown = np.flatnonzero(worth) if worth.any() else np.arange(len(worth))
    chosen = np.linspace(shown[0], shown[-1], min(most, shown[-1] - shown[0] + 1)).round()
    chosen[np.abs(chosen - best).argmin()] = best
    spans = _surroundings(scene, grid)
    indices = np.unique(chosen.astype(int))
    planes = tuple(plane_at(grid, view, int(index), spans) for index in indices)
    return planes, int(np.flatnonzero(indices == best)[0])


def _worth(scene: Scene, grid: Grid, axis: int) -> tuple[Float64[np.ndarray, " n"], float]:
    """Return how much each slice shows, and where the middle of it lies."""
    layers = grid.shape[axis]
    worth = np.zeros(layers)
    centres: list[float] = []
    for sight in _sights(scene):
        heights = grid.to_index(sight.places_mm)[:, axis]
        inside = np.rint(heights[(heights > -0.5) & (heights < layers - 0.5)]).astype(int)
        if len(inside):
            count = np.bincount(inside, minlength=layers)
            worth += sight.worth * np.sqrt(count / count.max())
            centres.append(float(np.median(inside)))
    return worth, float(np.mean(centres)) if centres else (layers - 1) / 2


def _surroundings(scene: Scene, grid: Grid) -> tuple[Span, Span, Span]:
    """Return the part of each axis around everything worth seeing."""
    sights = [sight.places_mm for sight in _sights(scene)]
    if not sights:
        return (0, grid.shape[0]), (0, grid.shape[1]), (0, grid.shape[2])
    index = grid.to_index(np.concatenate(sights))
    spans: list[Span] = []
    for axis in range(3):
        step, count = float(grid.spacing_mm[axis]), grid.shape[axis]
        low, high = np.percentile(index[:, axis], (1, 99))
        reach = max((high - low) / 2 + _MARGIN_MM / step, _SMALLEST_MM / 2 / step)
        centre = np.clip((low + high) / 2, 0, count - 1)
        spans.append((max(0, int(centre - reach)), min(count, int(np.ceil(centre + reach)) + 1)))
    return spans[0], spans[1], spans[2]


def _sights(scene: Scene) -> Iterator[_Sight]:
    """Yield each label's object and each hint that has a place, none of them empty."""
    objects = (_Sight(_object(scene, number)) for number in range(1, len(scene.names.names)))
    marks = (sight for hint in scene.hints for sight in _marks(hint))
    yield from (sight for sight in (*objects, *marks) if len(sight.places_mm))


def _object(scene: Scene, number: int) -> Float64[np.ndarray, "n 3"]:
    """Return where a class lies, from the best there is: truth, mask, soft label."""
    for drawn in (scene.truth, scene.mask):
        if drawn is not None and (drawn.ids == scene.names.ids[number]).any():
            return _where(drawn.ids == scene.names.ids[number], drawn.grid)
    if scene.soft is not None:
        likely = (scene.soft.probs[number] > _LIKELY) & (scene.soft.trust[number] > 0)
        return _where(likely, scene.soft.grid)
    return np.zeros((0, 3))


def _marks(hint: Hint) -> Iterator[_Sight]:
    match hint:
        case Points():
            yield _Sight(hint.positions_mm, _POINT_WORTH)
        case Box():
            yield _Sight((hint.low_mm + hint.high_mm)[None] / 2)
        case Diameter():
            yield _Sight(hint.centre_mm[None])
        case Strokes():
            yield from _drawn(hint)
        case Soft():
            yield _Sight(_where(hint.probability > _LIKELY, hint.grid))
        case Tag():
            return


def _drawn(strokes: Strokes) -> Iterator[_Sight]:
    """Yield where each class is drawn; on a drawn slice background is no sight of its own."""
    for number in np.unique(strokes.classes[strokes.classes != UNDRAWN]):
        if number > 0 or not strokes.complete:
            yield _Sight(_where(strokes.classes == number, strokes.grid), _STROKE_WORTH)


def _where(chosen: Bool[np.ndarray, "i j k"], grid: Grid) -> Float64[np.ndarray, "n 3"]:
    index: Shaped[np.ndarray, "n 3"] = np.argwhere(chosen)
    return grid.to_world(index[:: 1 + len(index) // _ENOUGH].astype(np.float64))
