"""Regions of labels that only tags name: evidence of the predictor, refined, and verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Bool

from voxhint.classify.candidates import candidates
from voxhint.classify.classifier import Presence, image_of
from voxhint.classify.maps import Eye, Sight, without
from voxhint.classify.null_calibration import Source, Witness, within
from voxhint.classify.regions import Region, with_regions
from voxhint.classify.training import needs_place
from voxhint.classify.verification import swap_test
from voxhint.config import LabelConfig
from voxhint.core import Case, Grid, SoftLabel, Tag, Volume
from voxhint.core.progress import Tell
from voxhint.core.study import Study
from voxhint.prepare import prepare_image
from voxhint.prepare.steps import onto
from voxhint.propagate import Constraints

_SPARE = 3  # places more than wanted that are tried where a verifier chooses

Mask = Bool[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What hints and evidence imply for a case."""

    soft: SoftLabel
    without: Mapping[str, Volume] = field(default_factory=dict)
    """The channels as they would be without what tags name, if the first map can tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """Finds the regions of labels that a case is tagged to hold and of which nothing else tells."""

    presence: Presence
    study: Study
    config: LabelConfig
    seed: int
    witnesses: Mapping[str, Witness]
    verifier: Presence | None = None
    """Another predictor of the same tags, which a region must convince."""

    @staticmethod
    def of(  # noqa: PLR0913  # all that a search rests on
        presence: Presence,
        study: Study,
        eyes: Sequence[Eye],
        config: LabelConfig,
        seed: int,
        tell: Tell,
        verifier: Presence | None = None,
    ) -> "Finder":
        """Return a finder that has looked at the training images tagged absent."""
        witnesses = {}
        for number, label in enumerate(presence.labels):
            tell("look at healthy images", number, len(presence.labels), label)
            source = Source(presence, label, eyes)
            witnesses[label] = Witness.of(source, study, [seed, number])
        return Finder(presence, study, config, seed, witnesses, verifier)

    def told(self) -> list[dict[str, Any]]:
        """Return what each map is, for `made.json`."""
        witness = next(iter(self.witnesses.values()))
        return [eye.told() for eye in witness.source.eyes]

    def add_regions(self, soft: SoftLabel, evidence: Constraints, case: Case) -> Found:
        """Return the soft label of a case with the regions of its tags laid over it."""
        sights = {
            label: self._sights(case, label)
            for label in self.presence.labels
            if needs_place(self.study, case.name, label)
        }
        regions = {}
        for label, seen in sights.items():
            region = self._region(evidence, case, label, seen)
            if region is not None:
                regions[self.study.labels.number(label)] = region
        if regions:
            soft = with_regions(soft, evidence, regions, trust=self.config.tags.trust)
        return Found(soft, without(case, [seen[0] for seen in sights.values()]))

    def _sights(self, case: Case, label: str) -> list[Sight]:
        number = self.presence.labels.index(label)
        rng = np.random.default_rng([self.seed, number, *case.name.encode()])
        return self.witnesses[label].source.sights(case, rng)

    def _region(
        self, evidence: Constraints, case: Case, label: str, sights: Sequence[Sight]
    ) -> Region | None:
        """Return where a label lies, None if no place can be believed.

        Each range of slices that is tagged present has regions of its own.
        """
        witness = self.witnesses[label]
        found = witness.source.evidence(sights)
        allowed = evidence.possible[self.study.labels.number(label)] > 0
        found = np.where(allowed, found, min(0.0, float(found.min())))
        seen = witness.rule(witness.source.look(case, found, allowed))
        most = self.config.tags.regions + (0 if self.verifier is None else _SPARE)
        tried = []
        for heights in _present_ranges(case, label):
            here = within(case.grid, heights)
            grown = candidates(
                np.where(here, found, 0).astype(np.float32),
                seen & here,
                image_of(case, self.presence.plan),
                spacing_mm=_spacing(case.grid),
                contrast=self.presence.contrast(label),
                method=self.config.tags.refine,
            )
            fitting = (region for region in grown if self._fits(region & allowed, case.grid))
            tried.append([region & allowed for region in islice(fitting, most)])
        if self.verifier is not None:
            tried = _verified(tried, case, label, self.verifier)
        believed = [region for part in tried for region in part[: self.config.tags.regions]]
        return Region(np.logical_or.reduce(believed), seen) if believed else None

    def _fits(self, region: Mask, grid: Grid) -> bool:
        """Return whether a region is as large as a label may be."""
        volume = float(region.sum()) * grid.voxel_mm3
        largest = self.config.tags.largest_mm or np.inf
        diameter = float(np.cbrt(6 * volume / np.pi))
        return volume > 0 and self.config.tags.smallest_mm <= diameter <= largest


def _verified(
    tried: Sequence[Sequence[Mask]], case: Case, label: str, verifier: Presence
) -> list[list[Mask]]:
    """Return the regions that the verifier misses, for each range, the most missed one first."""
    image, working = prepare_image(case.images, verifier.plan)

    def carried(region: Mask) -> Bool[np.ndarray, "a b c"]:
        share = onto(region.astype(np.float32), case.grid, working)
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
