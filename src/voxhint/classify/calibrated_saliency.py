"""Saliency for a label in a case, and which of it is more than images tagged absent show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32

from voxhint.classify.classifier import Classifier, image_of
from voxhint.classify.map_threshold import NULL_QUANTILE, QuantileThreshold, null_quantile
from voxhint.classify.null_distribution import NullDistribution
from voxhint.classify.refinement import weigh
from voxhint.classify.saliency_methods import SaliencyMap, SaliencyMethod
from voxhint.classify.tag_bags import bags_of
from voxhint.core import Case, Grid
from voxhint.core.errors import about
from voxhint.core.study import Study
from voxhint.propagate.constraints import places_mm

_Map = Float32[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class FusedSaliency:
    """The saliency of a label: one map, or several fused."""

    classifier: Classifier
    label: str
    methods: Sequence[SaliencyMethod]
    """What makes each map."""

    nulls: Sequence[NullDistribution] = ()
    """What each map shows in images tagged absent, if several are fused."""

    def maps(
        self, case: Case, rng: np.random.Generator, *, calibrating: bool = False
    ) -> list[SaliencyMap]:
        """Return the map of each method for a case."""
        return [one.compute(case, self.label, rng, calibrating=calibrating) for one in self.methods]

    def fuse(self, maps: Sequence[SaliencyMap]) -> _Map:
        """Return all maps of a case as one."""
        values = [one.values for one in maps]
        return fuse(values, self.nulls) if self.nulls else values[0]

    def weighed(self, case: Case, values: _Map) -> _Map:
        """Return saliency weighed by density."""
        density = self.classifier.contrast(self.label).of(image_of(case, self.classifier.plan))
        return weigh(values, density)


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedSaliency:
    """Saliency of a label with a threshold from images tagged absent."""

    saliency: FusedSaliency
    threshold: QuantileThreshold

    @staticmethod
    def fit(saliency: FusedSaliency, study: Study, seed: Sequence[int]) -> "CalibratedSaliency":
        """Calibrate saliency on the training images tagged absent.

        Args:
            saliency: Makes the maps.
            study: With tags.
            seed: Of the noise that maps may draw, and of the voxels that are kept.

        Returns:
            The saliency with its threshold.
        """
        absent = [
            (files, bag)
            for files in study.training
            for bag in bags_of(study, files.name, [saliency.label])
            if bag.states[0] == 0
        ]
        most = min(method.null_images for method in saliency.methods)
        absent = absent[:: max(1, -(-len(absent) // most))]
        rng = np.random.default_rng(seed)

        def cases() -> Iterator[tuple[Case, Bool[np.ndarray, "i j k"]]]:
            for files, bag in absent:
                with about(f"case {files.name}"):
                    case = study.load(files, hints=False)
                    yield case, within(case.grid, bag.z_range_mm)

        if len(saliency.methods) > 1:
            nulls = []
            for method in saliency.methods:
                shown = (
                    one.values[counts & one.covered]
                    for case, counts in cases()
                    for one in [method.compute(case, saliency.label, rng, calibrating=True)]
                )
                nulls.append(NullDistribution.of(shown, rng=rng))
            saliency = replace(saliency, nulls=nulls)

        def null_maps() -> Iterator[Float32[np.ndarray, " voxel"]]:
            for case, counts in cases():
                maps = saliency.maps(case, rng, calibrating=True)
                covered = np.logical_or.reduce([one.covered for one in maps])
                yield saliency.weighed(case, saliency.fuse(maps))[counts & covered]

        value = null_quantile(null_maps(), NULL_QUANTILE, rng=rng)
        return CalibratedSaliency(saliency, QuantileThreshold(value))


def fuse(maps: Sequence[_Map], nulls: Sequence[NullDistribution]) -> _Map:
    """Return the mean negative log p-value of maps that ask the same question in different units.

    Args:
        maps: Saliency of each method at the same voxels.
        nulls: What each shows in images tagged absent.

    Returns:
        The mean of -log p, in nats: 0 where no map shows more than the lowest healthy voxel. Units
        cancel, and so does any rising curve a map is bent by, up to the tail of its null.
    """
    each = [-np.log(null.p_values(one)) for one, null in zip(maps, nulls, strict=True)]
    return np.asarray(np.mean(each, axis=0), np.float32)


def within(grid: Grid, z_range_mm: tuple[float, float] | None) -> Bool[np.ndarray, "i j k"]:
    """Return the voxels between two heights; None is the whole image."""
    low, high = z_range_mm or (-np.inf, np.inf)
    height = places_mm(grid)[2]
    return np.asarray((height >= low) & (height <= high))
