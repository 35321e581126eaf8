"""Thresholds come from healthy images; probabilities from tags that were not learnt."""

import numpy as np
import pytest

from voxhint.classify.map_threshold import null_quantile
from voxhint.classify.platt_scaling import calibrate


def test_the_threshold_is_exceeded_by_chance_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(20, 20, 20)).astype(np.float32) for _ in range(10)]
    threshold = null_quantile(maps, 0.99, rng=rng)
    fresh = np.random.default_rng(1).normal(size=80_000)
    assert (fresh > threshold).mean() == pytest.approx(0.01, rel=0.15)


def test_more_voxels_than_are_kept_give_the_same_threshold() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(100, 100, 100)).astype(np.float32) for _ in range(6)]
    whole = float(np.quantile(np.concatenate([m.ravel() for m in maps]), 0.95))
    assert null_quantile(maps, 0.95, rng=rng) == pytest.approx(whole, abs=0.01)


def test_calibrated_probabilities_come_true() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * scores - 1)))
    curve = calibrate(scores, truth)
    assert curve.slope == pytest.approx(0.5, abs=0.03)
    assert curve.intercept == pytest.approx(-1, abs=0.06)
    assert curve.probability(2.0) == pytest.approx(0.5, abs=0.02)


def test_a_perfect_split_does_not_ask_for_an_endless_slope() -> None:
    scores, truth = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True])
    curve = calibrate(scores, truth)
    assert 0 < curve.slope < 20
    assert 0.5 < curve.probability(2.0) < 1
