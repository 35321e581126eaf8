"""Predictors and maps that the benchmarks of tags measure."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _windows import Window, fit_study, tell

from voxhint.classify import counterfactual, saliency
from voxhint.classify.classifier import Presence, image_of, network_for
from voxhint.classify.flows import FLOW
from voxhint.classify.maps import Sight, eyes_of
from voxhint.classify.null_calibration import Source
from voxhint.classify.null_distribution import Null
from voxhint.classify.training import fit_presence
from voxhint.config import LabelConfig, Machine
from voxhint.config.ranges import changed
from voxhint.config.tags import TagConfig
from voxhint.core.study import Study
from voxhint.files import open_study
from voxhint.prepare import prepare_image

METHODS = {**saliency.METHODS, **counterfactual.METHODS}
CONFIG = LabelConfig(
    tags=TagConfig(weights="none")
)  # those that come with voxhint know the design tags
DEFAULT = CONFIG.tags.method
SHUFFLED_STEPS = 200  # of the predictor that learns shuffled tags: there is nothing to learn

Map = Callable[[Window], np.ndarray]
"""Makes a map of evidence on the grid of a window."""


def trained(study: Path, out: Path, machine: Machine, name: str = "fit") -> tuple[Presence, Study]:
    """Return a predictor of the `fit` cases, trained where no earlier call has, and its study.

    Args:
        study: Holds all cases.
        out: Where networks go.
        machine: Seed of the first predictor.
        name: fit, shuffled (permuted tags), or other (the next seed).
    """
    shuffled = name == "shuffled"
    folder = out / ("shuffled-study" if shuffled else "fit-study")
    opened, _ = open_study(fit_study(study, folder, shuffled=shuffled))
    config = changed(CONFIG, {"classifier.steps": SHUFFLED_STEPS}) if shuffled else CONFIG
    if name == "other":
        machine = dataclasses.replace(machine, seed=machine.seed + 1)
    labels = opened.labels.foreground
    presence = fit_presence(out / name, opened, labels, config=config, machine=machine, tell=tell)
    return presence, opened


def take_flow(flow: Path | None, out: Path) -> None:
    """Put a flow that was trained before where the maps look for theirs."""
    if flow is not None:
        shutil.copytree(flow, out / FLOW, dirs_exist_ok=True)


def gate_of(presence: Presence) -> float:
    """Return the score from which a window is believed to hold the label."""
    return float(presence.facts[presence.labels[0]]["gate"])


def score(presence: Presence, seen: Window) -> float:
    """Return the predictor's logit of a window."""
    return presence.scores(prepare_image(seen.case.images, presence.plan)[0])[presence.labels[0]]


def unlearnt(presence: Presence, healthy: Sequence[Window]) -> Presence:
    """Return the predictor with random weights, its gate set anew.

    Source:
        Adebayo et al. 2018, "Sanity Checks for Saliency Maps".
    """
    torch.manual_seed(1)
    net = network_for(presence.plan, presence.labels, CONFIG.classifier.pooling, flat=False)
    fresh = dataclasses.replace(presence, net=net.eval())
    gate = np.quantile([score(fresh, w) for w in healthy], CONFIG.tags.specificity)
    label = presence.labels[0]
    return dataclasses.replace(fresh, facts={label: {**presence.facts[label], "gate": gate}})


def knobs_of(name: str) -> dict[str, Any]:
    """Return the knobs of one map: METHOD[:KNOB=VALUE,...], knobs of guided_flow."""
    method, _, text = name.partition(":")
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    knobs = {f"guided_flow.{knob}": json.loads(value) for knob, _, value in pairs}
    return {"tags.method": method, "tags.fuse": ()} | knobs


class Looked:
    """The map of one method, or of several joined, and what each look costs."""

    def __init__(self, source: Source, healthy: Sequence[Window]) -> None:
        self.source = source
        self.asks: list[tuple[int, int]] = []
        if len(source.eyes) > 1:
            nulls = [self._null(number, healthy) for number in range(len(source.eyes))]
            self.source = dataclasses.replace(source, nulls=nulls)

    def __call__(self, seen: Window, *, calibrating: bool = False) -> np.ndarray:
        """Return the map of a window."""
        return self.source.evidence(self.sights(seen, calibrating=calibrating))

    def calibrating(self, seen: Window) -> np.ndarray:
        """Return the map of a window whose label is known to be absent."""
        return self(seen, calibrating=True)

    def sights(self, seen: Window, *, calibrating: bool = False) -> list[Sight]:
        """Return what each method sees, and note the images that networks were asked about."""
        shown = 0

        def count(_: object, images: tuple[torch.Tensor, ...], __: object) -> None:
            nonlocal shown
            shown += len(images[0])

        hook = self.source.presence.net.body.register_forward_hook(count)
        sights = self.source.sights(seen.case, seen.rng, calibrating=calibrating)
        hook.remove()
        flow = sum(sight.flow_evaluations for sight in sights)
        self.asks.append((flow, sum(sight.predictor_evaluations for sight in sights) or shown))
        return sights

    def _null(self, number: int, healthy: Sequence[Window]) -> Null:
        alone = dataclasses.replace(self.source, eyes=self.source.eyes[number : number + 1])
        maps = (alone.sights(w.case, w.rng, calibrating=True)[0].evidence for w in healthy)
        return Null.of(maps, rng=np.random.default_rng(0))


def looked(
    presence: Presence,
    fitted: Study,
    out: Path,
    machine: Machine,
    name: str,
    healthy: Sequence[Window] = (),
) -> Looked:
    """Return the map that a method makes of a predictor, and of a flow if it asks one.

    Args:
        presence: The predictor.
        fitted: What a flow learns from, unless OUT/flow is there.
        out: Where networks go.
        machine: Device, threads, seed.
        name: One map as `knobs_of` reads it, or several joined by a slash.
        healthy: Tell what each of several methods shows by chance.
    """
    configs = [changed(CONFIG, knobs_of(one)) for one in name.split("/")]
    eyes = [
        eye
        for config in configs
        for eye in eyes_of(presence, fitted, out, config, machine, tell=tell)
    ]
    return Looked(Source(presence, presence.labels[0], eyes), healthy)


def intensity(presence: Presence, seen: Window) -> np.ndarray:
    """Return how dense the tissue is: what needs no predictor."""
    return presence.contrast(presence.labels[0]).of(image_of(seen.case, presence.plan))
