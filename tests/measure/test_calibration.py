"""Calibration and risk: what perfect, constant and shuffled confidence give."""

import numpy as np
import pytest

from voxhint.core.labels import UNDRAWN
from voxhint.measure.calibration import (
    _COVERAGES,
    CaseTrust,
    _expected_calibration_error,
    _risk_curve,
    score_trust,
    tabulate_trust,
)


def test_voxels_that_are_right_as_often_as_promised_have_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 200_000)
    assert _expected_calibration_error(confidence, rng.random(200_000) < confidence) < 0.01


@pytest.mark.parametrize(("confidence", "share"), [(0.9, 0.5), (0.6, 1.0), (1.0, 0.0)])
def test_a_constant_confidence_errs_by_its_distance_to_the_share(
    confidence: float, share: float
) -> None:
    right = np.arange(100) < 100 * share
    found = _expected_calibration_error(np.full(100, confidence), right)
    assert found == pytest.approx(abs(confidence - share))


def test_a_colder_network_is_less_calibrated_than_the_one_that_promised_truly() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 50_000)
    truth = rng.random(50_000) < 1 / (1 + np.exp(-logits))

    def error(temperature: float) -> float:
        p = 1 / (1 + np.exp(-logits / temperature))
        return _expected_calibration_error(np.maximum(p, 1 - p), (p > 0.5) == truth)

    assert error(1.0) < 0.01 < 0.05 < error(0.3)
    assert error(3.0) > 0.05


def test_risk_grows_with_coverage_when_mistakes_are_the_unsure_voxels() -> None:
    risk = _risk_curve(np.linspace(1, 0.5, 10), np.arange(10) < 7)
    assert not risk[:7].any()
    assert (np.diff(risk[6:]) > 0).all()
    assert risk[-1] == pytest.approx(0.3)


def test_the_order_of_voxels_of_one_confidence_is_no_matter() -> None:
    right = np.array([True, False, False, True])
    np.testing.assert_allclose(_risk_curve(np.full(4, 0.7), right), 0.5)
    np.testing.assert_allclose(_risk_curve(np.full(4, 0.7), right[::-1]), 0.5)


def probabilities() -> np.ndarray:
    foreground = np.zeros((4, 4, 4))
    foreground[:2] = 0.9
    return np.stack([1 - foreground, foreground])


def test_background_that_everybody_is_sure_of_counts_for_nothing() -> None:
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2] = 1
    truth[0] = UNDRAWN
    score = score_trust(probabilities(), truth, case="c", subject="s")
    assert score.ece == pytest.approx(0.1)
    assert score.risks == (0.0,) * len(_COVERAGES)
    assert score.aurc == 0


def test_a_case_without_a_possible_label_has_no_score_and_no_weight() -> None:
    probs = np.stack([np.ones((2, 2, 2)), np.zeros((2, 2, 2))])
    nothing = score_trust(probs, np.zeros((2, 2, 2), np.uint8), case="a", subject="a")
    assert (nothing.ece, nothing.aurc) == (None, None)
    some = CaseTrust("b", "b", 0.2, (0.1,) * len(_COVERAGES), 0.05)
    table = tabulate_trust([some, nothing], rng=np.random.default_rng(0), resamples=10)
    assert table.ece.mean == pytest.approx(0.2)
    assert table.ece.n == 1
    assert [risk.mean for risk in table.risks] == pytest.approx([0.1] * len(_COVERAGES))
    assert [row.case for row in table.cases] == ["a", "b"]
