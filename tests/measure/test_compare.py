"""Paired comparison: known differences, tests where they can be done, and refusals."""

import numpy as np
import pytest
from scipy.stats import wilcoxon
from tests.measure.rows import row, rows

from voxhint.core.errors import BadFileError
from voxhint.measure.compare import Comparison, compare
from voxhint.measure.score import CaseScore

DICES = np.random.default_rng(0).uniform(0.3, 0.9, 20)


def compared(ours: tuple[CaseScore, ...], theirs: tuple[CaseScore, ...]) -> Comparison:
    return compare(ours, theirs, against="old", rng=np.random.default_rng(0))


def test_a_set_of_masks_does_not_differ_from_itself() -> None:
    same = compared(rows(list(DICES)), rows(list(DICES))).labels["liver"]["dice"]
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, None)
    assert same.note == "only 0 of 20 subjects differ; a paired test needs 6"


def test_an_equal_gain_everywhere_is_the_difference_and_is_beyond_chance() -> None:
    gain = compared(rows(list(DICES + 0.05)), rows(list(DICES))).labels["liver"]
    dice = gain["dice"]
    assert (dice.mean, dice.low, dice.high) == pytest.approx((0.05, 0.05, 0.05))
    assert dice.p is not None
    assert dice.p < 1e-3
    assert gain["hd95_mm"].mean == pytest.approx(-0.5)


def test_exchanging_the_sides_turns_the_sign_and_keeps_the_p_value() -> None:
    other = np.random.default_rng(1).uniform(0.3, 0.9, 20)
    there = compared(rows(list(DICES)), rows(list(other))).labels["liver"]["dice"]
    back = compared(rows(list(other)), rows(list(DICES))).labels["liver"]["dice"]
    assert there.mean == pytest.approx(-(back.mean or 0))
    assert there.p == pytest.approx(back.p)


def test_the_test_is_on_subjects_not_on_cases() -> None:
    ours = tuple(row(f"c{n:02}", float(d), subject=f"p{n // 2}") for n, d in enumerate(DICES))
    theirs = tuple(row(f"c{n:02}", 0.6, subject=f"p{n // 2}") for n in range(20))
    found = compared(ours, theirs).labels["liver"]["dice"]
    means = (DICES - 0.6).reshape(10, 2).mean(1)
    assert (found.n, found.subjects) == (20, 10)
    assert found.p == pytest.approx(float(wilcoxon(means).pvalue))


def test_too_few_subjects_get_no_test_and_are_told_so() -> None:
    few = compared(rows([0.5, 0.6, 0.7]), rows([0.4, 0.5, 0.6])).labels["liver"]["dice"]
    assert (few.p, few.p_corrected) == (None, None)
    assert few.note == "3 subjects; a paired test needs 6"
    assert few.mean == pytest.approx(0.1)


def test_with_two_labels_p_values_are_corrected_by_holm() -> None:
    ours = rows(list(DICES + 0.05)) + rows(list(DICES[::-1]), label="tumour")
    theirs = rows(list(DICES)) + rows(list(DICES), label="tumour")
    found = compared(ours, theirs).labels
    liver, tumour = found["liver"]["dice"], found["tumour"]["dice"]
    assert liver.p is not None
    assert liver.p_corrected == pytest.approx(2 * liver.p)
    assert tumour.p_corrected == pytest.approx(tumour.p)


def test_cases_without_truth_are_left_out_of_differences() -> None:
    absent = row("zz", None, empty="truth empty")
    found = compared((*rows(list(DICES)), absent), (*rows(list(DICES)), absent))
    assert found.labels["liver"]["dice"].n == 20


def test_other_cases_are_refused() -> None:
    with pytest.raises(BadFileError, match="first case case02, label liver"):
        compared(rows([0.1, 0.2]), rows([0.1, 0.2, 0.3]))


def test_another_truth_is_refused() -> None:
    with pytest.raises(BadFileError, match=r"the truth is 2 mL here and 0 mL there"):
        compared((row("a", 0.5),), (row("a", None, empty="truth empty"),))
