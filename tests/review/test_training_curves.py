"""Learning curves."""

from voxhint.review.training_curves import draw_learning

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
