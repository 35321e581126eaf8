"""A label that is larger in one case than in others reaches further there."""

import numpy as np
import pytest

from voxhint.core import Grid, LabelSet, Points
from voxhint.propagate import constraints_of, measure_marks
from voxhint.propagate.distance_caps import Marks, Spread
from voxhint.propagate.label_sizes import caps_of_case, usual_sizes

ONE = LabelSet(("background", "a"), (0, 1))


def clicked(radius_mm: float, clicks: int, seed: int, spacing: float = 1.0) -> dict[str, Marks]:
    """Return how clicks lie that are set anywhere in a ball."""
    rng = np.random.default_rng(seed)
    ways = rng.normal(size=(clicks, 3))
    ways *= radius_mm * rng.random((clicks, 1)) ** (1 / 3) / np.linalg.norm(ways, axis=1)[:, None]
    shape = (np.array([60, 60, 60 / spacing])).astype(int)
    grid = Grid(tuple(shape.tolist()), np.diag([1.0, 1.0, spacing, 1.0]))
    points = Points("a", ways + 30, np.ones(clicks))
    return measure_marks(constraints_of(grid, [points], ONE), ONE)


def test_a_spread_and_its_chance_are_those_of_leaving_out_one_click_at_a_time() -> None:
    places = np.array([[10, 10, 10], [14, 40, 20], [30, 20, 50], [50, 30, 10], [22, 8, 40]], float)
    points = Points("a", places, np.ones(len(places)))
    grid = Grid((60, 60, 60), np.eye(4))
    spread = measure_marks(constraints_of(grid, [points], ONE), ONE)["a"].spread
    without = [np.delete(places, one, axis=0) for one in range(len(places))]
    logs = [np.log(each.var(0).sum()) / 2 for each in without]
    assert spread is not None
    assert spread.count == len(places)
    assert spread.mm == pytest.approx(np.sqrt(places.var(0, ddof=1).sum()))
    assert spread.chance == pytest.approx((len(places) - 1) * np.var(logs))


@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_a_label_twice_as_large_reaches_twice_as_far(spacing: float) -> None:
    cases = [clicked(radius, 20, seed, spacing) for seed in range(12) for radius in (8.0, 16.0)]
    usual = usual_sizes(cases, ONE)
    small, large = (
        np.mean([caps_of_case({"a": 5.0}, usual, case)["a"] for case in cases[which::2]])
        for which in (0, 1)
    )
    assert large / small == pytest.approx(2, rel=0.1)


def test_where_cases_are_alike_the_choice_of_clicks_decides_nothing() -> None:
    cases = [clicked(12.0, 5, seed) for seed in range(60)]
    spreads = [case["a"].spread.mm for case in cases if case["a"].spread]
    assert np.std(np.log(spreads)) > 0.1
    usual = usual_sizes(cases, ONE)
    caps = [caps_of_case({"a": 5.0}, usual, case)["a"] for case in cases]
    assert caps == pytest.approx([5.0] * len(cases), rel=0.05)


def test_more_clicks_are_believed_more() -> None:
    cases = [clicked(radius, 6, seed) for seed in range(12) for radius in (8.0, 16.0)]
    usual = usual_sizes(cases, ONE)["a"]
    few, many = (usual.times(Spread(mm=20.0, chance=0.0, count=count)) for count in (3, 30))
    assert 1 < few < many


def test_few_cases_and_lone_clicks_tell_no_size() -> None:
    assert usual_sizes([clicked(9.0, 20, seed) for seed in range(4)], ONE) == {}
    usual = usual_sizes([clicked(r, 20, s) for s, r in enumerate((8.0, 16.0) * 4)], ONE)
    assert caps_of_case({"a": 5.0}, usual, clicked(16.0, 1, 0)) == {"a": 5.0}
    assert caps_of_case({"a": 5.0}, usual, {}) == {"a": 5.0}
