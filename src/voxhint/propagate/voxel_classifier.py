"""What the hints of all cases together tell of a voxel: how a class looks, and where it lies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn
from torch.nn import functional

from voxhint.core import Volume
from voxhint.core.box import Window
from voxhint.core.sparse_constraints import SparseConstraints
from voxhint.core.workers import spread
from voxhint.propagate.class_shares import offset_of, or_open, rarity_of
from voxhint.propagate.one_cycle import OneCycle
from voxhint.propagate.voxel_features import VoxelFeatures
from voxhint.propagate.voxel_samples import VoxelSamples, are_bounded, weighed_together

_WIDTH = 48
_BATCH = 2048
_RATE = 6e-3
_CHUNK = 1 << 14  # voxels answered at once
_BLOCK = 1 << 22  # voxels described at once
FEWEST_CASES = 8
"""Cases that can teach the others."""

FITS = 4
"""Networks that are fitted: one for each kind of place, and that of all cases."""

_TELLING = 5  # cases that must show a class
_HELD_OUT = 4  # every fourth case tries what the others taught
_AXES = 3
_TOLD = 100  # steps after which progress is told
_SHARPNESS = np.linspace(0.05, 1.5, 30)


_Place = Literal["hints", "image", "none"]
"""From where a voxel's place is counted: from the middle of all hints of labels, where it does not
matter how much of the body an image shows; within the image; or not at all."""

_PLACES: Mapping[_Place, tuple[int, int]] = {"hints": (6, 3), "image": (3, 0), "none": (0, 0)}


@dataclass(frozen=True, slots=True, eq=False)
class VoxelClassifier:
    """A small network that names the class of a voxel from its surroundings and its place."""

    net: nn.Module
    channels: tuple[str, ...]
    shown: Bool[np.ndarray, " class"]
    """Classes that enough cases show; of the others nothing is said against background."""

    place: _Place
    """Which place of a voxel helped with cases that were held out."""

    sharpness: float
    """What log probabilities are multiplied by, so that they fit the cases held out."""

    offset: Float32[np.ndarray, " class"]
    """What is then added, so that each class is found in slices drawn whole as often as it is shown
    there. A rare label that is hard to see would else be found nowhere."""

    skill: float
    """Brier skill on held-out facts: share of their squared error that it takes away."""

    rarity: Float32[np.ndarray, " class"] | None = None
    """From `rarity_of`, where slices drawn whole tell how rare the classes are."""

    def facts(self) -> dict[str, float | str]:
        """Return what it found, as written into `made.json`."""
        return {
            "place": self.place,
            "sharpness": round(self.sharpness, 2),
            "skill": round(self.skill, 3),
        }

    def of_case(self, images: Mapping[str, Volume], hints: SparseConstraints) -> "TaughtCase":
        """Return what it says of a case.

        Args:
            images: Channels by name, on one grid.
            hints: What the hints of the case prove, on that grid.
        """
        return TaughtCase(self, VoxelFeatures.of(images, hints, self.channels))


@dataclass(frozen=True, slots=True, eq=False)
class TaughtCase:
    """What the classifier says of the voxels of one case."""

    classifier: VoxelClassifier
    features: VoxelFeatures

    def log_probs(self) -> Float32[np.ndarray, "class i j k"]:
        """Return the log probability of each class in all voxels."""
        shape = self.features.grid.shape
        found = np.empty((len(self.classifier.shown), *shape), np.float32)
        planes = max(1, _BLOCK // (shape[1] * shape[2]))
        j, k = slice(0, shape[1]), slice(0, shape[2])
        for start in range(0, shape[0], planes):
            i = slice(start, min(start + planes, shape[0]))
            every = np.ones((i.stop - i.start, *shape[1:]), np.bool_)
            logs = self.of_block((i, j, k), every)
            found[:, i] = logs.T.reshape(-1, *every.shape)
        return found

    def of_block(
        self, part: Window, asked: Bool[np.ndarray, "i j k"]
    ) -> Float32[np.ndarray, "n class"]:
        """Return the log probability of each class in those voxels of a box that are asked for."""
        one, told = self.classifier, []
        with _one_thread(), torch.no_grad():
            for plane in self.features.of_block(part, asked):
                flat = torch.from_numpy(_chosen(plane, one.place))
                parts = torch.split(flat, _CHUNK)
                told += [functional.log_softmax(one.net(few), 1) for few in parts]
        logs = one.sharpness * torch.cat(told).numpy() + one.offset
        logs[:, ~one.shown] = logs[:, :1]
        return np.asarray(logs, np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: at matrices this small, more of them wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _unheard(done: int, total: int) -> None:
    """Tell nobody."""


def fit_voxel_classifier(  # noqa: PLR0913 - each says another thing
    samples: Sequence[VoxelSamples],
    channels: Sequence[str],
    *,
    steps: int,
    rng: np.random.Generator,
    lone: bool = False,
    progress: Callable[[int, int], None] = _unheard,
    workers: int = 1,
) -> VoxelClassifier | None:
    """Learn from all cases, with the place of voxels only where that helps.

    Every fourth case is held out first. They decide whether the place is looked at, how sharp the
    answer may be, and whether it is used at all; then all cases teach. Where clicks are lone, each
    fourth is held out in turn, in a fourth of the steps: so few facts would decide by chance.

    Args:
        samples: One for each hinted case.
        channels: Names of all channels of the study.
        steps: Optimiser steps.
        rng: Gives the seeds of the networks.
        lone: Whether one or two clicks are all that shows some label. The middle of all hints then
            lies as these few do, and would tell their classes and no others.
        progress: Hears how many steps of how many are done.
        workers: Processes that try places side by side, and beside them let all cases teach by the
            likeliest place; what comes out is the same.

    Returns:
        The network; None where there are fewer than eight cases, where five do not show background
        and one label by more than boxes and balls, where lone clicks leave labels open, or where it
        does not help cases held out.
    """
    cases = [case for case in samples if len(case.weights)]
    if len(cases) < FEWEST_CASES:
        return None
    shown = _shown(cases)
    if not shown[0] or shown.sum() < 2:
        return None
    if lone:
        cases = weighed_together(cases, rng)
        if not are_bounded(cases):
            return None
    best = _best(_Lesson(cases, steps, lone, progress), rng, workers)
    if best.skill <= 0:
        return None
    rarity = _known_rarity(cases)
    return replace(best, channels=tuple(channels), shown=shown, rarity=rarity)


def _known_rarity(cases: Sequence[VoxelSamples]) -> Float32[np.ndarray, " class"] | None:
    """Return how rare classes are, from `rarity_of`; None where volumes are guesses."""
    if not all(case.drawn_whole for case in cases):
        return None
    _, classes, _, weights = _join(cases, "none")
    return np.asarray(rarity_of(classes, weights).numpy())


@dataclass(frozen=True, slots=True, eq=False)
class _Lesson:
    """What all networks learn from, and how long."""

    cases: Sequence[VoxelSamples]
    steps: int
    lone: bool
    """Whether clicks are lone."""

    progress: Callable[[int, int], None]

    @property
    def folds(self) -> int:
        """Return how many parts of the cases are held out in turn, in as small a part of steps."""
        return _HELD_OUT if self.lone else 1

    @property
    def places(self) -> list[_Place]:
        """Return the kinds of place that are tried, the likeliest first."""
        return [one for one in _PLACES if not (self.lone and one == "hints")]


_Part = Callable[[_Lesson], VoxelClassifier | nn.Module]


def _best(lesson: _Lesson, rng: np.random.Generator, workers: int) -> VoxelClassifier:
    """Return what all cases teach by the place that does best on cases held out.

    With several workers they begin by the likeliest place while places are tried, as three trials
    leave one of two workers idle. It is thrown away where another place does better.
    """
    places = lesson.places
    parts: list[_Part] = [partial(_try_place, one, int(rng.integers(2**31))) for one in places]
    seed = int(rng.integers(2**31))
    if workers > 1 and len(places) % 2:
        parts.append(partial(_teach_all, places[0], seed))
    found = _all_taken(lesson, parts, workers)
    trials = [one for one in found if isinstance(one, VoxelClassifier)]
    best, last = max(trials, key=lambda one: one.skill), found[-1]
    if isinstance(last, nn.Module) and best.place == places[0]:
        return replace(best, net=last)
    return replace(best, net=_teach_all(best.place, seed, lesson)) if best.skill > 0 else best


def _all_taken(
    lesson: _Lesson, parts: Sequence[_Part], workers: int
) -> list[VoxelClassifier | nn.Module]:
    """Return what each part of the work gives; what other processes do is heard as they end."""
    aside = replace(lesson, progress=_unheard) if workers > 1 else lesson
    found = []
    for _, part in spread(partial(_taken, aside), parts, workers if workers > 1 else 0):
        found.append(part())
        done = len(found) + len(_PLACES) - len(lesson.places)
        lesson.progress(done * lesson.steps, FITS * lesson.steps)
    return found


def _taken(lesson: _Lesson, part: _Part) -> VoxelClassifier | nn.Module:
    return part(lesson)


def _try_place(place: _Place, seed: int, lesson: _Lesson) -> VoxelClassifier:
    """Return what the other cases taught, and how it does on those held out."""
    cases, each = lesson.cases, lesson.steps // lesson.folds
    said: list[Tensor] = []
    held_out: list[VoxelSamples] = []
    for fold in range(lesson.folds):
        before = [*_PLACES].index(place) * lesson.steps + fold * each
        tell = partial(_further, lesson.progress, before, FITS * lesson.steps)
        rest = [case for which, case in enumerate(cases) if (which - fold) % _HELD_OUT]
        net = _fit(rest, place, each, seed, tell)
        tried = cases[fold::_HELD_OUT]
        with torch.no_grad():
            said.append(net(_join(tried, place)[0]))
        held_out += tried
    return _judged(torch.cat(said), held_out, place)


def _teach_all(place: _Place, seed: int, lesson: _Lesson) -> nn.Module:
    """Return a network that all cases taught."""
    before, total = len(_PLACES) * lesson.steps, FITS * lesson.steps
    tell = partial(_further, lesson.progress, before, total)
    return _fit(lesson.cases, place, lesson.steps // lesson.folds, seed, tell)


def _further(progress: Callable[[int, int], None], before: int, total: int, step: int) -> None:
    if step % _TOLD == 0:
        progress(before + step, total)


def _shown(cases: Sequence[VoxelSamples]) -> Bool[np.ndarray, " class"]:
    """Return the classes that enough cases prove."""
    proven = np.sum([case.classes.any(0) for case in cases], axis=0)
    return np.asarray(proven >= _TELLING)


def _chosen(
    features: Float32[np.ndarray, "n feature"], place: _Place
) -> Float32[np.ndarray, "n seen"]:
    """Return the features of which the network is told: surroundings, and one of the places."""
    count = features.shape[1]
    first, last = (count - back for back in _PLACES[place])
    surroundings = np.arange(count - _AXES * 2)
    return np.ascontiguousarray(features[:, [*surroundings, *range(first, last)]])


def _join(
    cases: Sequence[VoxelSamples],
    place: _Place,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    features = np.concatenate([_chosen(case.features, place) for case in cases])
    classes = np.concatenate([case.classes for case in cases])
    also = np.concatenate([case.also for case in cases])
    weights = np.concatenate([case.weights for case in cases])
    found = (torch.from_numpy(part) for part in (features, classes, also, weights))
    return next(found), next(found), next(found), next(found)


def _fit(
    cases: Sequence[VoxelSamples],
    place: _Place,
    steps: int,
    seed: int,
    tell: Callable[[int], None],
) -> nn.Module:
    features, classes, also, weights = _join(cases, place)
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(features.shape[1], _WIDTH),
            nn.SiLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.SiLU(),
            last := nn.Linear(_WIDTH, classes.shape[1]),
        )
        optimiser = OneCycle([*net.parameters()], _RATE, steps)
        order = np.random.default_rng(seed)
        rare = rarity_of(classes, weights)
        upto = np.cumsum((weights * (classes * rare).sum(1)).numpy().astype(np.float64))
        for step in range(steps):
            tell(step)
            drawn = np.searchsorted(upto, order.random(_BATCH) * upto[-1], side="right")
            some = torch.from_numpy(np.minimum(drawn, len(upto) - 1))
            logs = or_open(functional.log_softmax(net(features[some]), 1), also[some])
            optimiser.step(-(classes[some] * logs).sum(1).mean())
        with torch.no_grad():
            last.bias.sub_(rare.log())
    return net.eval()


def _judged(logs: Tensor, cases: Sequence[VoxelSamples], place: _Place) -> VoxelClassifier:
    """Return a classifier, still without its network, as cases held out decide.

    Args:
        logs: What networks say of the facts of cases that they have not seen.
        cases: These cases.
        place: What the networks are told of places.

    Source:
        Brier 1950, "Verification of forecasts expressed in terms of probability"; as a share of
        what the classes' shares alone would have. It is bounded, where the log likelihood lets a
        single fact that stands for a large volume decide.
    """
    _, classes, also, weights = _join(cases, place)
    share = (weights / weights.sum())[:, None]
    said = [or_open((float(s) * logs).log_softmax(1), also) for s in _SHARPNESS]
    errors = [float((share * (one.exp() - classes) ** 2).sum()) for one in said]
    blind = float((share * ((share * classes).sum(0) - classes) ** 2).sum())
    best = int(np.argmin(errors))
    counted = np.repeat([case.drawn_whole for case in cases], [len(c.weights) for c in cases])
    counts = share * torch.from_numpy(counted)[:, None]
    offset, shown = offset_of(said[best], classes, counts).numpy(), np.ones(logs.shape[1], np.bool_)
    skill = 1 - errors[best] / max(blind, 1e-9)
    return VoxelClassifier(nn.Identity(), (), shown, place, float(_SHARPNESS[best]), offset, skill)
