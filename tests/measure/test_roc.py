"""Scores of cases: pairs counted one by one, ties half, subjects together, nothing for nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxhint.core.errors import VoxhintError
from voxhint.measure.roc import Ranking, _roc_auc, ranking

CASES = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=20)


def arrays(cases: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s for s, _ in cases], np.float64), np.array([t for _, t in cases], np.bool_)


def counted(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Return the area by looking at every pair."""
    pairs = [(p > n) + (p == n) / 2 for p in scores[truth] for n in scores[~truth]]
    return float(np.mean(pairs)) if pairs else None


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(separation: float, *, count: int = 80) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    truth = np.arange(count) % 2 == 0
    return rng.normal(size=count) + separation * truth, truth, [str(n) for n in range(count)]


@given(CASES)
def test_the_area_is_the_share_of_pairs_in_order(cases: list[tuple[int, bool]]) -> None:
    scores, truth = arrays(cases)
    assert _roc_auc(scores, truth) == pytest.approx(counted(scores, truth))


@given(CASES)
def test_scores_turned_round_give_the_rest_of_the_area(cases: list[tuple[int, bool]]) -> None:
    scores, truth = arrays(cases)
    area = _roc_auc(scores, truth)
    if area is not None:
        assert _roc_auc(-scores, truth) == pytest.approx(1 - area)
        assert _roc_auc(np.exp(scores), truth) == pytest.approx(area)
        assert _roc_auc(scores, ~truth) == pytest.approx(1 - area)


def test_cases_of_one_kind_have_no_area() -> None:
    scores = np.arange(4.0)
    found = ranking(scores, np.ones(4, np.bool_), list("abcd"), rng=seeded())
    assert found == Ranking(None, None, None, positives=4, negatives=0, subjects=4)
    assert _roc_auc(np.zeros(0), np.zeros(0, np.bool_)) is None


def test_the_interval_holds_the_area_and_narrows_with_more_subjects() -> None:
    widths = []
    for count in (40, 640):
        scores, truth, subjects = drawn(1.0, count=count)
        found = ranking(scores, truth, subjects, rng=seeded(), resamples=500)
        assert found.auc == _roc_auc(scores, truth)
        assert found.auc is not None
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low < found.auc < found.high <= 1
        assert (found.positives, found.negatives, found.subjects) == (count // 2, count // 2, count)
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


def test_the_interval_is_as_wide_as_theory_says() -> None:
    scores, truth, subjects = drawn(1.0, count=400)
    found = ranking(scores, truth, subjects, rng=seeded())
    # DeLong, DeLong and Clarke-Pearson 1988: the variance of the placements of either kind
    above = (scores[truth][:, None] > scores[~truth]).astype(np.float64)
    variance = above.mean(1).var(ddof=1) / 200 + above.mean(0).var(ddof=1) / 200
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)


def test_repeating_every_case_of_a_subject_makes_nobody_surer() -> None:
    scores, truth, subjects = drawn(1.0, count=30)
    once = ranking(scores, truth, subjects, rng=seeded(), resamples=200)
    thrice = ranking(
        np.repeat(scores, 3),
        np.repeat(truth, 3),
        np.repeat(subjects, 3).tolist(),
        rng=seeded(),
        resamples=200,
    )
    assert (once.auc, once.low, once.high) == pytest.approx((thrice.auc, thrice.low, thrice.high))
    assert (thrice.positives, thrice.subjects) == (45, 30)


def test_one_subject_has_an_area_but_no_interval() -> None:
    found = ranking(np.array([1.0, 2.0]), np.array([False, True]), ["a", "a"], rng=seeded())
    assert (found.auc, found.low, found.high) == (1.0, None, None)


def test_draws_without_both_kinds_are_left_out() -> None:
    found = ranking(np.array([1.0, 2.0]), np.array([False, True]), ["a", "b"], rng=seeded())
    assert (found.low, found.high) == (1.0, 1.0)


def test_scores_that_are_no_numbers_are_refused_in_one_line() -> None:
    scores, truth = np.array([0.1, np.nan]), np.array([False, True])
    for measure in (
        lambda: _roc_auc(scores, truth),
        lambda: ranking(scores, truth, ["a", "b"], rng=seeded()),
    ):
        with pytest.raises(VoxhintError, match=r"^1 of 2 scores are not numbers; [^\n]*$"):
            measure()
