"""Clicks of one case as scores of classes: each click spreads over what is near it and looks alike.

The scores are a regression on the clicks: each click has a bell of its own, as wide as what it
corrects, and the weights of all bells are such that every click has its class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from voxhint.core import Grid, Volume
from voxhint.propagate.coarse_to_fine import Coarse, Window
from voxhint.propagate.compiled import compiled
from voxhint.propagate.edge_cost import cost_of_ways, slope
from voxhint.propagate.geodesic import nearest_mark

_BLURS_MM = (0.7, 1.5)
_PERCENTILES = (1, 99)
_LEAST_RANGE = 0.1  # of the image's range of intensities: quiet surroundings claim no more
_EDGE_MM = 10.0  # by which a way gets longer that crosses the whole range of intensities
_ALIKE = 0.12  # of the range: voxels so unlike a click have 0.6 of its bell along ways
_BLIND = 0.3  # of that bell, whatever the intensities
_FLAT = 0.3  # share of the bell that heeds no edges, but likeness alone
_FLAT_ALIKE = 0.18
_ENDS = 2.6  # widths after which a bell ends
_RIDGE = 0.02  # squared: how far a click may be missed, so that weights stay small


@dataclass(frozen=True, slots=True, eq=False)
class Click:
    """A click and its bell."""

    key: int
    """Of the hint that it came with."""

    number: int
    voxel: tuple[int, int, int]
    window: Window
    """Of the image; it begins at whole steps."""

    bell: Float32[np.ndarray, "a b c"]
    """How much is said of each block of the window; 1 at the click."""


def bell_window(
    voxel: tuple[int, int, int], grid: Grid, reach_mm: float, step: tuple[int, int, int]
) -> Window:
    """Return the window that a click may change, begun at whole steps."""
    rim = np.ceil(_ENDS * reach_mm / grid.spacing_mm).astype(int).tolist()
    i, j, k = (
        slice(max(0, at - wide) // by * by, min(count, at + wide + 1))
        for at, wide, by, count in zip(voxel, rim, step, grid.shape, strict=True)
    )
    return i, j, k


def bell_of(
    images: Sequence[Volume],
    coarse: Coarse,
    voxel: tuple[int, int, int],
    *,
    width_mm: float,
    reach_mm: float,
    ranges: Sequence[float],
) -> Float32[np.ndarray, "a b c"]:
    """Return how much a click says of its surroundings: less far away, over edges, and unlike it.

    Args:
        images: Channels on one grid.
        coarse: The window, from `bell_window`.
        voxel: The click.
        width_mm: How far away along ways it says 0.6 of itself.
        reach_mm: How far away it says something at all of what looks alike.
        ranges: Of the intensities of each whole channel.
    """
    at = _block(voxel, coarse.window, coarse.step)
    spacing = coarse.grid.spacing_mm
    unlike, steep = (np.zeros(coarse.grid.shape, np.float32) for _ in range(2))
    for image, wide in zip(images, ranges, strict=True):
        voxels = coarse.mean(image.voxels)
        blurred = [ndimage.gaussian_filter(voxels, blur / spacing) for blur in _BLURS_MM]
        low, high = np.percentile(blurred[0], _PERCENTILES)
        span = np.float32(max(high - low, _LEAST_RANGE * wide, 1e-6))
        for one in blurred:
            unlike += ((one - one[at]) / span) ** 2 / np.float32(len(images) * len(blurred))
        steep += (slope(blurred[0], spacing) / span) ** 2 / np.float32(len(images))
    cost = cost_of_ways(np.sqrt(steep), edge_weight=_EDGE_MM)
    unit = float(np.median(cost)) * width_mm
    mark = np.zeros(cost.shape, np.int32)
    mark[at] = 1
    way = nearest_mark(mark, cost, coarse.grid, limit_mm=_ENDS * unit)[0]
    found: Float32[np.ndarray, "a b c"] = compiled(_bell)(
        way / np.float32(unit),
        unlike,
        np.array(at, np.float32),
        (spacing / reach_mm).astype(np.float32),
        np.array([_BLIND, _ALIKE, _FLAT, _FLAT_ALIKE], np.float32),
    )
    return found


def range_of(image: Volume) -> float:
    """Return the range of the intensities of an image, looked at here and there."""
    some = tuple(slice(None, None, max(1, count // 64)) for count in image.grid.shape)
    low, high = np.percentile(image.voxels[some], _PERCENTILES)
    return float(high - low)


def weights_of(
    clicks: Sequence[Click],
    base: Float64[np.ndarray, "click class"],
    step: tuple[int, int, int],
) -> Float64[np.ndarray, "click class"]:
    """Return the weight of each click's bell for each class, such that every click has its class.

    Args:
        clicks: Of the case.
        base: Scores of the classes at the clicks without any.
        step: Of all windows.

    Returns:
        Weights that make the scores at clicks 1 and 0, as far as they agree with each other.

    Source:
        Hoerl and Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems".
    """
    bells = np.array([[_at(one, other.voxel, step) for one in clicks] for other in clicks])
    wanted = np.eye(base.shape[1])[[click.number for click in clicks]] - base
    ridge = bells.T @ bells + _RIDGE * np.eye(len(clicks))
    return np.asarray(np.linalg.solve(ridge, bells.T @ wanted))


def scores_in(
    coarse: Coarse, clicks: Sequence[Click], weights: Float64[np.ndarray, "click class"]
) -> Float32[np.ndarray, "class i j k"]:
    """Return what clicks add to the scores of the classes in a window, voxel by voxel.

    Args:
        coarse: The window, begun at whole steps.
        clicks: Of the case.
        weights: From `weights_of`.
    """
    total = np.zeros((weights.shape[1], *coarse.grid.shape), np.float32)
    for click, weight in zip(clicks, weights, strict=True):
        here, there = [], []
        for axis, by in enumerate(coarse.step):
            shift = (click.window[axis].start - coarse.window[axis].start) // by
            low = max(0, shift)
            high = min(total.shape[axis + 1], shift + click.bell.shape[axis])
            here.append(slice(low, max(low, high)))
            there.append(slice(low - shift, max(low, high) - shift))
        for number in np.flatnonzero(weight):
            total[number][tuple(here)] += np.float32(weight[number]) * click.bell[tuple(there)]
    return coarse.fine(total)


def _block(
    voxel: tuple[int, int, int], window: Window, step: tuple[int, int, int]
) -> tuple[int, int, int]:
    i, j, k = ((at - w.start) // by for at, w, by in zip(voxel, window, step, strict=True))
    return i, j, k


def _at(click: Click, voxel: tuple[int, int, int], step: tuple[int, int, int]) -> float:
    """Return what the bell of a click says of a voxel."""
    if not all(w.start <= at < w.stop for at, w in zip(voxel, click.window, strict=True)):
        return 0.0
    return float(click.bell[_block(voxel, click.window, step)])


def _bell(way, unlike, at, scale, numbers):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    blind, alike, flat, flat_alike = numbers
    for i in range(way.shape[0]):
        for j in range(way.shape[1]):
            for k in range(way.shape[2]):
                off = unlike[i, j, k] / 2
                along = np.exp(-(way[i, j, k] ** 2) / 2)
                if along > 0:
                    along *= blind + (1 - blind) * np.exp(-off / alike**2)
                away = (
                    ((i - at[0]) * scale[0]) ** 2
                    + ((j - at[1]) * scale[1]) ** 2
                    + ((k - at[2]) * scale[2]) ** 2
                )
                straight = np.exp(-away / 2 - off / flat_alike**2)
                way[i, j, k] = (1 - flat) * along + flat * straight
    return way
