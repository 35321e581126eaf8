"""Regions of labels that only tags name: evidence, refined."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from voxhint.config import LabelConfig
from voxhint.core import Case, Grid, SoftLabel, Tag, Volume
from voxhint.core.errors import about
from voxhint.files.study import Study, load_case
from voxhint.label import Evidence
from voxhint.label.calibrate import null_threshold
from voxhint.label.refine import refine, weigh
from voxhint.label.regions import Region, with_regions
from voxhint.label.seeds import places_mm
from voxhint.verbs.looking import Look, Source, without
from voxhint.verbs.presence import image_of
from voxhint.verbs.tagging import bags_of, needs_place
from voxhint.verbs.tell import Tell


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What hints and evidence imply for a case."""

    soft: SoftLabel
    without: Mapping[str, Volume] = field(default_factory=dict)
    """The channels as they would be without what tags name, if the method can tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """Finds the regions of labels that a case is tagged to hold and of which nothing else tells."""

    source: Source
    study: Study
    config: LabelConfig
    seed: int
    thresholds: Mapping[str, float]
    """For each label what its evidence exceeds by chance in healthy images."""

    @staticmethod
    def of(source: Source, study: Study, config: LabelConfig, seed: int, tell: Tell) -> "Finder":
        """Return a finder whose thresholds follow from the training images tagged absent."""
        thresholds = {}
        for number, label in enumerate(source.presence.labels):
            tell("look at healthy images", number, len(source.presence.labels), label)
            rng = np.random.default_rng([seed, number])
            thresholds[label] = healthy_threshold(source, study, label, config, rng)
        return Finder(source, study, config, seed, thresholds)

    def told(self) -> dict[str, Any]:
        """Return what the evidence rests on, for `made.json`."""
        return {
            "predictor": self.source.presence.told(),
            "evidence": {**self.source.told(), "thresholds": dict(self.thresholds)},
        }

    def add_regions(self, soft: SoftLabel, evidence: Evidence, case: Case) -> Found:
        """Return the soft label of a case with the regions of its tags laid over it."""
        looks = {
            label: self._look(case, label)
            for label in self.source.presence.labels
            if needs_place(self.study, case.name, label)
        }
        if not looks:
            return Found(soft)
        regions = {
            self.study.labels.number(label): self._region(evidence, case, label, look.evidence)
            for label, look in looks.items()
        }
        laid = with_regions(soft, evidence, regions, trust=self.config.tag_trust)
        return Found(laid, without(case, list(looks.values())))

    def _look(self, case: Case, label: str) -> Look:
        number = self.source.presence.labels.index(label)
        rng = np.random.default_rng([self.seed, number, *case.name.encode()])
        return self.source.look(case, label, rng)

    def _region(
        self, evidence: Evidence, case: Case, label: str, found: Float32[np.ndarray, "i j k"]
    ) -> Region:
        """Return where a label lies: one region for each range of slices it is tagged in."""
        image = image_of(case, self.source.presence.plan)
        contrast = self.source.presence.contrast(label)
        allowed = evidence.possible[self.study.labels.number(label)] > 0
        found = np.where(allowed, found, min(0.0, float(found.min())))
        seen = weigh(found, contrast.of(image)) > self.thresholds[label]
        inside = np.zeros(case.grid.shape, bool)
        for part in _present_ranges(case, label):
            here = _within(case.grid, part)
            if self.config.refine == "none":
                inside |= seen & here
            else:
                i, j, k = (float(s) for s in case.grid.spacing_mm)
                inside |= allowed & refine(
                    np.where(here, found, 0).astype(np.float32),
                    image,
                    spacing_mm=(i, j, k),
                    contrast=contrast,
                    method=self.config.refine,
                )
        return Region(inside, seen)


def _within(grid: Grid, z_range_mm: tuple[float, float] | None) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels between two heights; None is the whole image."""
    low, high = z_range_mm or (-np.inf, np.inf)
    height = places_mm(grid)[2]
    return np.asarray((height >= low) & (height <= high))


def _present_ranges(case: Case, label: str) -> list[tuple[float, float] | None]:
    """Return the ranges of slices a label is tagged present in; None is the whole image."""
    tags = [hint for hint in case.hints if isinstance(hint, Tag) and hint.label == label]
    ranges = [tag.z_range_mm for tag in tags if tag.state == "present"]
    return [part for part in ranges if part is not None] or [None]


def healthy_threshold(
    source: Source,
    study: Study,
    label: str,
    config: LabelConfig,
    rng: np.random.Generator,
) -> float:
    """Return what weighed evidence exceeds by chance in training images tagged absent.

    Only where there was a look at all: evidence that was not looked for is none.
    """
    presence = source.presence
    healthy = [
        (files, bag)
        for files in study.training
        for bag in bags_of(study, files.name, [label])
        if bag.states[0] == 0
    ]

    def maps() -> Iterator[Float32[np.ndarray, " voxel"]]:
        for files, bag in healthy[:: max(1, -(-len(healthy) // source.healthy))]:
            with about(f"case {files.name}"):
                case = load_case(study, files, hints=False)
                look = source.look(case, label, rng, calibrating=True)
                density = presence.contrast(label).of(image_of(case, presence.plan))
                here = _within(case.grid, bag.z_range_mm) & look.looked
                yield weigh(look.evidence, density)[here]

    return null_threshold(maps(), config.null_quantile, rng=rng)
