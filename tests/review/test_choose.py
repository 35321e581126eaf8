"""Which cases get a picture."""

from tests.measure.rows import row, rows

from voxhint.review.choose import choose_evenly, choose_scored


def test_worst_middle_and_best_are_chosen_in_order() -> None:
    chosen = choose_scored(rows([n / 20 for n in range(21)]), each=1)
    assert [choice.case for choice in chosen] == ["case00", "case10", "case20"]
    assert [choice.reason.split(";")[0] for choice in chosen] == [
        "among the worst", "in the middle", "among the best",
    ]  # fmt: skip


def test_few_cases_are_shown_once_each() -> None:
    for count in range(10):
        chosen = choose_scored(rows([n / 20 for n in range(count)]), each=3)
        assert len({choice.case for choice in chosen}) == len(chosen) == count


def test_cases_are_ranked_by_their_mean_over_labels() -> None:
    scores = (row("a", 0.9), row("a", 0.1, label="tumour"), row("b", 0.6), row("c", 0.4))
    assert [choice.case for choice in choose_scored(scores, each=1)] == ["c", "a", "b"]


def test_cases_without_the_label_are_not_ranked() -> None:
    assert choose_scored((row("a", None, empty="both empty"),), each=3) == []


def test_an_even_choice_holds_both_ends_and_nothing_twice() -> None:
    names = list("abcdefghi")
    assert [choice.case for choice in choose_evenly(names, count=3)] == ["a", "e", "i"]
    assert [choice.case for choice in choose_evenly(names[:2], count=3)] == ["a", "b"]
    assert choose_evenly([], count=3) == []
