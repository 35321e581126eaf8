"""Regions of labels that only tags name: evidence of the predictor, refined."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from voxhint.config import LabelConfig
from voxhint.core import Case, Grid, SoftLabel, Tag
from voxhint.core.errors import about
from voxhint.files.study import Study, load_case
from voxhint.label import Evidence
from voxhint.label.calibrate import null_threshold
from voxhint.label.refine import refine, weigh
from voxhint.label.regions import Region, with_regions
from voxhint.label.seeds import places_mm
from voxhint.verbs.presence import Presence, image_of
from voxhint.verbs.tagging import bags_of, needs_place
from voxhint.verbs.tell import Tell

_NULLS = 150  # images tagged absent that decide what evidence shows by chance


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """Finds the regions of labels that a case is tagged to hold and of which nothing else tells."""

    presence: Presence
    study: Study
    config: LabelConfig
    seed: int
    thresholds: Mapping[str, float]
    """For each label what its evidence exceeds by chance in healthy images."""

    @staticmethod
    def of(
        presence: Presence, study: Study, config: LabelConfig, seed: int, tell: Tell
    ) -> "Finder":
        """Return a finder whose thresholds follow from the training images tagged absent."""
        thresholds = {}
        for number, label in enumerate(presence.labels):
            tell("look at healthy images", number, len(presence.labels), label)
            rng = np.random.default_rng([seed, number])
            thresholds[label] = healthy_threshold(presence, study, label, config, rng)
        return Finder(presence, study, config, seed, thresholds)

    def add_regions(self, soft: SoftLabel, evidence: Evidence, case: Case) -> SoftLabel:
        """Return the soft label of a case with the regions of its tags laid over it."""
        regions = {
            self.study.labels.number(label): self._region(evidence, case, label)
            for label in self.presence.labels
            if needs_place(self.study, case.name, label)
        }
        if not regions:
            return soft
        return with_regions(soft, evidence, regions, trust=self.config.tag_trust)

    def _region(self, evidence: Evidence, case: Case, label: str) -> Region:
        """Return where a label lies: one region for each range of slices it is tagged in."""
        number = self.presence.labels.index(label)
        rng = np.random.default_rng([self.seed, number, *case.name.encode()])
        found = self.presence.evidence(case, label, self.config, rng)
        image = image_of(case, self.presence.plan)
        contrast = self.presence.contrast(label)
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
    presence: Presence,
    study: Study,
    label: str,
    config: LabelConfig,
    rng: np.random.Generator,
) -> float:
    """Return what weighed evidence exceeds by chance in training images tagged absent."""
    healthy = [
        (files, bag)
        for files in study.training
        for bag in bags_of(study, files.name, [label])
        if bag.states[0] == 0
    ]

    def maps() -> Iterator[Float32[np.ndarray, " voxel"]]:
        for files, bag in healthy[:: max(1, -(-len(healthy) // _NULLS))]:
            with about(f"case {files.name}"):
                case = load_case(study, files, hints=False)
                found = presence.evidence(case, label, config, rng)
                weighed = weigh(found, presence.contrast(label).of(image_of(case, presence.plan)))
                yield weighed[_within(case.grid, bag.z_range_mm)]

    return null_threshold(maps(), config.null_quantile, rng=rng)
