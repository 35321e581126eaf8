"""Evidence for a label in a case, and which of it is more than images tagged absent show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32

from voxhint.classify.classifier import Presence, image_of
from voxhint.classify.fuse import fuse
from voxhint.classify.maps import Eye, Sight
from voxhint.classify.null_distribution import Null
from voxhint.classify.refinement import weigh
from voxhint.classify.threshold import Look, Quantile, quantile_of
from voxhint.classify.training import bags_of
from voxhint.core import Case, Grid
from voxhint.core.errors import about
from voxhint.core.study import Study
from voxhint.propagate.constraints import places_mm

Map = Float32[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Makes the evidence for a label: one map, or several fused."""

    presence: Presence
    label: str
    eyes: Sequence[Eye]
    """What makes each map."""

    nulls: Sequence[Null] = ()
    """What each map shows in images tagged absent, if several are fused."""

    def sights(
        self, case: Case, rng: np.random.Generator, *, calibrating: bool = False
    ) -> list[Sight]:
        """Return what each map shows of a case."""
        return [eye.look(case, self.label, rng, calibrating=calibrating) for eye in self.eyes]

    def evidence(self, sights: Sequence[Sight]) -> Map:
        """Return the evidence of all maps of a case."""
        maps = [sight.evidence for sight in sights]
        return fuse(maps, self.nulls) if self.nulls else maps[0]

    def look(self, case: Case, evidence: Map, counts: Bool[np.ndarray, "i j k"]) -> Look:
        """Return evidence weighed by density."""
        density = self.presence.contrast(self.label).of(image_of(case, self.presence.plan))
        return Look(weigh(evidence, density), counts)


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """Where a label was seen: its evidence, and the rule that tells it from chance."""

    source: Source
    rule: Quantile

    @staticmethod
    def of(source: Source, study: Study, seed: Sequence[int]) -> "Witness":
        """Return a witness that has looked at the training images tagged absent.

        Args:
            source: Makes the evidence.
            study: With tags.
            seed: Of the noise that maps may draw, and of the voxels that are looked at.
        """
        healthy = [
            (files, bag)
            for files in study.training
            for bag in bags_of(study, files.name, [source.label])
            if bag.states[0] == 0
        ]
        healthy = healthy[:: max(1, -(-len(healthy) // min(eye.healthy for eye in source.eyes)))]
        rng = np.random.default_rng(seed)

        def cases() -> Iterator[tuple[Case, Bool[np.ndarray, "i j k"]]]:
            for files, bag in healthy:
                with about(f"case {files.name}"):
                    case = study.load(files, hints=False)
                    yield case, within(case.grid, bag.z_range_mm)

        if len(source.eyes) > 1:
            nulls = []
            for eye in source.eyes:
                shown = (
                    sight.evidence[counts & sight.looked]
                    for case, counts in cases()
                    for sight in [eye.look(case, source.label, rng, calibrating=True)]
                )
                nulls.append(Null.of(shown, rng=rng))
            source = replace(source, nulls=nulls)

        def looks() -> Iterator[Look]:
            for case, counts in cases():
                sights = source.sights(case, rng, calibrating=True)
                looked = np.logical_or.reduce([sight.looked for sight in sights])
                yield source.look(case, source.evidence(sights), counts & looked)

        return Witness(source, quantile_of(looks(), rng=rng))


def within(grid: Grid, z_range_mm: tuple[float, float] | None) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels between two heights; None is the whole image."""
    low, high = z_range_mm or (-np.inf, np.inf)
    height = places_mm(grid)[2]
    return np.asarray((height >= low) & (height <= high))
