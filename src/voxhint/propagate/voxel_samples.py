"""The voxels of a case that teach others: what its hints prove, and what nothing speaks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy.spatial import cKDTree

from voxhint.core import LabelSet, Volume
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.propagate.fact_shares import Cells
from voxhint.propagate.voxel_features import VoxelFeatures

_KEPT = 4000  # facts of a case that are learnt from
_PRESUMED = 600  # voxels of a case that are learnt from as background that nobody showed
_HEAVIEST = 1.5  # times the mean of a class: most that a lone click of it weighs
_POOLED = 100_000  # places of an image that ask for the nearest fact of all cases
_SPARSE = 10.0  # ellipsoids that clicks of a label stand for where background leaves them open
_AXES = 3


@dataclass(frozen=True, slots=True, eq=False)
class VoxelSamples:
    """The proven voxels of one case."""

    features: Float32[np.ndarray, "n feature"]
    classes: Float32[np.ndarray, "n class"]
    also: Bool[np.ndarray, "n class"]
    """Labels that a voxel shown or presumed as background may be, for all that its case says."""

    weights: Float32[np.ndarray, " n"]
    """The volume each voxel stands for, so that places shown often do not count twice."""

    drawn_whole: bool = False
    """Whether slices are drawn whole, so that voxels of labels are as frequent as they are shown.
    Elsewhere people mark what they like, and the volumes are guesses."""


def voxel_samples(
    hints: SparseConstraints,
    images: Mapping[str, Volume],
    channels: Sequence[str],
    labels: LabelSet,
    rng: np.random.Generator,
) -> VoxelSamples:
    """Collect what the hints of a case prove, and what nothing speaks for.

    People show labels and what lies beside them, hardly ever the rest. So voxels beyond the reach
    of every label, but not far beyond it, are counted as background that was shown.

    Args:
        hints: What the hints of the case prove.
        images: Channels by name, on the grid of the hints.
        channels: Names of all channels of the study.
        labels: Names of the classes.
        rng: Chooses among more facts than are needed.

    Returns:
        Some thousand voxels at most, each weighed by the voxels near the labels that it stands for.
    """
    cells = Cells.of(hints)
    if hints.drawn_whole:  # slices show what lies beside a label, and nothing of its ends
        count = len(cells.facts)
        shares = np.full(count, np.prod(hints.grid.shape) / max(1, count), np.float32)
        lone = np.zeros(0, np.int64)
    else:
        shares, lone = cells.stand_for(labels)
    some, times = _drawn(cells.classes, _KEPT, rng)
    kept, weights = cells.facts[some], shares[some] * times
    some, times = _drawn(np.zeros(len(lone), np.int64), _PRESUMED, rng)
    beside, more = lone[some], cells.voxels * times
    classes = hints.at(kept)[0].T
    background = np.zeros((len(beside), classes.shape[1]), np.float32)
    background[:, 0] = 1
    both = np.concatenate([classes, background])
    also = np.zeros(both.shape, np.bool_)
    also[:, list(hints.open_labels)] = True
    also[len(kept) :] |= ~hints.spoken
    also &= ((hints.elsewhere > 0) | hints.spoken) & (both[:, :1] > 0)
    also[:, 0] = False
    index = np.stack(np.unravel_index(np.concatenate([kept, beside]), hints.grid.shape), -1)
    shown = np.where(classes.max(1) > 0, classes.argmax(1), 0)
    numbers = np.concatenate([shown, np.zeros(len(beside), np.int64)])
    features = VoxelFeatures.of(images, hints, channels).of_facts(index, numbers)
    volumes = np.concatenate([weights, more])
    return VoxelSamples(features, both, also, volumes, hints.drawn_whole)


def _drawn(
    classes: Int64[np.ndarray, " n"], most: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
    """Return which of some facts are kept, as many of each class if it has them, and their times.

    A whole slice proves some voxels of an organ and ten thousand of background.
    """
    if len(classes) <= most:
        return np.arange(len(classes)), np.ones(len(classes), np.float32)
    numbers, counts = np.unique(classes, return_counts=True)
    kept, times = [], []
    for turn, which in enumerate(np.argsort(counts)):  # what rare classes leave is for the others
        count = min(int(counts[which]), most // (len(counts) - turn))
        most -= count
        of_class = np.flatnonzero(classes == numbers[which])
        kept.append(np.sort(rng.choice(of_class, count, replace=False)))
        times.append(np.full(count, len(of_class) / count, np.float32))
    return np.concatenate(kept), np.concatenate(times)


def weighed_together(cases: Sequence[VoxelSamples], rng: np.random.Generator) -> list[VoxelSamples]:
    """Return facts weighed by the part of the image that is nearest to them of those of all cases.

    Alone in its case a click stands for half of the image. Over many cases the clicks of a label
    lie as wide as it is, those of background around them. No click stands for much more than
    others of its class: a few at the rim of all would decide what is learnt, and whether.
    """
    places = [case.features[:, -_AXES:] for case in cases]
    asked = rng.uniform(-1, 1, (_POOLED, _AXES))
    nearest = cKDTree(np.concatenate(places)).query(asked)[1]
    held = np.bincount(nearest, minlength=sum(map(len, places))).astype(np.float32)
    for number in np.unique(shown := np.concatenate([case.classes for case in cases]).argmax(1)):
        own = shown == number
        few = np.minimum(held[own], _HEAVIEST * held[own].mean())
        held[own] = few * held[own].sum() / few.sum()
    ends = np.cumsum([len(part) for part in places])[:-1]
    return [
        replace(case, weights=np.asarray(weights))
        for case, weights in zip(cases, np.split(held, ends), strict=True)
    ]


def are_bounded(cases: Sequence[VoxelSamples]) -> bool:
    """Return whether lone clicks of background lie densely enough around those of labels.

    The clicks of a label span an ellipsoid over all cases. Where they stand for many times as much,
    nothing is shown that would tell where the label ends.

    Args:
        cases: As `weighed_together` returns them.
    """
    places = np.concatenate([case.features[:, -_AXES:] for case in cases])
    classes = np.concatenate([case.classes for case in cases])
    weights = np.concatenate([case.weights for case in cases])
    times = []
    for own in classes.T[1:] > 0:
        if own.sum() > _AXES:
            spread = np.linalg.det(np.cov(places[own].T))
            ellipsoid = 4 / 3 * np.pi * 5**1.5 * np.sqrt(max(spread, 0)) / 2**_AXES
            times.append(weights[own].sum() / weights.sum() / max(ellipsoid, 1e-9))
    return not times or bool(np.median(times) <= _SPARSE)
