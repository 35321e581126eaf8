"""What the hints of all cases together tell of a voxel: how a class looks, and where it lies."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import edt
import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from voxhint.core import LabelSet, Volume
from voxhint.propagate.constraints import Constraints
from voxhint.propagate.distance_caps import distance_caps, measure_marks
from voxhint.propagate.voxel_features import voxel_features

_KEPT = 4000  # facts of a case that are learnt from
_PRESUMED = 600  # voxels of a case that are learnt from as background that nobody showed
_HELD = 1.5  # caps within which a voxel may be of the label whose hint is nearest
_BAND = 2.0  # of that: how far around labels voxels count
_WIDTH = 48
_BATCH = 2048
_RATE = 6e-3
_DECAY = 1e-3
_CHUNK = 1 << 17  # voxels answered at once
FEWEST_CASES = 8
"""Cases that can teach the others."""

_TELLING = 5  # cases that must show a class
_HELD_OUT = 4  # every fourth case tries what the others taught
_AXES = 3
_FITS = 4  # networks: one for each kind of place, and that of all cases
_POOLED = 100_000  # places of an image that ask for the nearest fact of all cases
_NEVER = -1e4  # a log probability of 0 that still has a gradient
_TOLD = 100  # steps after which progress is told
_SHARPNESS = np.linspace(0.2, 1.5, 14)


_Place = Literal["hints", "image", "none"]
"""From where a voxel's place is counted: from the middle of all hints of labels, where it does not
matter how much of the body an image shows; within the image; or not at all."""

_PLACES: Mapping[_Place, tuple[int, int]] = {"hints": (6, 3), "image": (3, 0), "none": (0, 0)}


@dataclass(frozen=True, slots=True, eq=False)
class VoxelSamples:
    """The proven voxels of one case."""

    features: Float32[np.ndarray, "n feature"]
    classes: Float32[np.ndarray, "n class"]
    also: Bool[np.ndarray, "n class"]
    """Labels that a voxel shown or presumed as background may be, for all that its case says."""

    weights: Float32[np.ndarray, " n"]
    """The volume each voxel stands for, so that places shown often do not count twice."""


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

    skill: float
    """Brier skill on held-out facts: share of their squared error that it takes away."""

    def facts(self) -> dict[str, float | str]:
        """Return what it found, as written into `made.json`."""
        return {
            "place": self.place,
            "sharpness": round(self.sharpness, 2),
            "skill": round(self.skill, 3),
        }

    def log_probs(
        self, images: Mapping[str, Volume], constraints: Constraints
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return the log probability of each class.

        Args:
            images: Channels by name, on one grid.
            constraints: What the hints of the case prove, on that grid.
        """
        features, grid = voxel_features(images, constraints, self.channels), constraints.grid
        flat = torch.from_numpy(_chosen(features.reshape(-1, features.shape[-1]), self.place))
        with torch.no_grad():
            told = [functional.log_softmax(self.net(part), 1) for part in torch.split(flat, _CHUNK)]
        logs = self.sharpness * torch.cat(told).T.reshape(-1, *grid.shape).numpy()
        logs[~self.shown] = logs[0]
        return np.ascontiguousarray(logs)


def voxel_samples(
    constraints: Constraints,
    images: Mapping[str, Volume],
    channels: Sequence[str],
    labels: LabelSet,
    rng: np.random.Generator,
) -> VoxelSamples:
    """Collect what the hints of a case prove, and what nothing speaks for.

    People show labels and what lies beside them, hardly ever the rest. So voxels beyond the reach
    of every label, but not far beyond it, are counted as background that was shown.

    Args:
        constraints: From `constraints_of`.
        images: Channels by name, on the grid of the constraints.
        channels: Names of all channels of the study.
        labels: Names of the classes.
        rng: Chooses among more facts than are needed.

    Returns:
        Some thousand voxels at most, each weighed by the voxels near the labels that it stands for.
    """
    facts = np.flatnonzero(constraints.proven.max(0) > 0.5)
    if constraints.drawn_whole:  # slices show what lies beside a label, and nothing of its ends
        shares = np.full(len(facts), constraints.proven[0].size / max(1, len(facts)), np.float32)
        presumed = np.zeros(constraints.grid.shape, np.bool_)
    else:
        shares, presumed = _stand_for(constraints, labels)
    kept, weights = _drawn(facts, shares, _KEPT, rng)
    lone = np.flatnonzero(presumed)
    beside, more = _drawn(lone, np.ones(len(lone), np.float32), _PRESUMED, rng)
    classes = constraints.proven.reshape(len(constraints.proven), -1)[:, kept].T
    background = np.zeros((len(beside), classes.shape[1]), np.float32)
    background[:, 0] = 1
    features = voxel_features(images, constraints, channels)
    both = np.concatenate([classes, background])
    also = np.zeros(both.shape, np.bool_)
    also[:, list(constraints.open_labels)] = True
    also[len(kept) :] |= ~(constraints.proven.any((1, 2, 3)) | constraints.likely.any((1, 2, 3)))
    also &= constraints.possible.any((1, 2, 3)) & (both[:, :1] > 0)
    also[:, 0] = False
    return VoxelSamples(
        features.reshape(-1, features.shape[-1])[np.concatenate([kept, beside])],
        both,
        also,
        np.concatenate([weights, more]),
    )


def _drawn(
    places: Int64[np.ndarray, " n"],
    weights: Float32[np.ndarray, " n"],
    most: int,
    rng: np.random.Generator,
) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
    """Return at most so many places, which then stand for all."""
    if len(places) <= most:
        return places, weights
    kept = np.sort(rng.choice(len(places), most, replace=False))
    return places[kept], weights[kept] * np.float32(len(places) / most)


def _stand_for(
    constraints: Constraints, labels: LabelSet
) -> tuple[Float32[np.ndarray, " fact"], Bool[np.ndarray, "i j k"]]:
    """Return how many voxels each fact stands for, and the voxels that none does.

    Only the band around labels counts, in which classes compete: how much of the body the image
    shows does not matter, and people click where they like.
    """
    spacing = constraints.grid.spacing_mm
    shown = constraints.proven > 0.5
    marks = measure_marks(constraints, labels)
    caps = distance_caps([marks], [constraints.grid], labels)
    guessed = {name for name, one in marks.items() if not one.speaks}
    reach = np.array(
        [np.inf, *(np.inf if n in guessed else _HELD * caps[n] for n in labels.foreground)],
        np.float32,
    )
    band = np.full(constraints.grid.shape, not shown[1:].any())
    for number in range(1, len(shown)):
        if shown[number].any():
            away = edt.edt(np.ascontiguousarray(~shown[number]), anisotropy=tuple(spacing.tolist()))
            band |= away <= _BAND * reach[number]
    sure = np.asarray(shown.any(0))
    if not sure.any():
        return np.zeros(0, np.float32), np.zeros(sure.shape, np.bool_)
    away, nearest = ndimage.distance_transform_edt(~sure, spacing, return_indices=True)
    owner = np.ravel_multi_index(tuple(nearest), sure.shape)
    held = band & (away <= reach[shown.argmax(0).ravel()[owner]])
    share = np.bincount(owner[held], minlength=sure.size)[np.flatnonzero(sure)]
    lost = band & ~held & (constraints.possible[0] > 0)
    return np.maximum(share, 1).astype(np.float32), lost


def _unheard(done: int, total: int) -> None:
    """Tell nobody."""


def fit_voxel_classifier(
    samples: Sequence[VoxelSamples],
    channels: Sequence[str],
    *,
    steps: int,
    rng: np.random.Generator,
    lone: bool = False,
    progress: Callable[[int, int], None] = _unheard,
) -> VoxelClassifier | None:
    """Learn from all cases, with the place of voxels only where that helps.

    Every fourth case is held out first. They decide whether the place is looked at, how sharp the
    answer may be, and whether it is used at all; then all cases teach.

    Args:
        samples: One for each hinted case.
        channels: Names of all channels of the study.
        steps: Optimiser steps.
        rng: Gives the seeds of the networks.
        lone: Whether one or two clicks are all that shows some label. The middle of all hints then
            lies as these few do, and would tell their classes and no others.
        progress: Hears how many steps of how many are done.

    Returns:
        The network; None where there are fewer than eight cases, where five do not show background
        and one label by more than boxes and balls, or where it does not help cases held out.
    """
    cases = [case for case in samples if len(case.weights)]
    if len(cases) < FEWEST_CASES:
        return None
    shown = _shown(cases)
    if not shown[0] or shown.sum() < 2:
        return None
    cases = _weighed_together(cases, rng) if lone else cases
    skill, sharpness, place = max(_tried(cases, steps, rng, progress, lone=lone))
    if skill <= 0:
        return None
    tell = partial(_further, progress, len(_PLACES) * steps, _FITS * steps)
    net = _fit(cases, place, steps, int(rng.integers(2**31)), tell)
    return VoxelClassifier(net, tuple(channels), shown, place, sharpness, skill)


def _tried(
    cases: Sequence[VoxelSamples],
    steps: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
    *,
    lone: bool,
) -> Iterator[tuple[float, float, _Place]]:
    """Yield how much each kind of place helps cases held out, and how sharp the answer may be."""
    held_out = cases[::_HELD_OUT]
    rest = [case for number, case in enumerate(cases) if number % _HELD_OUT]
    for number, place in enumerate(_PLACES):
        if lone and place == "hints":
            continue
        tell = partial(_further, progress, number * steps, _FITS * steps)
        net = _fit(rest, place, steps, int(rng.integers(2**31)), tell)
        yield (*_try(net, held_out, place), place)


def _weighed_together(
    cases: Sequence[VoxelSamples], rng: np.random.Generator
) -> list[VoxelSamples]:
    """Return facts weighed by the part of the image that is nearest to them of those of all cases.

    Alone in its case a click stands for half of the image. Over many cases the clicks of a label
    lie as wide as it is, those of background around them.
    """
    places = [case.features[:, -_AXES:] for case in cases]
    asked = rng.uniform(-1, 1, (_POOLED, _AXES))
    nearest = cKDTree(np.concatenate(places)).query(asked)[1]
    held = np.bincount(nearest, minlength=sum(map(len, places))).astype(np.float32)
    ends = np.cumsum([len(part) for part in places])[:-1]
    return [
        replace(case, weights=np.asarray(weights))
        for case, weights in zip(cases, np.split(held, ends), strict=True)
    ]


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


def _or_open(logs: Tensor, also: Tensor) -> Tensor:
    """Return log probabilities where that of background holds all that it may be.

    Source:
        The loss for candidate label sets of Jin and Ghahramani 2002, "Learning with multiple
        labels".
    """
    if not also.any():
        return logs
    others = logs.masked_fill(~also, _NEVER)
    background = torch.logaddexp(logs[:, 0], others.logsumexp(1))
    return torch.cat([background[:, None], logs[:, 1:].masked_fill(also[:, 1:], _NEVER)], 1)


def _fit(
    cases: Sequence[VoxelSamples],
    place: _Place,
    steps: int,
    seed: int,
    tell: Callable[[int], None],
) -> nn.Module:
    features, classes, also, weights = _join(cases, place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(features.shape[1], _WIDTH),
            nn.SiLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.SiLU(),
            nn.Linear(_WIDTH, classes.shape[1]),
        )
        optimiser = torch.optim.AdamW(net.parameters(), weight_decay=_DECAY)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=max(2, steps))
        order = np.random.default_rng(seed)
        upto = np.cumsum(weights.numpy().astype(np.float64))
        for step in range(steps):
            tell(step)
            drawn = np.searchsorted(upto, order.random(_BATCH) * upto[-1], side="right")
            some = torch.from_numpy(np.minimum(drawn, len(upto) - 1))
            logs = _or_open(functional.log_softmax(net(features[some]), 1), also[some])
            optimiser.zero_grad()
            (-(classes[some] * logs).sum(1).mean()).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            pace.step()
    return net.eval()


def _try(net: nn.Module, cases: Sequence[VoxelSamples], place: _Place) -> tuple[float, float]:
    """Return the skill of the network at its best sharpness, and that sharpness.

    Source:
        Brier 1950, "Verification of forecasts expressed in terms of probability"; as a share of
        what the classes' shares alone would have. It is bounded, where the log likelihood lets a
        single fact that stands for a large volume decide.
    """
    features, classes, also, weights = _join(cases, place)
    share = (weights / weights.sum())[:, None]
    with torch.no_grad():
        logs = net(features)
        said = [_or_open((float(s) * logs).log_softmax(1), also).exp() for s in _SHARPNESS]
        errors = [float((share * (probs - classes) ** 2).sum()) for probs in said]
        blind = float((share * ((share * classes).sum(0) - classes) ** 2).sum())
    best = int(np.argmin(errors))
    return 1 - errors[best] / max(blind, 1e-9), float(_SHARPNESS[best])
