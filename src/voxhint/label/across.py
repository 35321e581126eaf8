"""What the hints of all cases together tell of a voxel: how a class looks, and where it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from voxhint.core import Grid, Volume
from voxhint.core.facts import voxels_nearest
from voxhint.label.seeds import Evidence

_BLURS_MM = (0.7, 1.5, 3.0, 6.0)
_KEPT = 4000  # facts of a case that are learnt from
_WIDTH = 48
_BATCH = 2048
_RATE = 6e-3
_DECAY = 1e-3
_CHUNK = 1 << 17  # voxels answered at once
_FEWEST = 8  # cases that can teach the others
_TELLING = 5  # cases that must show a class
_HELD_OUT = 4  # every fourth case tries what the others taught
_SHARPNESS = np.linspace(0.2, 1.5, 14)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """The proven voxels of one case."""

    looks: Float32[np.ndarray, "n feature"]
    classes: Float32[np.ndarray, "n class"]
    weights: Float32[np.ndarray, " n"]
    """The volume each voxel stands for, so that places shown often do not count twice."""

    seeds: Bool[np.ndarray, " class"]
    """Which classes the hints show at all, be it by the shape of a box."""


@dataclass(frozen=True, slots=True, eq=False)
class Across:
    """A small network that names the class of a voxel from its surroundings and its place."""

    net: nn.Module
    channels: tuple[str, ...]
    place: bool
    """Whether the place in the field of view helped with cases that were held out."""

    sharpness: float
    """What log probabilities are multiplied by, so that they fit the cases held out."""

    skill: float
    """Brier skill on held-out facts: share of their squared error that it takes away."""

    def told(self) -> dict[str, float | bool]:
        """Return what it found, as written into `made.json`."""
        return {
            "place": self.place,
            "sharpness": round(self.sharpness, 2),
            "skill": round(self.skill, 3),
        }

    def log_probs(
        self, images: Mapping[str, Volume], grid: Grid
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return the log probability of each class.

        Args:
            images: Channels by name, on one grid.
            grid: That grid.
        """
        looks = looks_of(images, grid, self.channels)
        flat = torch.from_numpy(_seen(looks.reshape(-1, looks.shape[-1]), self.place))
        with torch.no_grad():
            told = [functional.log_softmax(self.net(part), 1) for part in torch.split(flat, _CHUNK)]
        logs = self.sharpness * torch.cat(told).T.reshape(-1, *grid.shape)
        return np.ascontiguousarray(logs.numpy())


def looks_of(
    images: Mapping[str, Volume], grid: Grid, channels: Sequence[str]
) -> Float32[np.ndarray, "i j k feature"]:
    """Describe each voxel by its surroundings, free of each image's scale and offset, and place.

    Args:
        images: Channels by name, on one grid.
        grid: That grid.
        channels: Names of all channels of the study; one that is absent is described by zeros.

    Returns:
        For each channel the intensity, plain and blurred by 0.7 to 6 mm, and the slope; then the
        place in the field of view, -1 to 1 to the right, the front and the head.
    """
    described: list[Float32[np.ndarray, "i j k"]] = []
    for name in channels:
        if name in images:
            described += _surroundings(images[name])
        else:
            described += [np.zeros(grid.shape, np.float32)] * (len(_BLURS_MM) + 2)
    turn = grid.turn_to_ras()
    for axis, flipped in zip(turn.axes, turn.flips, strict=True):
        count = grid.shape[axis]
        along = (2 * np.arange(count, dtype=np.float32) + 1) / count - 1
        shape = [count if other == axis else 1 for other in range(3)]
        described.append(np.broadcast_to((-along if flipped else along).reshape(shape), grid.shape))
    return np.stack(described, -1)


def _surroundings(image: Volume) -> list[Float32[np.ndarray, "i j k"]]:
    spacing = image.grid.spacing_mm
    quiet = ndimage.gaussian_filter(image.voxels, _BLURS_MM[0] / spacing)
    low, high = (float(v) for v in np.percentile(quiet, [1, 99]))
    scaled = np.clip((image.voxels - low) / max(high - low, 1e-6), -0.2, 1.2).astype(np.float32)
    blurred = [ndimage.gaussian_filter(scaled, blur / spacing, truncate=3) for blur in _BLURS_MM]
    steep = ndimage.gaussian_gradient_magnitude(scaled, 1 / spacing, truncate=3)
    slope = steep / max(3 * float(steep.mean()), 1e-6)
    return [*(2 * part - 1 for part in (scaled, *blurred)), slope]


def lesson_of(
    evidence: Evidence,
    images: Mapping[str, Volume],
    channels: Sequence[str],
    rng: np.random.Generator,
) -> Lesson:
    """Collect what the hints of a case prove.

    Args:
        evidence: From `gather_evidence`.
        images: Channels by name, on the evidence's grid.
        channels: Names of all channels of the study.
        rng: Chooses among more facts than are needed.

    Returns:
        Some thousand voxels at most, each weighed by the voxels that lie nearest to it.
    """
    sure = evidence.proven.max(0) > 0.5
    places = np.flatnonzero(sure)
    weights = voxels_nearest(sure, evidence.grid.spacing_mm)
    if len(places) > _KEPT:
        kept = np.sort(rng.choice(len(places), _KEPT, replace=False))
        weights = weights[kept] * np.float32(len(places) / _KEPT)
        places = places[kept]
    looks = looks_of(images, evidence.grid, channels)
    classes = evidence.proven.reshape(len(evidence.proven), -1)[:, places].T
    seeds = ((evidence.proven > 0.5) | (evidence.likely > 0)).any((1, 2, 3))
    return Lesson(
        looks.reshape(-1, looks.shape[-1])[places],
        np.ascontiguousarray(classes),
        weights,
        np.asarray(seeds),
    )


def learn_across(
    lessons: Sequence[Lesson], channels: Sequence[str], *, steps: int, rng: np.random.Generator
) -> Across | None:
    """Learn from all cases, with the place in the field of view only where that helps.

    Every fourth case is held out first. They decide whether the place is looked at, how sharp the
    answer may be, and whether it is used at all; then all cases teach.

    Args:
        lessons: One for each hinted case.
        channels: Names of all channels of the study.
        steps: Optimiser steps.
        rng: Gives the seeds of the networks.

    Returns:
        The network; None where there are fewer than eight cases, where a class is shown by fewer
        than five or by nothing but boxes and balls, or where it does not help cases held out.
    """
    cases = [lesson for lesson in lessons if len(lesson.weights)]
    if len(cases) < _FEWEST or not _all_told(cases):
        return None
    held_out = cases[::_HELD_OUT]
    rest = [case for number, case in enumerate(cases) if number % _HELD_OUT]
    found = []
    for place in (True, False):
        net = _fit(rest, place, steps, int(rng.integers(2**31)))
        found.append((*_try(net, held_out, place), place))
    skill, sharpness, place = max(found)
    if skill <= 0:
        return None
    net = _fit(cases, place, steps, int(rng.integers(2**31)))
    return Across(net, tuple(channels), place, sharpness, skill)


def _all_told(cases: Sequence[Lesson]) -> bool:
    """Return whether enough cases prove every class that any hint shows."""
    shown = np.any([case.seeds for case in cases], axis=0)
    proven = np.sum([case.classes.any(0) for case in cases], axis=0)
    return bool(shown[0] and shown.sum() > 1 and (proven[shown] >= _TELLING).all())


def _seen(looks: Float32[np.ndarray, "n feature"], place: bool) -> Float32[np.ndarray, "n seen"]:  # noqa: FBT001
    return looks if place else np.ascontiguousarray(looks[:, :-3])


def _join(
    cases: Sequence[Lesson],
    place: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor]:
    looks = np.concatenate([_seen(case.looks, place) for case in cases])
    classes = np.concatenate([case.classes for case in cases])
    weights = np.concatenate([case.weights for case in cases])
    return torch.from_numpy(looks), torch.from_numpy(classes), torch.from_numpy(weights)


def _fit(cases: Sequence[Lesson], place: bool, steps: int, seed: int) -> nn.Module:  # noqa: FBT001
    looks, classes, weights = _join(cases, place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(looks.shape[1], _WIDTH),
            nn.SiLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.SiLU(),
            nn.Linear(_WIDTH, classes.shape[1]),
        )
        optimiser = torch.optim.AdamW(net.parameters(), weight_decay=_DECAY)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=max(2, steps))
        order = np.random.default_rng(seed)
        upto = np.cumsum(weights.numpy().astype(np.float64))
        for _ in range(steps):
            drawn = np.searchsorted(upto, order.random(_BATCH) * upto[-1], side="right")
            some = torch.from_numpy(np.minimum(drawn, len(upto) - 1))
            logs = functional.log_softmax(net(looks[some]), 1)
            optimiser.zero_grad()
            (-(classes[some] * logs).sum(1).mean()).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            pace.step()
    return net.eval()


def _try(net: nn.Module, cases: Sequence[Lesson], place: bool) -> tuple[float, float]:  # noqa: FBT001
    """Return the skill of the network at its best sharpness, and that sharpness.

    Source:
        Brier 1950, "Verification of forecasts expressed in terms of probability"; as a share of
        what the classes' shares alone would have. It is bounded, where surprise lets a single fact
        that stands for a large volume decide.
    """
    looks, classes, weights = _join(cases, place)
    share = (weights / weights.sum())[:, None]
    with torch.no_grad():
        logs = net(looks)
        errors = [
            float((share * (functional.softmax(float(s) * logs, 1) - classes) ** 2).sum())
            for s in _SHARPNESS
        ]
        blind = float((share * ((share * classes).sum(0) - classes) ** 2).sum())
    best = int(np.argmin(errors))
    return 1 - errors[best] / max(blind, 1e-9), float(_SHARPNESS[best])
