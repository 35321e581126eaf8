"""Regions of labels that only tags name: localised by saliency, refined, and verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from voxhint.classify.calibrated_saliency import CalibratedSaliency, FusedSaliency, within
from voxhint.classify.candidates import candidates
from voxhint.classify.classifier import CLASSIFIER, Classifier, image_of
from voxhint.classify.occlusion_check import swap_test
from voxhint.classify.region_soft_label import Region, with_regions
from voxhint.classify.saliency_methods import (
    SaliencyMap,
    SaliencyMethod,
    counterfactual_images,
    saliency_methods,
)
from voxhint.classify.tag_bags import TagJob, labels_to_localise, needs_localisation
from voxhint.classify.train_classifier import fit_classifier
from voxhint.config import LabelConfig, Machine
from voxhint.core import Case, Grid, SoftLabel, Tag, Volume
from voxhint.core.progress import Tell
from voxhint.core.study import Study
from voxhint.prepare import prepare_image
from voxhint.prepare.preprocess import to_working
from voxhint.propagate import Constraints

_VERIFIER = "verifier"
"""Folder of the second classifier, beside the first."""

_SPARE = 3  # places more than wanted that are tried where a verifier chooses

_Mask = Bool[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class Localisation:
    """What hints and saliency imply for a case."""

    soft: SoftLabel
    counterfactual: Mapping[str, Volume] = field(default_factory=dict)
    """The channels as they would be without what tags name, if the first map can tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Localiser:
    """Finds the regions of labels that a case is tagged to hold and that no other hint shows."""

    classifier: Classifier
    study: Study
    config: LabelConfig
    seed: int
    saliency: Mapping[str, CalibratedSaliency]
    """Of each label."""

    verifier: Classifier | None = None
    """Another classifier of the same tags, which a region must convince."""

    @staticmethod
    def fit(  # noqa: PLR0913  # all that a search rests on
        classifier: Classifier,
        study: Study,
        methods: Sequence[SaliencyMethod],
        config: LabelConfig,
        seed: int,
        tell: Tell,
        verifier: Classifier | None = None,
    ) -> "Localiser":
        """Return a localiser, its saliency calibrated on training images tagged absent."""
        saliency = {}
        for number, label in enumerate(classifier.labels):
            tell("calibrate on images tagged absent", number, len(classifier.labels), label)
            fused = FusedSaliency(classifier, label, methods)
            saliency[label] = CalibratedSaliency.fit(fused, study, [seed, number])
        return Localiser(classifier, study, config, seed, saliency, verifier)

    def describe(self) -> list[dict[str, Any]]:
        """Return what each map is, for `made.json`."""
        calibrated = next(iter(self.saliency.values()))
        return [method.describe() for method in calibrated.saliency.methods]

    def add_regions(self, soft: SoftLabel, constraints: Constraints, case: Case) -> Localisation:
        """Return the soft label of a case with the regions of its tags laid over it."""
        maps = {
            label: self._maps(case, label)
            for label in self.classifier.labels
            if needs_localisation(self.study, case.name, label)
        }
        regions = {}
        for label, each in maps.items():
            region = self._region(constraints, case, label, each)
            if region is not None:
                regions[self.study.labels.number(label)] = region
        if regions:
            soft = with_regions(soft, constraints, regions, trust=self.config.tags.trust)
        return Localisation(soft, counterfactual_images(case, [one[0] for one in maps.values()]))

    def _maps(self, case: Case, label: str) -> list[SaliencyMap]:
        number = self.classifier.labels.index(label)
        rng = np.random.default_rng([self.seed, number, *case.name.encode()])
        return self.saliency[label].saliency.maps(case, rng)

    def _region(
        self, constraints: Constraints, case: Case, label: str, maps: Sequence[SaliencyMap]
    ) -> Region | None:
        """Return where a label lies, None if no place can be believed.

        Each range of slices that is tagged present has regions of its own.
        """
        calibrated = self.saliency[label]
        fused = calibrated.saliency.fuse(maps)
        allowed = constraints.possible[self.study.labels.number(label)] > 0
        fused = np.where(allowed, fused, min(0.0, float(fused.min())))
        above = calibrated.threshold(calibrated.saliency.weighed(case, fused), allowed)
        most = self.config.tags.regions + (0 if self.verifier is None else _SPARE)
        tried = []
        for heights in _present_ranges(case, label):
            here = within(case.grid, heights)
            grown = candidates(
                np.where(here, fused, 0).astype(np.float32),
                above & here,
                image_of(case, self.classifier.plan),
                spacing_mm=_spacing(case.grid),
                contrast=self.classifier.contrast(label),
                method=self.config.tags.refine,
            )
            fitting = (region for region in grown if self._fits(region & allowed, case.grid))
            tried.append([region & allowed for region in islice(fitting, most)])
        if self.verifier is not None:
            tried = _verified(tried, case, label, self.verifier)
        believed = [region for part in tried for region in part[: self.config.tags.regions]]
        return Region(np.logical_or.reduce(believed), above) if believed else None

    def _fits(self, region: _Mask, grid: Grid) -> bool:
        """Return whether a region is as large as a label may be."""
        volume = float(region.sum()) * grid.voxel_mm3
        largest = self.config.tags.largest_mm or np.inf
        diameter = float(np.cbrt(6 * volume / np.pi))
        return volume > 0 and self.config.tags.smallest_mm <= diameter <= largest


def fit_localiser(
    study: Study, nets: Path, *, config: LabelConfig, machine: Machine, tell: Tell
) -> Localiser | None:
    """Train what localises the labels that tags alone name, going on where a call stopped.

    Args:
        study: With tags.
        nets: Folder of the networks, one folder each.
        config: Knobs of the classifier and of regions.
        machine: Device, threads, seed.
        tell: Hears of progress.

    Returns:
        The localiser; None if no label is known by tags alone.
    """
    labels = labels_to_localise(study)
    if not labels:
        return None
    job = TagJob(study, labels, config, machine, tell)
    classifier = fit_classifier(nets / CLASSIFIER, job)
    verifier = None
    if config.tags.verify:  # one of its own: what comes with voxhint would agree with itself
        alone = replace(config, tags=replace(config.tags, weights="none"))
        other = replace(job, config=alone, machine=replace(machine, seed=machine.seed + 1))
        verifier = fit_classifier(nets / _VERIFIER, other)
    methods = saliency_methods(classifier, nets, job)
    return Localiser.fit(classifier, study, methods, config, machine.seed, tell, verifier)


def _verified(
    tried: Sequence[Sequence[_Mask]], case: Case, label: str, verifier: Classifier
) -> list[list[_Mask]]:
    """Return the regions that the verifier misses, for each range, the most missed one first."""
    image, working = prepare_image(case.images, verifier.plan)

    def carried(region: _Mask) -> Bool[np.ndarray, "a b c"]:
        share = to_working(region.astype(np.float32), case.grid, working)
        return np.asarray(
            share >= min(0.5, float(share.max()))
        )  # thin regions stay, if but a voxel

    regions = [(number, region) for number, part in enumerate(tried) for region in part]
    verdict = swap_test(
        image,
        [carried(region) for _, region in regions],
        lambda changed: verifier.scores(changed)[label],
        spacing_mm=_spacing(working),
    )
    kept = [regions[number] for number in verdict.kept]
    return [[region for owner, region in kept if owner == part] for part in range(len(tried))]


def _spacing(grid: Grid) -> tuple[float, float, float]:
    i, j, k = (float(s) for s in grid.spacing_mm)
    return i, j, k


def _present_ranges(case: Case, label: str) -> list[tuple[float, float] | None]:
    """Return the ranges of slices a label is tagged present in; None is the whole image."""
    tags = [hint for hint in case.hints if isinstance(hint, Tag) and hint.label == label]
    ranges = [tag.z_range_mm for tag in tags if tag.state == "present"]
    return [part for part in ranges if part is not None] or [None]
