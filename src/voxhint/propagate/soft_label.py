"""From the hints of one case to its soft label: gather, let the classes compete, weigh."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from voxhint.config import LabelConfig
from voxhint.core import Case, Grid, LabelSet, SoftLabel, Strokes, Volume
from voxhint.propagate.constraints import Constraints, around_marks, open_labels
from voxhint.propagate.distance_caps import FEWEST_MARKS, gaps_mm, label_marks, typical_gap
from voxhint.propagate.edge_cost import cost_of_ways, edge_cost
from voxhint.propagate.geodesic import FAR_MM, nearest_mark, way_to_next
from voxhint.propagate.likelihood import log_likelihood
from voxhint.propagate.prior import Prior, lead_among
from voxhint.propagate.pw4medseg import point_labels

LIKELIHOOD = 0.4  # weight of the image's likelihood, where a distance of one margin weighs 1
EDGE_WEIGHT = 2.0  # how much longer a way gets over an edge
CROSS_CASE_TRUST = 0.5  # least trust, per lead, far from hints where other cases teach
_SHAPE_TRUST = 0.7  # most trust in what follows from the shape of a box or a ball
PRIOR = 0.75  # weight of what the hints of other cases say
_SHAPED = 0.75  # of the way to the outside of a box or ball: what fills them is round
FADE = 2.0  # caps after which trust has fallen to 0.6
_FAR = 0.3  # trust in background that no hint is near to
_UNSHOWN = 0.1  # the same where the case shows no background at all
LEAST = 0.01  # trust below this is none: files stay small, training looks elsewhere


def propagate_hints(  # noqa: PLR0913 - each says another thing
    constraints: Constraints,
    images: Sequence[Volume],
    labels: LabelSet,
    *,
    caps_mm: Mapping[str, float],
    config: LabelConfig,
    prior: Prior | None = None,
    within: float = np.inf,
) -> SoftLabel:
    """Spread the constraints of one case over its voxels.

    A voxel belongs to the class whose hints are nearest along ways that avoid edges. The image
    joins in where classes are about as near: by how often its intensity was shown for each class,
    or by the prior that other cases give. No label reaches further than its cap: beyond it
    background is presumed, with little trust, though nobody showed any there. So all classes are
    measured with one measure, and neither the size of the image nor the number of hints at one
    place matters.
    What the hints prove stays as it is.

    A class that nobody showed and nothing rules out stays unknown; belief in background then only
    says that the classes shown are absent.

    Args:
        constraints: What the hints prove, from `constraints_of`.
        images: Channels on the grid of the constraints.
        labels: Names of the classes.
        caps_mm: How far each label reaches, from `distance_caps`.
        config: Method and strengths.
        prior: What the other cases say of this one, if they say anything.
        within: Caps after which ways from hints are not followed: a quick answer needs no more.

    Returns:
        Probability and trust of every class.
    """
    part = constraints.open_box()
    if part is None or config.method == "none":
        return facts_of(constraints)
    if config.method == "pw4medseg":
        drawn = point_labels(constraints, sigma_mm=config.pw4medseg.sigma_mm)
        return with_facts(drawn.probs, drawn.trust[0], constraints)
    caps = np.array([np.inf, *(caps_mm[name] for name in labels.foreground)], np.float32)
    shaped = np.asarray(constraints.likely.any((1, 2, 3)))  # boxes and balls are walls enough
    unseen = np.asarray(~_seeds(constraints).any((1, 2, 3)))
    probs, trust = _presumed(constraints, unseen)
    band = part if prior is not None and prior.everywhere else _band(constraints, part, caps)
    if band is not None:
        inner = (slice(None), *band)
        scene = _Scene(
            constraints.cropped(band),
            [image.cropped(band) for image in images],
            np.where(shaped, np.inf, caps).astype(np.float32),
            None if prior is None else prior.cropped(band),
            config,
            unseen,
            within,
        )
        probs[inner], trust[band] = _compete(scene)
    trust[trust < LEAST] = 0
    untold = unseen & np.asarray(constraints.possible.any((1, 2, 3)))
    if prior is not None and prior.everywhere:
        untold &= prior.told is not None and ~prior.told  # other cases tell of the rest
    untold[0] = False
    bounds = _with_facts(probs, trust, constraints, unseen=untold)
    return SoftLabel.of_bounds(*bounds, constraints.grid)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What the classes of one case compete with, near its hints."""

    constraints: Constraints
    images: Sequence[Volume]
    caps: Float32[np.ndarray, " class"]
    prior: Prior | None
    config: LabelConfig
    unseen: Bool[np.ndarray, " class"]
    """Classes that have no seed in the whole case."""

    within: float
    """Caps after which ways are not followed."""


def _presumed(
    constraints: Constraints, unseen: Bool[np.ndarray, " class"]
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "i j k"]]:
    """Return probability and trust where no hint reaches: background, if any label was shown."""
    probs = np.zeros(constraints.proven.shape, np.float32)
    probs[0] = 1
    trust = np.full(constraints.grid.shape, presumed_trust(unseen), np.float32)
    return probs, trust


def presumed_trust(unseen: Bool[np.ndarray, " class"]) -> float:
    """Return the trust in background that no hint is near to, given the classes never shown."""
    if unseen[1:].all():
        return 0.0
    return _UNSHOWN if unseen[0] else _FAR


def _band(
    constraints: Constraints, part: tuple[slice, slice, slice], caps: Float32[np.ndarray, " class"]
) -> tuple[slice, slice, slice] | None:
    """Return the box of the open voxels that any label may reach, None if no class was shown."""
    reached = []
    for number, seeds in enumerate(_seeds(constraints)):
        if number and seeds.any():
            # ways are shorter than straight lines only where the image is smoother than usual
            rim = np.ceil(2 * caps[number] / constraints.grid.spacing_mm) + 1
            shaped = constraints.likely[number].any()
            reached.append(_box(constraints.possible[number] > 0 if shaped else seeds, rim))
    if not reached:
        return part if _seeds(constraints)[0].any() else None
    low = np.min([box[0] for box in reached], axis=0)
    high = np.max([box[1] for box in reached], axis=0)
    i, j, k = (
        slice(int(max(p.start, a)), int(max(p.start, a, min(p.stop, b))))
        for p, a, b in zip(part, low, high, strict=True)
    )
    return i, j, k


def _box(
    where: Bool[np.ndarray, "i j k"], rim: Float64[np.ndarray, "3"]
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Return first and last index of a place with a rim around it, the last one exclusive."""
    index = [np.flatnonzero(where.any(_rest(axis))) for axis in range(3)]
    low = np.array([along[0] for along in index]) - rim
    return low, np.array([along[-1] + 1 for along in index]) + rim


def _rest(axis: int) -> tuple[int, int]:
    return tuple(other for other in range(3) if other != axis)  # type: ignore[return-value]


def _compete(
    scene: _Scene,
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "i j k"]]:
    """Return probability and trust of each class near the hints."""
    constraints, prior = scene.constraints, scene.prior
    seeds = _seeds(constraints)
    hinted = constraints.near
    away, stretch = _distances(scene, seeds, hinted)
    caps = scene.caps * stretch
    near = np.minimum(away.min(0), FAR_MM)
    margin = _margin(away, caps, constraints)
    said = np.zeros_like(away) if prior is None else PRIOR * prior.log_probs
    if prior is None or constraints.likely.any():
        said += LIKELIHOOD * _seen(scene, seeds, hinted, away, caps)
    limit = np.full(len(caps), np.inf, np.float32) if prior is None else prior.limits()
    scores = np.maximum(-away / margin, -limit[:, None, None, None]) + said
    cap = caps[scores[1:].argmax(0) + 1]
    presumed = np.asarray(away[0] > cap)  # nobody showed background nearer than the label's cap
    scores[0] = np.maximum(-np.minimum(away[0], cap) / margin, -limit[0]) + said[0]
    probs, lead = _softmax(scores, constraints.possible)
    if prior is not None and prior.rarity is not None:
        lead = lead_among(probs, prior.rarity)
    winner = caps[probs.argmax(0)]
    reach = np.where(np.isfinite(winner), winner, usual_cap(caps)).astype(np.float32)
    least = 0.0 if prior is None else CROSS_CASE_TRUST
    trust = lead * np.maximum(np.exp(-0.5 * (near / (FADE * reach)) ** 2), np.float32(least))
    if prior is None:
        most = presumed_trust(scene.unseen)
        supposed = presumed & (probs[0] > 0.5)
        trust[supposed] = np.minimum(lead[supposed], most)
    if constraints.likely.any():
        trust *= _SHAPE_TRUST
    return probs, trust.astype(np.float32)


def _seen(
    scene: _Scene,
    seeds: Bool[np.ndarray, "class i j k"],
    near: Bool[np.ndarray, "i j k"],
    away: Float32[np.ndarray, "class i j k"],
    caps: Float32[np.ndarray, " class"],
) -> Float32[np.ndarray, "class i j k"]:
    """Return what the intensity of each voxel says of its class.

    Of slices drawn whole only what labels reach tells of background: most of them is air and other
    organs, which say nothing of where a label ends.
    """
    shown = [np.argwhere(places) for places in seeds]
    if scene.constraints.drawn_whole:
        reached = [way < cap for way, cap in zip(away[1:], caps[1:], strict=True)]
        ground = np.argwhere(seeds[0] & np.any(reached, axis=0))
        shown[0] = ground if len(ground) else shown[0]
        near = around_marks(np.concatenate(shown), scene.constraints.grid.shape)
    return log_likelihood(scene.images, shown, near)


def usual_cap(caps: Float32[np.ndarray, " class"]) -> float:
    """Return the cap that stands for background, which has none."""
    return float(np.median(caps[1:])) if len(caps) > 1 else 1.0


def _distances(
    scene: _Scene, seeds: Bool[np.ndarray, "class i j k"], near: Bool[np.ndarray, "i j k"]
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, " class"]]:
    """Return the way to the nearest seed of each class, in mm of plain tissue, inf without any.

    Also returns the geodesic stretch of each class: how much longer ways between its marks are
    than straight lines, where its own tissue is rougher than what usually lies near hints.
    """
    constraints = scene.constraints
    cost = cost_of_ways(edge_cost(scene.images, near), EDGE_WEIGHT)
    plain = float(np.median(cost[near])) if near.any() else 1.0
    limit = scene.within * float(scene.caps[1:].max(initial=0)) * plain
    away = np.full(seeds.shape, np.inf, np.float32)
    stretch = np.ones(len(seeds), np.float32)
    for number, places in enumerate(seeds):
        if not places.any():
            continue
        marks = label_marks(places, constraints.grid)
        way, owner = nearest_mark(marks, cost, constraints.grid, limit_mm=limit)
        away[number] = way / np.float32(plain)
        if number:
            next_mm = way_to_next(way, owner, cost, constraints.grid, int(marks.max()))
            stretch[number] = geodesic_stretch(next_mm / plain, marks, constraints.grid)
    if constraints.likely.any() and not constraints.likely[0].any():
        away[0] *= np.float32(_SHAPED)
    return away, stretch


def geodesic_stretch(
    ways: Float32[np.ndarray, " mark"], marks: Int32[np.ndarray, "i j k"], grid: Grid
) -> float:
    """Return how much longer ways between marks of a class are than straight lines; 1 at least."""
    straight = gaps_mm(marks, grid)
    if len(straight) < FEWEST_MARKS:
        return 1.0
    met = ways[ways < FAR_MM / 100]
    ratio = typical_gap(met) / typical_gap(straight) if met.size else 1.0
    return max(1.0, ratio)


def _margin(
    away: Float32[np.ndarray, "class i j k"],
    caps: Float32[np.ndarray, " class"],
    constraints: Constraints,
) -> np.float32:
    """Return how far from hints the borders between classes usually lie, in mm."""
    labels = away[1:]
    nearest, number = labels.min(0), labels.argmin(0) + 1
    around = np.minimum(away[0], caps[number])
    classes = np.where(nearest < around, number, 0)
    reached = np.minimum(nearest, around)
    borders = []
    for axis in range(3):
        changed = np.diff(classes, axis=axis) != 0
        for side in (slice(None, -1), slice(1, None)):
            there = reached[(slice(None),) * axis + (side,)]
            borders.append(there[changed & np.isfinite(there)])
    known = np.concatenate(borders)
    least = float(constraints.grid.spacing_mm.min()) / 2
    return np.float32(max(float(np.median(known)) if known.size else 0.0, least))


def _seeds(constraints: Constraints) -> Bool[np.ndarray, "class i j k"]:
    """Return where ways of each class start."""
    return np.asarray((constraints.proven > 0.5) | (constraints.likely > 0))


def _softmax(
    scores: Float32[np.ndarray, "class i j k"], possible: Float32[np.ndarray, "class i j k"]
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "i j k"]]:
    """Return probabilities, and the lead of the first over the second."""
    with np.errstate(divide="ignore"):
        scores = scores + np.log(possible)
    top = scores.max(0)
    probs = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = probs.sum(0)
    probs = np.divide(probs, total, out=np.zeros_like(probs), where=total > 0)
    first, second = probs[0], np.zeros_like(probs[0])
    for prob in probs[1:]:  # a fifth of the time of sorting
        first, second = np.maximum(first, prob), np.maximum(second, np.minimum(first, prob))
    return probs.astype(np.float32), (first - second).astype(np.float32)


def _with_facts(
    probs: Float32[np.ndarray, "class i j k"],
    trust: Float32[np.ndarray, "i j k"],
    constraints: Constraints,
    *,
    unseen: Bool[np.ndarray, " class"],
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "class i j k"]]:
    """Return belief and plausibility of the guesses, with the facts laid over them."""
    belief, plausible = trust * probs, 1 - trust * (1 - probs)
    if unseen.any():  # "not A" is known, "background rather than B" is not
        belief[0], plausible[0] = 0, 1 - belief[1:].max(0)
        belief[unseen], plausible[unseen] = 0, 1 - belief.max(0)
    rest = np.maximum(1 - constraints.proven.sum(0), 0)  # guesses share what the facts leave open
    belief = np.minimum(constraints.proven + rest * belief, constraints.possible)
    return belief, np.minimum(constraints.proven + rest * plausible, constraints.possible)


def with_facts(
    probs: Float32[np.ndarray, "class i j k"],
    trust: Float32[np.ndarray, "i j k"],
    constraints: Constraints,
) -> SoftLabel:
    """Return what another method says, with what the hints prove laid over it.

    Args:
        probs: Of each class.
        trust: In them.
        constraints: What the hints prove.
    """
    nobody = np.zeros(len(probs), np.bool_)
    bounds = _with_facts(probs, trust, constraints, unseen=nobody)
    return SoftLabel.of_bounds(*bounds, constraints.grid)


def leave_open(soft: SoftLabel, open_labels: Sequence[int]) -> SoftLabel:
    """Return a soft label whose background may be any of the open labels.

    Args:
        soft: Of one case.
        open_labels: From its constraints.
    """
    if not open_labels:
        return soft
    belief, plausible = soft.belief, soft.plausibility
    rest = 1 - np.delete(belief, [0, *open_labels], axis=0).sum(0)
    for number in open_labels:
        plausible[number] = np.maximum(plausible[number], np.minimum(plausible[0], rest))
    belief[0] = 0
    return SoftLabel.of_bounds(belief, plausible, soft.grid)


def facts_of(constraints: Constraints) -> SoftLabel:
    """Return only what the hints prove, with nothing propagated."""
    belief = constraints.proven
    plausibility = np.maximum(constraints.possible, belief)
    return SoftLabel.of_bounds(belief, plausibility, constraints.grid)


def dense_label(case: Case, labels: LabelSet) -> SoftLabel:
    """Return a dense mask as a soft label: every voxel sure, undrawn ones unknown.

    Returns:
        Trust 1 where the mask says something; 0 everywhere for a case without one.
    """
    truth = case.truth
    if truth is None:
        unknown = np.zeros((len(labels.names), *case.grid.shape), np.float32)
        return SoftLabel(unknown, unknown, case.grid)
    classes = labels.to_classes(truth.ids)
    probs = np.stack([classes == n for n in range(len(labels.names))]).astype(np.float32)
    drawn = np.broadcast_to(probs.max(0), probs.shape).astype(np.float32)
    outlined = (Strokes(classes, truth.grid, complete=True),)
    return leave_open(SoftLabel(probs, drawn, truth.grid), open_labels(outlined, labels))
