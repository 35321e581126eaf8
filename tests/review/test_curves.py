"""Learning curves."""

import pytest

from voxhint.review.curves import draw_learning, outlook

Rows = list[dict[str, float | None]]


def test_two_values_make_a_curve_and_fewer_make_none() -> None:
    rows: Rows = [
        {"step": 0.0, "loss": 1.0},
        {"step": 1.0, "loss": 0.5, "held_out": None},
    ]
    drawn = draw_learning(rows)
    assert drawn is not None
    assert drawn.startswith(b"\x89PNG")
    assert draw_learning(rows[:1]) is None
    assert draw_learning([]) is None


def test_a_second_curve_makes_the_picture_wider() -> None:
    one: Rows = [{"step": float(n), "loss": 1.0 - n / 10} for n in range(5)]
    two: Rows = [{**row, "held_out": 0.5} for row in one]
    assert len(draw_learning(two) or b"") > len(draw_learning(one) or b"")


def scored(*scores: float) -> Rows:
    return [{"step": float(n + 1), "held_out": score} for n, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((1.0, 0.8, 0.7, 0.64), ("lowered", "by 20%", "some 20% more")),  # 20 %, then 20 %
        ((1.0, 0.5, 0.5, 0.4), ("lowered", "by 20%", "some 8% more")),  # 50 %, then 20 %
        ((1.0, 0.5, 0.5, 0.5), ("less than 1%", "unlikely")),
        ((1.0, 0.5, 0.6, 0.7), ("less than 1%", "unlikely")),
    ],
)
def test_what_more_steps_would_bring_follows_from_the_last_doublings(
    scores: tuple[float, ...], told: tuple[str, ...]
) -> None:
    assert all(words in outlook(scored(*scores)) for words in told), outlook(scored(*scores))


@pytest.mark.parametrize("rows", [[], scored(1.0), scored(1.0, 0.5), [{"step": 1.0}]])
def test_nothing_is_foretold_of_a_curve_too_short_to_tell(rows: Rows) -> None:
    assert outlook(rows) == ""
