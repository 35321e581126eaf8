"""From the hints of a whole study to the soft labels of its cases."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from voxhint.config import LabelConfig, Machine
from voxhint.core import Case, Grid, Hint, LabelSet, Soft, SoftLabel, Strokes, Tag
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.errors import about
from voxhint.core.progress import Tell, silent
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.core.study import CaseFiles, Study
from voxhint.core.workers import spread
from voxhint.prepare import common_grid, resample
from voxhint.propagate.box_model import (
    BoxModel,
    BoxSample,
    box_samples,
    fit_box_models,
    place_objects,
)
from voxhint.propagate.boxed_scan import fill_rooms
from voxhint.propagate.constraints import Constraints, constraints_of
from voxhint.propagate.distance_caps import Marks, distance_caps, measure_marks
from voxhint.propagate.label_sizes import UsualSize, caps_of_case, usual_sizes
from voxhint.propagate.nninteractive import Server, weighed
from voxhint.propagate.prior import Prior
from voxhint.propagate.shown_labels import (
    SharedSoftLabel,
    ShownLabels,
    every_label,
    shown_labels,
)
from voxhint.propagate.soft_label import leave_open, propagate_hints, with_facts
from voxhint.propagate.sparse_hints import opened, sparse_constraints_of
from voxhint.propagate.voxel_classifier import (
    FEWEST_CASES,
    VoxelClassifier,
    fit_voxel_classifier,
)
from voxhint.propagate.voxel_samples import VoxelSamples, voxel_samples
from voxhint.propagate.whole_scan import propagate_over_scan

_MEASURED = 200  # cases that decide the caps, and teach the others
_DISTANCE_LIMIT = 2.0  # natural logarithm of odds
_STEPS = 2000  # of the optimiser of the cross-case voxel classifier
_REHEARSED = 400  # of them, by which a forecast tells how long all take
_LEARN = "learn from all cases"
_ALONE = ("pw4medseg", "nninteractive", "none")  # methods that look at each case alone
_LARGE = 2**25  # values, a float for each voxel and class: more, and a case is a whole scan
_MANY = 64  # labels, of which each would have two files: more, and a case is kept as one too


@dataclass(frozen=True, slots=True, eq=False)
class PropagationPlan:
    """What the hints of a whole study say about propagating those of one case."""

    caps_mm: Mapping[str, float]
    """How far each label reaches, from `distance_caps`."""

    classifier: VoxelClassifier | None = None
    """What the cases teach each other; None where nothing is to be learnt."""

    distance_limit: float = np.inf
    """Most that distance may speak against a class. Where the cases teach each other, lone clicks
    and drawn slices only lean the balance nearby."""

    boxes: Mapping[str, BoxModel] = field(default_factory=dict)
    """What boxes of all cases tell, for each label with enough of them."""

    sizes: Mapping[str, UsualSize] = field(default_factory=dict)
    """How widely the marks of each label usually lie."""

    def caps_of(self, known: Constraints | SparseConstraints, labels: LabelSet) -> dict[str, float]:
        """Return how far each label reaches in one case, in mm."""
        marks = measure_marks(known, labels) if self.sizes else {}
        return caps_of_case(self.caps_mm, self.sizes, marks)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCase:
    """A case with what its hints say and what was made of it."""

    case: Case
    constraints: Constraints | SparseConstraints
    few: SoftLabel | CompactSoftLabel
    """Of the labels of `shown`, as the constraints are."""

    shown: ShownLabels

    @property
    def soft(self) -> SoftLabel | CompactSoftLabel | SharedSoftLabel:
        """Return the soft label of all labels of the study."""
        if isinstance(self.few, CompactSoftLabel):
            return self.few
        return self.shown.spread(self.few)


def aligned_case(study: Study, files: CaseFiles) -> Case:
    """Return a case with every channel and every drawn hint on the grid of the first channel."""
    case = study.load(files)
    images = common_grid(tuple(case.images.values()))
    hints = tuple(_on_first(hint, case) for hint in case.hints)
    return Case(case.name, dict(zip(case.images, images, strict=True)), hints)


def hints_alone(study: Study, files: CaseFiles) -> Case:
    """Return a case with its hints on the grid of the first channel, and no voxels of images."""
    case = study.load(files, voxels=False)
    return replace(case, hints=tuple(_on_first(hint, case) for hint in case.hints))


def _on_first(hint: Hint, case: Case) -> Hint:
    if not isinstance(hint, Strokes | Soft) or hint.grid.same(case.grid):
        return hint
    if isinstance(hint, Strokes):
        drawn = hint.classes.astype(np.float32)
        moved = resample(drawn, hint.grid, case.grid, nearest=True, outside=255)
        return Strokes(np.rint(moved).astype(np.uint8), case.grid, hint.complete)
    moved = resample(hint.probability, hint.grid, case.grid, outside=0)
    return Soft(hint.label, moved, case.grid)


def plan_propagation(
    study: Study,
    hinted: Sequence[CaseFiles],
    *,
    config: LabelConfig,
    machine: Machine,
    tell: Tell = silent,
) -> PropagationPlan:
    """Learn from the hints of all cases how far they speak and what they have in common.

    Args:
        study: Where the cases belong.
        hinted: Cases with hints; where there are very many, some of them are looked at.
        config: Method and strengths.
        machine: Seed.
        tell: Hears of progress.

    Returns:
        What `label_case` needs to know beyond its case.
    """
    chosen, together = _teachers(study, hinted, config)
    if config.scale_mm is not None and not together:
        return PropagationPlan(dict.fromkeys(study.labels.names, config.scale_mm))
    rng = np.random.default_rng(machine.seed)
    each = [*zip(chosen, rng.spawn(len(chosen)), strict=True)]  # so no case waits for another
    looks = []
    for number, ((files, _), looked) in enumerate(
        spread(partial(_look_at, study, together=together), each, machine.workers)
    ):
        tell("look at all hints", number, len(chosen), files.name)
        with about(f"case {files.name}"):
            looks.append(looked())
    return _learnt(looks, study, config, rng, _STEPS, tell, machine.workers)


@dataclass(frozen=True, slots=True, eq=False)
class _Rehearsal:
    """What planning takes by one case, and a plan as if all cases were like a few of them."""

    plan: PropagationPlan
    looked_at: int
    """Cases that would be looked at."""

    seconds_a_look: float
    seconds_of_learning: float


def rehearse_plan(
    study: Study, files: CaseFiles, *, config: LabelConfig, machine: Machine
) -> _Rehearsal:
    """Plan the propagation of a study in few steps, as if all its cases were like a few of them.

    Returns:
        The plan, and how long the true one takes.
    """
    chosen, together = _teachers(study, study.hinted, config)
    rng, began = np.random.default_rng(machine.seed), time.monotonic()
    looks = [_look_at(study, (files, rng), together=together)]
    looked = time.monotonic()
    others = [one for one in chosen if one.name != files.name][: FEWEST_CASES - 1]
    looks += [_look_at(study, (one, rng), together=True) for one in others if together]
    begun = time.monotonic()
    looks *= -(-len(chosen) // len(looks))
    plan = _learnt(looks[: len(chosen)], study, config, rng, _REHEARSED, silent)
    learnt = (time.monotonic() - begun) * _STEPS / _REHEARSED if together else 0.0
    return _Rehearsal(plan, len(chosen), looked - began, learnt)


def _teachers(
    study: Study, hinted: Sequence[CaseFiles], config: LabelConfig
) -> tuple[Sequence[CaseFiles], bool]:
    """Return the cases that decide for all, and whether they teach each other."""
    chosen = hinted[:: max(1, -(-len(hinted) // _MEASURED))]
    together = config.method not in _ALONE and config.cross_case
    return chosen, together and len(chosen) >= FEWEST_CASES and _may_teach(study, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What the hints of one case tell of all."""

    marks: dict[str, Marks]
    grid: Grid
    drawn_whole: bool
    samples: VoxelSamples | None
    """Proven voxels; None where cases do not teach each other."""

    boxes: list[tuple[str, BoxSample]]


def _learnt(  # noqa: PLR0913 - each says another thing
    looks: Sequence[_Look],
    study: Study,
    config: LabelConfig,
    rng: np.random.Generator,
    steps: int,
    tell: Tell,
    workers: int = 1,
) -> PropagationPlan:
    """Return what cases tell together."""
    lone = any(
        all(name not in look.marks or not look.marks[name].speaks for look in looks)
        for name in study.labels.foreground
    )
    samples = [look.samples for look in looks if look.samples is not None]
    classifier = fit_voxel_classifier(
        samples,
        study.channels,
        steps=steps,
        rng=rng,
        lone=lone,
        progress=lambda done, total: tell(_LEARN, done, total, "what looks alike, and where"),
        workers=workers,
    )
    if samples:
        tell(_LEARN, 1, 1, _tell_taught(classifier))
    grids = [look.grid for look in looks]
    measured = [look.marks for look in looks]
    caps = distance_caps(measured, grids, study.labels)
    sizes = usual_sizes(measured, study.labels)
    if config.scale_mm is not None:
        caps, sizes = dict.fromkeys(caps, config.scale_mm), {}
    nearby = classifier is not None and (lone or any(look.drawn_whole for look in looks))
    limit = _DISTANCE_LIMIT if nearby else np.inf
    boxes = [sample for look in looks for sample in look.boxes]
    return PropagationPlan(caps, classifier, limit, fit_box_models(boxes, rng), sizes)


def _tell_taught(classifier: VoxelClassifier | None) -> str:
    """Return what cases taught each other, in words."""
    if classifier is None:
        return "cases cannot teach each other, so each is labelled by its own hints"
    return f"cases teach each other: {classifier.skill:.0%} less error on those held out"


def _look_at(study: Study, item: tuple[CaseFiles, np.random.Generator], *, together: bool) -> _Look:
    """Return what the hints of a case tell, and the voxels that teach others where any do."""
    files, rng = item
    case = aligned_case(study, files) if together else hints_alone(study, files)
    known, samples, boxes = sparse_constraints_of(case.grid, case.hints, study.labels), None, []
    if together:
        samples = voxel_samples(known, case.images, study.channels, study.labels, rng)
        boxes = list(box_samples(case, study.channels, rng))
    marks = measure_marks(known, study.labels)
    return _Look(marks, case.grid, known.drawn_whole, samples, boxes)


def constraints_for(case: Case, labels: LabelSet) -> Constraints | SparseConstraints:
    """Return what the hints of a case prove, without an array for each of very many classes."""
    return _sparse(case, labels) or constraints_of(case.grid, case.hints, labels)


def _sparse(case: Case, labels: LabelSet) -> SparseConstraints | None:
    if not is_whole_scan(case.grid, labels):
        return None
    return sparse_constraints_of(case.grid, case.hints, labels)


def is_whole_scan(grid: Grid, labels: LabelSet) -> bool:
    """Return whether a case is too large, or has too many labels, for arrays of each class."""
    return math.prod(grid.shape) * len(labels.names) > _LARGE or len(labels.names) > _MANY


def _may_teach(study: Study, hinted: Sequence[CaseFiles]) -> bool:
    """Return whether any case shows voxels: tags alone teach in their own way."""
    hints = [hint for case in hinted for hint in study.hints.get(case.name, ())]
    drawn = any(study.stroke_files.get(case.name) for case in hinted)
    return drawn or not all(isinstance(hint, Tag) for hint in hints)


def label_case(
    study: Study, files: CaseFiles, plan: PropagationPlan, config: LabelConfig
) -> LabelledCase:
    """Propagate the hints of one case over its voxels.

    Args:
        study: Where the case belongs.
        files: The case.
        plan: From `plan_propagation`.
        config: Method and strengths.

    Returns:
        The soft label, and what it was made of.
    """
    case = aligned_case(study, files)
    shown = every_label(case, study.labels)
    known = _sparse(case, study.labels) if config.method == "geodesic" else None
    if known is not None:
        compact = _over_scan(study, plan, config, case, known)
        return LabelledCase(case, known, compact, shown)
    if plan.classifier is None:
        shown = shown_labels(case, study.labels)
    labels = shown.labels
    seen = constraints_of(case.grid, shown.case.hints, labels)
    if config.method == "nninteractive":
        asked = _asked(shown.case, seen, labels, config)
        return LabelledCase(case, seen, leave_open(asked, seen.open_labels), shown)
    soft = _by_class(study, plan, config, shown, seen)
    return LabelledCase(case, seen, leave_open(soft, seen.open_labels), shown)


def _over_scan(
    study: Study, plan: PropagationPlan, config: LabelConfig, case: Case, known: SparseConstraints
) -> CompactSoftLabel:
    """Return the soft label of a case that is too large for arrays of each class."""
    one = plan.classifier
    soft = propagate_over_scan(
        known,
        tuple(case.images.values()),
        study.labels,
        caps_mm=plan.caps_of(known, study.labels),
        taught=None if one is None else one.of_case(case.images, known),
        distance_limit=plan.distance_limit,
    )
    alone = replace(plan, classifier=None, distance_limit=np.inf)  # a window is no place in a scan
    fill_rooms(soft, case, study.labels, partial(_by_class, study, alone, config))
    return replace(soft, constraints=opened(known))


def _by_class(
    study: Study,
    plan: PropagationPlan,
    config: LabelConfig,
    shown: ShownLabels,
    seen: Constraints | None = None,
) -> SoftLabel:
    """Return the soft label of a case that is small enough for arrays of each class."""
    case, labels = shown.case, shown.labels
    seen = seen or constraints_of(case.grid, case.hints, labels)
    constraints, logs = place_objects(seen, case, study.channels, labels, plan.boxes)
    told = rarity = None
    if (one := plan.classifier) is not None:
        facts = sparse_constraints_of(case.grid, case.hints, labels)
        said = one.of_case(case.images, facts).log_probs()
        logs = said if logs is None else said + logs
        told, rarity = one.shown, one.rarity
    prior = None if logs is None else Prior(logs, plan.distance_limit, told, rarity)
    return propagate_hints(
        constraints,
        tuple(case.images.values()),
        labels,
        caps_mm=plan.caps_of(seen, labels),
        config=config,
        prior=prior,
    )


def _asked(
    case: Case, constraints: Constraints, labels: LabelSet, config: LabelConfig
) -> SoftLabel:
    """Return what a nnInteractive server makes of the hints, with the hints laid over it."""
    server = Server(config.server or "")
    masks = server.masks(next(iter(case.images.values())), case.hints, labels)
    return with_facts(*weighed(masks), constraints)
