"""What needs no classifier, or no image: controls that every map is read against."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from _looks import operating_point_of, score
from _windows import Window

from voxhint.classify.classifier import Classifier
from voxhint.measure.roc import ranking

BLOB_MM = 5.0  # standard deviation of the blob at a random place
FLAT = 0.01  # weight of millimetres along z in a cylinder: the middle slice is its peak
STATISTICS: Mapping[str, Callable[[np.ndarray], np.floating[Any]]] = {
    "highest HU": np.max,
    "99th percentile of HU": functools.partial(np.percentile, q=99),
    "mean HU": np.mean,
    "share of -600 to -200 HU": lambda image: np.mean((image > -600) & (image < -200)),
}


def away_mm(seen: Window, place: np.ndarray, *, along_z: float) -> np.ndarray:
    """Return millimetres from a voxel; slices lie along the last axis."""
    weights = np.array(seen.spacing_mm) * (1, 1, along_z)
    squares = [
        ((np.arange(n) - p) * w) ** 2
        for n, p, w in zip(seen.truth.shape, place, weights, strict=True)
    ]
    away: np.ndarray = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])
    return away


def at_truth(seen: Window) -> np.ndarray:
    """Return cylinders around the true centre, higher inside: any threshold gives a radius."""
    middle = np.argwhere(seen.truth).mean(0)
    return np.exp(-away_mm(seen, middle, along_z=FLAT) / 10).astype(np.float32)


def at_middle(seen: Window) -> np.ndarray:
    """Return cylinders around the middle of the window."""
    middle = (np.array(seen.truth.shape) - 1) / 2
    return np.exp(-away_mm(seen, middle, along_z=FLAT) / 10).astype(np.float32)


def anywhere(seen: Window) -> np.ndarray:
    """Return a blob at a random place."""
    squares = away_mm(seen, seen.rng.integers(seen.truth.shape), along_z=1.0) ** 2
    return np.exp(-squares / (2 * BLOB_MM**2)).astype(np.float32)


def ranked(
    classifiers: dict[str, Classifier], windows: Sequence[Window]
) -> dict[str, dict[str, Any]]:
    """Return how well whole windows are told apart, by classifiers and by plain statistics."""
    truth = np.array([bool(w.truth.any()) for w in windows])
    subjects = [w.subject for w in windows]
    found: dict[str, tuple[np.ndarray, list[float | None]]] = {}
    for name, classifier in classifiers.items():
        scores = np.array([score(classifier, w) for w in windows])
        through = scores >= operating_point_of(classifier)
        found[name] = scores, [float(through[truth].mean()), float(through[~truth].mean())]
    for name, statistic in STATISTICS.items():
        found[name] = np.array([float(statistic(w.image)) for w in windows]), [None, None]
    rows = {}
    for name, (scores, passed) in found.items():
        area = ranking(scores, truth, subjects, rng=np.random.default_rng(0))
        rows[name] = {**dataclasses.asdict(area), "passed": passed}
    return rows
