"""Means and intervals: subjects stay together, labels weigh alike, few subjects say nothing."""

import numpy as np
import pytest

from voxhint.measure.confidence_intervals import estimate


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float64)[:, None]


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_mean_is_over_cases_and_those_without_a_value_are_left_out() -> None:
    found = estimate(column(1, 2, np.nan, 6), ["a", "b", "c", "d"], rng=seeded())
    assert (found.mean, found.median, found.n, found.subjects) == (3.0, 2.0, 3, 3)


def test_the_interval_holds_the_mean_and_stays_within_the_values() -> None:
    values = np.random.default_rng(1).random(40)
    found = estimate(values[:, None], [str(n) for n in range(40)], rng=seeded())
    assert found.low is not None
    assert found.high is not None
    assert found.mean is not None
    assert values.min() < found.low < found.mean < found.high < values.max()


def test_the_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(2).normal(size=400)
    found = estimate(values[:, None], [str(n) for n in range(400)], rng=seeded())
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_repeating_every_case_of_a_subject_makes_nobody_surer() -> None:
    values = np.random.default_rng(3).random(20)
    once = estimate(values[:, None], [str(n) for n in range(20)], rng=seeded())
    thrice = estimate(np.repeat(values, 3)[:, None], [str(n // 3) for n in range(60)], rng=seeded())
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert (thrice.n, thrice.subjects) == (60, 20)


def test_labels_weigh_alike_however_many_cases_they_have() -> None:
    values = np.array([[1.0, 0.0], [1.0, np.nan], [1.0, np.nan], [1.0, np.nan]])
    assert estimate(values, list("abcd"), rng=seeded()).mean == 0.5


def test_one_subject_has_a_mean_but_no_interval() -> None:
    found = estimate(column(0.2, 0.4), ["a", "a"], rng=seeded())
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == (None, None)


def test_no_case_gives_no_number() -> None:
    for values in (np.zeros((0, 1)), column(np.nan, np.nan)):
        found = estimate(values, ["a"] * len(values), rng=seeded())
        assert (found.mean, found.low, found.n, found.subjects) == (None, None, 0, 0)


def test_one_seed_gives_one_interval() -> None:
    values = column(*np.random.default_rng(4).random(10))
    assert estimate(values, list("abcdefghij"), rng=seeded()) == estimate(
        values, list("abcdefghij"), rng=seeded()
    )
