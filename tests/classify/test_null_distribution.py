"""P-values hold what they promise where there is nothing, and the threshold finds what is there."""

import numpy as np
import pytest
from jaxtyping import Float32
from scipy import ndimage, stats

from voxhint.classify.map_threshold import NULL_QUANTILE, QuantileThreshold, null_quantile
from voxhint.classify.null_distribution import NullDistribution

Map = Float32[np.ndarray, "..."]


def noise(seed: int, *shape: int) -> Map:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def null_of(values: Map) -> NullDistribution:
    return NullDistribution.of([values], rng=np.random.default_rng(0))


@pytest.mark.parametrize("bend", [lambda x: x, np.exp, lambda x: x**3], ids=["x", "exp", "cube"])
def test_p_values_of_healthy_voxels_are_uniform(bend: np.ufunc) -> None:
    p = null_of(bend(noise(0, 100_000))).p_values(bend(noise(1, 2_000)))
    assert stats.kstest(p, "uniform").pvalue > 0.05


@pytest.mark.parametrize("name", ["norm", "expon", "t"])
def test_the_tail_tells_p_values_that_no_healthy_voxel_was_there_to_count(name: str) -> None:
    curve = stats.t(4) if name == "t" else getattr(stats, name)()
    values = curve.rvs(20_000, random_state=np.random.default_rng(0)).astype(np.float32)
    asked = np.array([curve.isf(1e-3), curve.isf(1e-5)], np.float32)
    ratio = null_of(values).p_values(asked) / (1e-3, 1e-5)
    assert (ratio > 0.4).all()
    assert ratio[0] < 2
    assert ratio[1] < 12  # a bounded tail is told as an exponential one: too large, never too small


def test_more_evidence_is_never_more_common() -> None:
    p = null_of(noise(0, 5_000)).p_values(np.linspace(-6, 60, 3_000, dtype=np.float32))
    assert (np.diff(p) <= 1e-6).all()
    assert p[0] == 1
    assert p[-1] > 0


def test_a_map_that_is_mostly_zero_finds_zero_unremarkable() -> None:
    values = np.maximum(noise(0, 10_000), 1) - 1
    assert null_of(values).p_values(np.zeros(1, np.float32))[0] == 1


def test_a_few_healthy_voxels_are_counted_without_a_curve() -> None:
    p = null_of(np.arange(9, dtype=np.float32)).p_values(np.array([100, 8, 0], np.float32))
    assert np.allclose(p, [0.1, 0.2, 1.0])


def blurred(seed: int, planted: float = 0.0) -> Map:
    """Return smooth noise, with a ball in it if wanted."""
    image = ndimage.gaussian_filter(noise(seed, 20, 20, 10), 1.5) * 10
    apart = np.linalg.norm(np.indices(image.shape).T - (10, 10, 5), axis=-1).T
    image += planted * np.exp(-0.5 * (apart / 2) ** 2)
    return np.asarray(image, np.float32)


def test_what_does_not_count_is_not_seen_and_what_stands_out_is() -> None:
    maps = (blurred(seed) for seed in range(20))
    value = null_quantile(maps, NULL_QUANTILE, rng=np.random.default_rng(0))
    threshold, found = QuantileThreshold(value), blurred(99, planted=20.0)
    counts = np.ones(found.shape, bool)
    assert threshold(found, counts)[10, 10, 5]
    counts[:, :11] = False
    seen = threshold(found, counts)
    assert seen.any()
    assert not seen[:, :11].any()
