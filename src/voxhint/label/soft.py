"""From the hints of one case to its soft label: gather, let the classes compete, weigh."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Bool, Float32

from voxhint.config import LabelConfig
from voxhint.core import Case, LabelSet, SoftLabel, Volume
from voxhint.label.boxes import BoxMethod, fill_boxes
from voxhint.label.likelihood import log_likelihood
from voxhint.label.published import point_labels
from voxhint.label.reach import spread_mm
from voxhint.label.seeds import Evidence
from voxhint.label.spread import edge_cost, gaussian_mm, geodesic_mm, heat_mm

_FADE = 2.0  # reaches after which trust has fallen to 0.6
_NEVER = 1.5  # reaches: how far away a background that nobody showed is taken to be
_FAR = 3.0  # reaches from any label, beyond which background is presumed, or others are asked
_LEAST = 0.01  # trust below this is none: files stay small, training looks elsewhere


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What the hints of other cases say of the voxels of one."""

    logs: Float32[np.ndarray, "class i j k"]
    """Log probability of each class, from `Across`."""

    lean: float = np.inf
    """Most that distance may speak against a class, as a logarithm of odds; if it is finite, that
    much also against a class that the case does not show at all."""

    def cropped(self, part: tuple[slice, slice, slice]) -> "Taught":
        """Return what is said of a box of voxels."""
        return Taught(self.logs[(slice(None), *part)], self.lean)


def soften(
    evidence: Evidence,
    images: Sequence[Volume],
    labels: LabelSet,
    *,
    reach_mm: Mapping[str, float],
    config: LabelConfig,
    taught: Taught | None = None,
) -> SoftLabel:
    """Spread the evidence of one case over its voxels.

    Every class that was shown competes for a voxel with the distance to its nearest seed,
    measured in its own reach: twenty clicks spread over a wide background speak for more space
    than twenty clicks in a small organ. The image joins in twice, by edges that lengthen ways and
    by what other cases taught; if they taught nothing, by how often an intensity was clicked for
    each class. Trust is the lead of the winner over the
    second, and fades with distance. What the hints prove stays as it is.

    A class that nobody showed and nothing rules out stays unknown; background claims then only say
    that the classes shown are absent.

    Args:
        evidence: What the hints prove, from `gather_evidence`.
        images: Channels on the evidence's grid.
        labels: Names of the classes.
        reach_mm: Reach of each class, from `plan_reach`.
        config: Method and strengths.
        taught: What the other cases say of this one, if they say anything.

    Returns:
        Probability and trust of every class.
    """
    part = evidence.open_box()
    if part is None or config.method == "none":
        return facts_of(evidence)
    if config.method == "pw4medseg":
        bells = point_labels(evidence, bell_mm=config.bell_mm)
        nobody = np.zeros(len(labels.names), np.bool_)
        claims = _with_facts(bells.probs, bells.trust[0], evidence, unseen=nobody)
        return from_claims(*claims, evidence)
    inner = evidence.cropped(part)
    crops = [image.cropped(part) for image in images]
    unseen = np.asarray(~_seeds(evidence).any((1, 2, 3)))
    told = None if taught is None else taught.cropped(part)
    belief, plausible = _spread(_Claims(inner, crops, labels, reach_mm, config, unseen, told))
    whole_belief = evidence.proven.copy()
    whole_plausible = np.maximum(evidence.possible, evidence.proven)
    whole_belief[(slice(None), *part)] = belief
    whole_plausible[(slice(None), *part)] = plausible
    return from_claims(whole_belief, whole_plausible, evidence)


@dataclass(frozen=True, slots=True, eq=False)
class _Claims:
    """What the classes of one case compete with."""

    evidence: Evidence
    images: Sequence[Volume]
    labels: LabelSet
    reach_mm: Mapping[str, float]
    config: LabelConfig
    unseen: Bool[np.ndarray, " class"]
    """Classes that have no seed in the whole case."""

    taught: Taught | None


def _spread(
    claims: _Claims,
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "class i j k"]]:
    """Return belief and plausibility after spreading."""
    evidence, config = claims.evidence, claims.config
    shown = np.asarray(_seeds(evidence).any((1, 2, 3)))
    open_ = np.asarray(evidence.possible.any((1, 2, 3)))
    scores, near = _scores(claims)
    if not shown[0] and open_[0]:
        scores[0] = -0.5 * _NEVER**2
        if claims.taught is not None:
            scores[0] += claims.taught.logs[0]
    if config.box_method != "competition":
        _fill(scores, evidence, claims.images[0], config.box_method)
    probs, lead = _compete(scores, evidence.possible)
    least = 0.0 if claims.taught is None else config.across_trust
    trust = lead * np.maximum(np.exp(-0.5 * (near / _FADE) ** 2), np.float32(least))
    if not shown[0] and shown.any() and claims.taught is None:
        presumed = probs[0] > 0.5  # nobody showed it: never more than a weak presumption
        trust[presumed] = np.minimum(trust[presumed], config.background_trust)
        trust[presumed & (near > 2 * _NEVER)] = config.background_trust
    elif shown[0] and claims.taught is None:  # nobody draws the air around a body
        lost = _far_away(claims) & (trust < config.far_trust)
        probs[:, lost], probs[0, lost] = 0, 1
        trust[lost] = config.far_trust
    if evidence.likely.any():
        trust *= config.guess_trust
    trust[trust < _LEAST] = 0
    unseen = open_ & claims.unseen
    if claims.taught is not None and np.isfinite(claims.taught.lean):
        unseen[:] = False  # other cases tell of it
    unseen[0] = False
    return _with_facts(probs, trust, evidence, unseen=unseen)


def _scores(
    claims: _Claims,
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "i j k"]]:
    """Return how well each class that was shown fits each voxel, and how near its seeds are."""
    evidence, config, taught = claims.evidence, claims.config, claims.taught
    seeds = _seeds(evidence)
    ways = np.full(evidence.proven.shape, np.inf, np.float32)  # in reaches
    edges = config.method in ("geodesic", "heat")
    steep = edge_cost(claims.images) if edges else None
    for number, name in enumerate(claims.labels.names):
        if seeds[number].any():
            reach = claims.reach_mm[name]
            ways[number] = _distance(seeds[number], evidence, steep, reach, config)
    near = ways.min(0)
    if taught is None:
        scores = -0.5 * ways**2
        return scores + log_likelihood(claims.images, seeds) if edges else scores, near
    label = ways[1:].min(0)  # far from all labels none gains because background is shown elsewhere
    ways[0] = np.where(label > _FAR, np.minimum(ways[0], label), ways[0])
    return np.maximum(-0.5 * ways**2, -np.float32(taught.lean)) + taught.logs, near


def _far_away(claims: _Claims) -> Bool[np.ndarray, "i j k"]:
    """Return which voxels lie many reaches from every label that was shown; none if none was."""
    evidence = claims.evidence
    seeds = _seeds(evidence)
    far = np.full(evidence.grid.shape, seeds[1:].any())
    for number, name in enumerate(claims.labels.names):
        if number and seeds[number].any():
            empty = np.ascontiguousarray(~seeds[number])
            away = edt.edt(empty, anisotropy=tuple(evidence.grid.spacing_mm.tolist()))
            far &= away > _FAR * claims.reach_mm[name]
    return far


def _fill(
    scores: Float32[np.ndarray, "class i j k"],
    evidence: Evidence,
    image: Volume,
    method: BoxMethod,
) -> None:
    """Let a classical method say what fills the boxes, and leave the rest to the background."""
    filled = fill_boxes(evidence, image, method)
    for number, probs in filled.items():
        scores[number] = np.log(np.clip(probs, _LEAST, 1 - _LEAST))
    if filled:
        most = np.max(list(filled.values()), axis=0)
        scores[0] = np.log(1 - np.clip(most, _LEAST, 1 - _LEAST))


def _seeds(evidence: Evidence) -> Bool[np.ndarray, "class i j k"]:
    """Return where ways of each class start."""
    return np.asarray((evidence.proven > 0.5) | (evidence.likely > 0))


def _distance(
    seeds: Bool[np.ndarray, "i j k"],
    evidence: Evidence,
    steep: Float32[np.ndarray, "i j k"] | None,
    reach_mm: float,
    config: LabelConfig,
) -> Float32[np.ndarray, "i j k"]:
    """Return the distance to the nearest seed in reaches."""
    grid = evidence.grid
    if steep is not None and config.method == "heat":
        away = heat_mm(seeds, steep, grid, reach_mm=reach_mm, edge_weight=config.edge_weight)
        return np.asarray(away / reach_mm, np.float32)
    if steep is not None:
        away = geodesic_mm(seeds, steep, grid, edge_weight=config.edge_weight)
        return np.asarray(away / reach_mm, np.float32)
    if config.method == "organ-gaussian":
        reach_mm = spread_mm(seeds, grid) or reach_mm
    bell = gaussian_mm(seeds.astype(np.float32), grid, reach_mm=reach_mm)
    return np.asarray(np.sqrt(-2 * np.log(np.clip(bell, 1e-30, 1))), np.float32)


def _compete(
    scores: Float32[np.ndarray, "class i j k"], possible: Float32[np.ndarray, "class i j k"]
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "i j k"]]:
    """Return probabilities, and the lead of the first over the second."""
    with np.errstate(divide="ignore"):
        scores = scores + np.log(possible)
    top = scores.max(0)
    probs = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = probs.sum(0)
    probs = np.divide(probs, total, out=np.zeros_like(probs), where=total > 0)
    ordered = np.sort(probs, axis=0)
    lead = ordered[-1] - ordered[-2] if len(probs) > 1 else ordered[-1]
    return probs.astype(np.float32), lead.astype(np.float32)


def _with_facts(
    probs: Float32[np.ndarray, "class i j k"],
    trust: Float32[np.ndarray, "i j k"],
    evidence: Evidence,
    *,
    unseen: Bool[np.ndarray, " class"],
) -> tuple[Float32[np.ndarray, "class i j k"], Float32[np.ndarray, "class i j k"]]:
    """Return belief and plausibility of the guesses, with the facts laid over them."""
    belief, plausible = trust * probs, 1 - trust * (1 - probs)
    if unseen.any():  # "not A" is known, "background rather than B" is not
        belief[0], plausible[0] = 0, 1 - belief[1:].max(0)
        belief[unseen], plausible[unseen] = 0, 1 - belief.max(0)
    rest = np.maximum(1 - evidence.proven.sum(0), 0)  # guesses share what the facts leave open
    belief = np.minimum(evidence.proven + rest * belief, evidence.possible)
    return belief, np.minimum(evidence.proven + rest * plausible, evidence.possible)


def facts_of(evidence: Evidence) -> SoftLabel:
    """Return only what the hints prove, with nothing spread."""
    belief = evidence.proven
    return from_claims(belief, np.maximum(evidence.possible, belief), evidence)


def from_claims(
    belief: Float32[np.ndarray, "class i j k"],
    plausible: Float32[np.ndarray, "class i j k"],
    evidence: Evidence,
) -> SoftLabel:
    """Return probability and trust that say the same as belief and plausibility.

    Trust = 1 - (plausibility - belief); probability = belief / trust, 0 where nothing is trusted.
    """
    known = np.clip(1 - (plausible - belief), 0, 1)
    probs = np.divide(belief, known, out=np.zeros_like(belief), where=known > 0)
    return SoftLabel(
        np.clip(probs, 0, 1).astype(np.float32), known.astype(np.float32), evidence.grid
    )


def dense_label(case: Case, labels: LabelSet) -> SoftLabel:
    """Return a dense mask as a soft label: every voxel sure, undrawn ones unknown.

    Args:
        case: With its truth.
        labels: Names of the classes.

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
    return SoftLabel(probs, drawn, truth.grid)
