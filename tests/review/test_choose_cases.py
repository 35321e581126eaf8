"""Which cases get a picture."""

from tests.measure.rows import row, rows

from voxhint.review.choose_cases import (
    Choice,
    choose_evenly,
    choose_highest,
    choose_scored,
    merge,
)


def test_worst_middle_and_best_are_chosen_in_order() -> None:
    chosen = choose_scored(rows([n / 20 for n in range(21)]), each=1)
    assert [choice.case for choice in chosen] == ["case00", "case10", "case20"]
    assert [choice.reason.split(":")[0] for choice in chosen] == [
        "among the worst", "in the middle", "the best",
    ]  # fmt: skip


def test_few_cases_are_shown_once_each() -> None:
    for count in range(10):
        chosen = choose_scored(rows([n / 20 for n in range(count)]), each=3)
        assert len({choice.case for choice in chosen}) == len(chosen) >= min(count, 4)


def test_cases_are_ranked_by_their_mean_over_labels() -> None:
    scores = (row("a", 0.9), row("a", 0.1, label="tumour"), row("b", 0.6), row("c", 0.4))
    assert [choice.case for choice in choose_scored(scores, each=1)] == ["c", "a", "b"]


def test_the_highest_values_are_chosen_and_none_of_zero() -> None:
    chosen = choose_highest({"a": 0.2, "b": 0.91, "c": 0.0}, words="{} likely", count=3)
    assert chosen == [Choice("b", "91% likely"), Choice("a", "20% likely")]


def test_a_case_chosen_twice_is_shown_once_with_both_reasons() -> None:
    worst, unsure = [Choice("a", "worst"), Choice("b", "worst")], [Choice("a", "unsure")]
    assert merge(worst, unsure) == [Choice("a", "worst; unsure"), Choice("b", "worst")]


def test_cases_without_the_label_are_not_ranked() -> None:
    assert choose_scored((row("a", None, empty="both empty"),), each=3) == []


def test_an_even_choice_holds_both_ends_and_nothing_twice() -> None:
    names = list("abcdefghi")
    assert [choice.case for choice in choose_evenly(names, count=3)] == ["a", "e", "i"]
    assert [choice.case for choice in choose_evenly(names[:2], count=3)] == ["a", "b"]
    assert choose_evenly([], count=3) == []
