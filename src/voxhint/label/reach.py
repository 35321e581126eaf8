"""How far a seed speaks for its neighbours, planned from where the hints of a study lie."""

from collections.abc import Iterable, Mapping, Sequence

import edt
import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from scipy.spatial import cKDTree

from voxhint.core import Grid, LabelSet, Volume
from voxhint.label.seeds import Evidence
from voxhint.label.spread import edge_cost, geodesic_mm

_FEWEST = 4  # seeds that can span a volume
_SOME = 60  # seeds of a case and class whose midpoints tell detours
_SEEDS = 150  # of a case looked at: pairs grow with the square
_RANDOM = 0.554  # mean distance to the nearest of n random points, in (volume / n)^(1/3)
_GAP = 0.375  # of the width of a box: from its core to its faces, and half of that for edges
_OUTSIDE = 4 / 3  # reach of what surrounds boxes and balls, in mean reaches of their labels
_FIELD = 0.05  # of the field of view: where a study shows a class by single clicks only


def case_reach(evidence: Evidence, labels: LabelSet) -> dict[str, float]:
    """Measure how far apart the seeds of each class lie in one case.

    The mean distance from between the seeds to the nearest of them, in units of what random points
    would show, so that n points spread over a volume V give about (V / n)^(1/3).

    Args:
        evidence: What the hints of the case prove.
        labels: Names of the classes.

    Returns:
        Millimetres for each class with at least four seeds that span a volume, or with a box or
        ball. Between drawn slices one for all classes: the typical distance to the nearest slice.

    Source:
        Chandrasekhar 1943, "Stochastic problems in physics and astronomy", appendix VII: the mean
        distance 0.554 n^(-1/3) to the nearest of random points.
    """
    if evidence.drawn_whole:
        return dict.fromkeys(labels.names, _slice_gap(evidence))
    found = {}
    for number, name in enumerate(labels.names):
        index = np.argwhere(evidence.proven[number] > 0.5)
        if len(index) >= _FEWEST:
            step = -(-len(index) // _SEEDS)
            seeds = evidence.grid.to_world(index.astype(np.float64))
            reach = _gap(seeds[::step], seeds) / _RANDOM
            if reach > float(evidence.grid.spacing_mm.min()):
                found[name] = reach
    return {**found, **_shape_reach(evidence, labels)}


def _shape_reach(evidence: Evidence, labels: LabelSet) -> dict[str, float]:
    """Return the way from core to outline of boxes and balls, for them and what surrounds them.

    The background reaches a third further: what fills a box is round, and leaves half of it.
    """
    found = {}
    for number, name in enumerate(labels.names):
        if evidence.likely[number].any():
            volume = float((evidence.possible[number] > 0.5).sum()) * evidence.grid.voxel_mm3
            found[name] = _GAP * float(np.cbrt(volume))
    if found:
        found[labels.names[0]] = _OUTSIDE * float(np.mean(list(found.values())))
    return found


def _slice_gap(evidence: Evidence) -> float:
    """Return how far voxels lie from drawn slices; one for all classes, so that outlines meet."""
    away = ndimage.distance_transform_edt(~evidence.settled, evidence.grid.spacing_mm)
    return max(float(np.sqrt(np.mean(away**2))), float(evidence.grid.spacing_mm.max()))


def _gap(some: Float64[np.ndarray, "n 3"], seeds: Float64[np.ndarray, "m 3"]) -> float:
    """Return the mean distance from the midpoints of pairs to the nearest seed."""
    one, two = np.triu_indices(len(some), 1)
    away, _ = cKDTree(seeds).query((some[one] + some[two]) / 2)
    return float(np.mean(away))


def detours(
    evidence: Evidence, images: Sequence[Volume], labels: LabelSet, *, edge_weight: float
) -> dict[str, float]:
    """Measure how much longer edges make the ways between the seeds of each class in one case.

    Args:
        evidence: What the hints of the case prove.
        images: Channels on the evidence's grid.
        labels: Names of the classes.
        edge_weight: As for `geodesic_mm`.

    Returns:
        For each class with at least four seeds, the ways to its nearest seed over the straight
        lines there, from those midpoints of its seeds that are nearer to them than to another
        class's.
    """
    part = evidence.open_box()
    enough = (evidence.proven[1:] > 0.5).sum((1, 2, 3)) >= _FEWEST
    if part is None or evidence.drawn_whole or not enough.any():
        return {}
    inner = evidence.cropped(part)
    steep = edge_cost([image.cropped(part) for image in images])
    seeds = inner.proven > 0.5
    ways = np.stack([geodesic_mm(s, steep, inner.grid, edge_weight=edge_weight) for s in seeds])
    found = {}
    for number, name in enumerate(labels.names):
        index = np.argwhere(seeds[number])
        if len(index) < _FEWEST:
            continue
        some = index[:: -(-len(index) // _SOME)]
        one, two = np.triu_indices(len(some), 1)
        midpoints = np.unique((some[one] + some[two]) // 2, axis=0)
        around = ways[(slice(None), *midpoints.T)]
        own = midpoints[around[number] <= around.min(0)]
        straight = edt.edt(
            np.ascontiguousarray(~seeds[number]), anisotropy=tuple(inner.grid.spacing_mm.tolist())
        )
        plain = float(straight[tuple(own.T)].sum())
        if plain > 0:
            found[name] = float(ways[(number, *own.T)].sum()) / plain
    return found


def spread_mm(seeds: Bool[np.ndarray, "i j k"], grid: Grid) -> float | None:
    """Return a width of bells that just join: 1.5 times the usual distance to the nearest seed.

    Args:
        seeds: Voxels of one class.
        grid: Their grid.

    Returns:
        1.5 times the median distance in millimetres; None for a single seed.
    """
    places = grid.to_world(np.argwhere(seeds).astype(np.float64))
    if len(places) < 2:
        return None
    away = np.asarray(cKDTree(places).query(places, 2)[0])
    return 1.5 * float(np.median(away[:, 1]))


def plan_reach(
    measured: Iterable[Mapping[str, float]],
    grids: Sequence[Grid],
    labels: LabelSet,
    detoured: Sequence[Mapping[str, float]] = (),
) -> dict[str, float]:
    """Decide one reach for each class of a study.

    Args:
        measured: What `case_reach` found in some or all cases.
        grids: Their grids.
        labels: Names of the classes.
        detoured: What `detours` found in some cases, where ways lead over edges: a label whose
            ways are lengthened more than the background's then reaches so much further, but not
            beyond the background.

    Returns:
        The median over cases; where no case shows a class by enough seeds, a twentieth of the
        median field of view.
    """
    cases = list(measured)
    fields = [np.linalg.norm(np.array(g.shape) * g.spacing_mm) for g in grids]
    fallback = _FIELD * float(np.median(fields))
    plan = {}
    for name in labels.names:
        known = [case[name] for case in cases if name in case]
        plan[name] = float(np.median(known)) if known else fallback
    longer = {
        name: np.median(known)
        for name in labels.names
        if (known := [case[name] for case in detoured if name in case])
    }
    around = labels.names[0]
    usual = longer.pop(around, np.inf)
    for name, detour in longer.items():
        plan[name] = max(plan[name], min(plan[name] * float(detour / usual), plan[around]))
    return plan
