"""P-values hold what they promise where there is nothing, and the rules bound false alarms."""

import numpy as np
import pytest
from jaxtyping import Float32
from scipy import ndimage, stats

from voxhint.classify.null_distribution import Null, clusters, discoveries, mass_limit
from voxhint.classify.threshold import HeavyCluster, Look, rule_of
from voxhint.config import LabelConfig

Map = Float32[np.ndarray, "..."]


def noise(seed: int, *shape: int) -> Map:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def null_of(values: Map, context: Map | None = None, kinds: int = 1) -> Null:
    pair = values, np.zeros_like(values) if context is None else context
    return Null.of([pair], kinds=kinds, rng=np.random.default_rng(0))


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


def test_contexts_are_compared_with_their_own_kind() -> None:
    context = np.repeat([0, 1], 50_000).astype(np.float32)
    null = null_of(noise(0, 100_000) * (1 + 9 * context), context, kinds=2)
    fresh = np.repeat([0, 1], 1_000).astype(np.float32)
    p = null.p_values(noise(1, 2_000) * (1 + 9 * fresh), fresh)
    for kind in (0, 1):
        assert stats.kstest(p[fresh == kind], "uniform").pvalue > 0.05


def test_discoveries_are_false_no_more_often_than_asked() -> None:
    rng = np.random.default_rng(0)
    shares, found = [], 0
    for _ in range(200):
        truth = rng.random(2_000) < 0.1
        p = stats.norm.sf(rng.normal(size=2_000) + 3.5 * truth)
        seen = discoveries(p, 0.2)
        shares.append((seen & ~truth).sum() / max(seen.sum(), 1))
        found += int((seen & truth).sum())
    assert 0.15 < np.mean(shares) < 0.2  # Benjamini and Hochberg: 0.2 times the share of nulls
    assert found > 200 * 2_000 * 0.1 * 0.8


def test_clusters_weigh_what_their_voxels_tell_in_cubic_millimetres() -> None:
    p = np.ones((6, 6, 6))
    p[0, 0, 0] = p[1, 1, 1] = np.exp(-5)
    p[4, 4, 4] = np.exp(-8)
    numbers, masses = clusters(p, 0.01, voxel_mm3=0.5)
    assert numbers[0, 0, 0] == numbers[1, 1, 1] != numbers[4, 4, 4]
    assert np.allclose(masses, [0, 5, 4])


def test_healthy_images_show_a_cluster_no_more_often_than_asked() -> None:
    rng = np.random.default_rng(0)
    over = []
    for _ in range(400):  # a limit from 19 images, tried on a twentieth
        maxima = rng.gamma(0.5, 1, 20)
        over.append(maxima[0] > mass_limit(maxima[1:], 0.2))
    assert 0.13 < np.mean(over) <= 0.2 + 0.03


def test_too_few_images_give_the_largest_mass() -> None:
    assert mass_limit(np.array([1.0, 3.0, 2.0]), 0.05) == 3.0


def blurred(seed: int, planted: float = 0.0) -> Look:
    """Return a look at smooth noise, with a ball in it if wanted."""
    image = ndimage.gaussian_filter(noise(seed, 20, 20, 10), 1.5) * 10
    apart = np.linalg.norm(np.indices(image.shape).T - (10, 10, 5), axis=-1).T
    image += planted * np.exp(-0.5 * (apart / 2) ** 2)
    counts = np.ones(image.shape, bool)
    return Look(image.astype(np.float32), np.zeros_like(image), counts, 1.0)


def test_the_cluster_rule_keeps_its_word_on_new_images_and_finds_what_is_there() -> None:
    config = LabelConfig(tag_threshold="cluster", tag_error=0.2, null_quantile=0.99)
    rng = np.random.default_rng(0)
    rule = rule_of(config, lambda: (blurred(seed) for seed in range(59)), rng=rng)
    fired = [rule(blurred(seed)).any() for seed in range(100, 260)]
    assert 0.08 < np.mean(fired) < 0.29
    seen = [rule(blurred(seed, planted=12.0)) for seed in range(300, 310)]
    assert all(one[10, 10, 5] for one in seen)


@pytest.mark.parametrize("name", ["quantile", "fdr", "cluster"])
def test_what_does_not_count_is_not_seen_and_what_stands_out_is(name: str) -> None:
    config = LabelConfig(tag_threshold=name, null_quantile=0.99)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    rule = rule_of(config, lambda: (blurred(seed) for seed in range(20)), rng=rng)
    look = blurred(99, planted=20.0)
    assert rule(look)[10, 10, 5]
    half = look.counts.copy()
    half[:, :11] = False
    seen = rule(Look(look.evidence, look.context, half, 1.0))
    assert seen.any()
    assert not seen[:, :11].any()


def test_a_cluster_rule_weighs_the_heaviest_cluster_of_an_image() -> None:
    rule = HeavyCluster(null_of(noise(0, 100_000)), 0.01)
    flat = Look(*(np.zeros((4, 4, 4), np.float32),) * 2, np.ones((4, 4, 4), bool), 1.0)
    assert rule.heaviest(flat) == 0
