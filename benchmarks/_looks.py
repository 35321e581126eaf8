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

from voxhint.classify import counterfactual, gradient_saliency
from voxhint.classify.calibrated_saliency import FusedSaliency
from voxhint.classify.classifier import Classifier, classifier_network, image_of
from voxhint.classify.null_distribution import NullDistribution
from voxhint.classify.saliency_methods import SaliencyMap, saliency_methods
from voxhint.classify.tag_bags import TagJob
from voxhint.classify.train_classifier import fit_classifier
from voxhint.classify.train_label_flow import FLOW
from voxhint.config import LabelConfig, Machine
from voxhint.config.ranges import changed
from voxhint.config.tags import TagConfig
from voxhint.core.study import Study
from voxhint.files import open_study
from voxhint.prepare import prepare_image

METHODS = {**gradient_saliency.METHODS, **counterfactual.METHODS}
CONFIG = LabelConfig(
    tags=TagConfig(weights="none")
)  # those that come with voxhint know the design tags
DEFAULT = CONFIG.tags.method
SHUFFLED_STEPS = 200  # of the classifier that learns shuffled tags: there is nothing to learn

Map = Callable[[Window], np.ndarray]
"""Makes a map of evidence on the grid of a window."""


def trained(
    study: Path, out: Path, machine: Machine, name: str = "fit"
) -> tuple[Classifier, Study]:
    """Return a classifier of the `fit` cases, trained where no earlier call has, and its study.

    Args:
        study: Holds all cases.
        out: Where networks go.
        machine: Seed of the first classifier.
        name: fit, shuffled (permuted tags), or other (the next seed).
    """
    shuffled = name == "shuffled"
    folder = out / ("shuffled-study" if shuffled else "fit-study")
    opened, _ = open_study(fit_study(study, folder, shuffled=shuffled))
    config = changed(CONFIG, {"classifier.steps": SHUFFLED_STEPS}) if shuffled else CONFIG
    if name == "other":
        machine = dataclasses.replace(machine, seed=machine.seed + 1)
    labels = opened.labels.foreground
    classifier = fit_classifier(out / name, TagJob(opened, labels, config, machine, tell))
    return classifier, opened


def take_flow(flow: Path | None, out: Path) -> None:
    """Put a flow that was trained before where the maps look for theirs."""
    if flow is not None:
        shutil.copytree(flow, out / FLOW, dirs_exist_ok=True)


def operating_point_of(classifier: Classifier) -> float:
    """Return the score from which a window is believed to hold the label."""
    return float(classifier.facts[classifier.labels[0]]["operating_point"])


def score(classifier: Classifier, seen: Window) -> float:
    """Return the classifier's logit of a window."""
    return classifier.scores(prepare_image(seen.case.images, classifier.plan)[0])[
        classifier.labels[0]
    ]


def unlearnt(classifier: Classifier, healthy: Sequence[Window]) -> Classifier:
    """Return the classifier with random weights, its gate set anew.

    Source:
        Adebayo et al. 2018, "Sanity Checks for Saliency Maps".
    """
    torch.manual_seed(1)
    net = classifier_network(
        classifier.plan, classifier.labels, CONFIG.classifier.pooling, two_and_half_d=False
    )
    fresh = dataclasses.replace(classifier, net=net.eval())
    point = np.quantile([score(fresh, w) for w in healthy], CONFIG.tags.specificity)
    label = classifier.labels[0]
    return dataclasses.replace(
        fresh, facts={label: {**classifier.facts[label], "operating_point": point}}
    )


def knobs_of(name: str) -> dict[str, Any]:
    """Return the knobs of one map: METHOD[:KNOB=VALUE,...], knobs of guided_flow."""
    method, _, text = name.partition(":")
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    knobs = {f"guided_flow.{knob}": json.loads(value) for knob, _, value in pairs}
    return {"tags.method": method, "tags.fuse": ()} | knobs


class Looked:
    """The map of one method, or of several joined, and what each look costs."""

    def __init__(self, saliency: FusedSaliency, healthy: Sequence[Window]) -> None:
        self.saliency = saliency
        self.asks: list[tuple[int, int]] = []
        if len(saliency.methods) > 1:
            nulls = [self._null(number, healthy) for number in range(len(saliency.methods))]
            self.saliency = dataclasses.replace(saliency, nulls=nulls)

    def __call__(self, seen: Window, *, calibrating: bool = False) -> np.ndarray:
        """Return the map of a window."""
        return self.saliency.fuse(self.maps(seen, calibrating=calibrating))

    def calibrating(self, seen: Window) -> np.ndarray:
        """Return the map of a window whose label is known to be absent."""
        return self(seen, calibrating=True)

    def maps(self, seen: Window, *, calibrating: bool = False) -> list[SaliencyMap]:
        """Return what each method sees, and note the images that networks were asked about."""
        shown = 0

        def count(_: object, images: tuple[torch.Tensor, ...], __: object) -> None:
            nonlocal shown
            shown += len(images[0])

        hook = self.saliency.classifier.net.body.register_forward_hook(count)
        maps = self.saliency.maps(seen.case, seen.rng, calibrating=calibrating)
        hook.remove()
        flow = sum(one.flow_evaluations for one in maps)
        self.asks.append((flow, sum(one.classifier_evaluations for one in maps) or shown))
        return maps

    def _null(self, number: int, healthy: Sequence[Window]) -> NullDistribution:
        alone = dataclasses.replace(
            self.saliency, methods=self.saliency.methods[number : number + 1]
        )
        maps = (alone.maps(w.case, w.rng, calibrating=True)[0].values for w in healthy)
        return NullDistribution.of(maps, rng=np.random.default_rng(0))


def looked(
    classifier: Classifier,
    fitted: Study,
    out: Path,
    machine: Machine,
    name: str,
    healthy: Sequence[Window] = (),
) -> Looked:
    """Return the map that a method makes of a classifier, and of a flow if it asks one.

    Args:
        classifier: The classifier.
        fitted: What a flow learns from, unless OUT/flow is there.
        out: Where networks go.
        machine: Device, threads, seed.
        name: One map as `knobs_of` reads it, or several joined by a slash.
        healthy: Tell what each of several methods shows by chance.
    """
    configs = [changed(CONFIG, knobs_of(one)) for one in name.split("/")]
    methods = [
        method
        for config in configs
        for method in saliency_methods(
            classifier, out, TagJob(fitted, classifier.labels, config, machine, tell)
        )
    ]
    return Looked(FusedSaliency(classifier, classifier.labels[0], methods), healthy)


def intensity(classifier: Classifier, seen: Window) -> np.ndarray:
    """Return how dense the tissue is: what needs no classifier."""
    return classifier.contrast(classifier.labels[0]).of(image_of(seen.case, classifier.plan))
