"""What more training would bring."""

import pytest

from voxhint.measure.learning_curve import outlook

Rows = list[dict[str, float | None]]


def scored(*scores: float) -> Rows:
    return [{"step": float(n + 1), "held_out": score} for n, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (
            (1.0, 0.8, 0.7, 0.64),
            ("lowered", "by 20%", "some 20% more", "and 28%"),
        ),  # 20 %, then 20 %
        ((1.0, 0.5, 0.5, 0.25), ("lowered", "by 50%", "some 50% more", "and 65%")),
        ((1.0, 0.25, 0.25, 0.125), ("lowered", "by 50%", "some 29% more", "and 88%")),  # 1/4, 1/2
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
