"""How far the hints of a label speak, measured from how they lie."""

import numpy as np
import pytest
from tests.poses import TURNS
from tests.propagate.grids import places, plain_grid

from voxhint.core import UNDRAWN, Grid, LabelSet, Points, Strokes
from voxhint.propagate import constraints_of, distance_caps, measure_marks
from voxhint.propagate.distance_caps import Marks

ONE = LabelSet(("background", "a"), (0, 5))
SIDE = 40.0
GRID = plain_grid((40, 40, 20), (1.0, 1.0, 2.0))


def clicks(count: int, seed: int, *, side: float = SIDE, label: str = "a") -> Points:
    at = np.random.default_rng(seed).uniform(0, side, (count, 3))
    return Points(label, np.asarray(at, np.float64), np.ones(count))


def on_ring(count: int, seed: int) -> Points:
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, count)
    at = np.stack([20 + 15 * np.cos(angle), 20 + 15 * np.sin(angle), np.full(count, 20.0)], 1)
    return Points("a", at, np.ones(count))


def cap_of(*hints: Points | Strokes, grid: Grid = GRID) -> float:
    marks = measure_marks(constraints_of(grid, hints, ONE), ONE)
    return distance_caps([marks], [grid], ONE)["a"]


@pytest.mark.parametrize("count", [20, 60, 200])
def test_the_cap_of_clicks_covers_much_of_what_they_lie_in_and_little_more(count: int) -> None:
    hints = clicks(count, 1, side=20)
    away = np.linalg.norm(
        places(GRID)[:, None] - hints.positions_mm.T[..., None, None, None], axis=0
    )
    inside = (places(GRID) < 20).all(0)
    found = away.min(0) < cap_of(hints)
    assert 0.3 < found.sum() / inside.sum() < 1.3


def test_a_ring_has_the_cap_of_its_wall_not_of_its_hole() -> None:
    assert cap_of(on_ring(60, 0)) < 4
    assert cap_of(on_ring(60, 0)) < cap_of(clicks(60, 0))


def test_more_clicks_reach_less_far_each_and_the_same_clicks_twice_as_far() -> None:
    assert cap_of(clicks(200, 3)) < cap_of(clicks(20, 3))
    assert cap_of(clicks(20, 3), clicks(20, 3)) == cap_of(clicks(20, 3))


@pytest.mark.parametrize("turn", TURNS[7::16], ids=str)
def test_the_cap_does_not_depend_on_how_the_image_is_stored(turn: object) -> None:
    found = cap_of(clicks(50, 4), grid=GRID.turned(turn))  # type: ignore[arg-type]
    assert found == pytest.approx(cap_of(clicks(50, 4)), rel=0.05)


def strokes(length: int, *, ring: bool) -> Strokes:
    grid = plain_grid((60, 60, 5), (1.0, 1.0, 8.0))
    drawn = np.full(grid.shape, UNDRAWN, np.uint8)
    drawn[30 - length // 2 : 30 + length // 2, 30] = 1
    away = np.linalg.norm(places(grid)[:2] - np.array([30.0, 30.5])[:, None, None, None], axis=0)
    if ring:
        drawn[(away > 20) & (away < 22)] = 0
    return Strokes(drawn, grid, complete=False)


def test_long_strokes_reach_further_than_short_ones() -> None:
    long_, short = (strokes(n, ring=False) for n in (24, 12))
    assert cap_of(long_, grid=long_.grid) == pytest.approx(0.6 * 23, rel=0.05)
    assert cap_of(short, grid=short.grid) < cap_of(long_, grid=long_.grid)


def test_a_dot_inside_a_ring_reaches_beyond_half_of_the_way_to_it() -> None:
    alone, inside = (strokes(2, ring=ring) for ring in (False, True))
    assert cap_of(alone, grid=alone.grid) <= 8  # a slice
    assert 10 < cap_of(inside, grid=inside.grid) < 20


def whole_slices(seed: int, count: int, ends: tuple[int, int]) -> Strokes:
    """Return whole slices of an image of 100 mm, in which a label lies between two heights."""
    grid = plain_grid((8, 8, 100))
    drawn = np.full(grid.shape, UNDRAWN, np.uint8)
    chosen = np.random.default_rng(seed).choice(100, count, replace=False)
    drawn[:, :, chosen] = 0
    drawn[2:6, 2:6, [k for k in chosen if ends[0] <= k < ends[1]]] = 1
    return Strokes(drawn, grid, complete=True)


@pytest.mark.parametrize("length", [10, 40])
def test_slices_at_random_reach_half_of_the_length_of_a_label(length: int) -> None:
    hints = [whole_slices(seed, 3, (30, 30 + length)) for seed in range(80)]
    marks = [measure_marks(constraints_of(one.grid, [one], ONE), ONE) for one in hints]
    assert any(case["a"].span_mm == 0 for case in marks)
    cap = distance_caps(marks, [hints[0].grid], ONE)["a"]
    assert cap == pytest.approx(length / 2, rel=0.3)


def test_slices_that_all_show_a_label_are_bridged() -> None:
    one = whole_slices(0, 20, (0, 100))
    gap = np.diff(np.flatnonzero((one.classes != UNDRAWN).any((0, 1)))).max()
    assert cap_of(one, grid=one.grid) == pytest.approx(0.65 * gap)


def test_a_study_takes_the_median_over_the_cases_that_tell() -> None:
    cases = [{"a": Marks(0.0, gap, None)} for gap in (2.0, 9.0, 3.0)]
    wanted = distance_caps([{"a": Marks(0.0, 3.0, None)}], [GRID], ONE)
    assert distance_caps([*cases, {}], [GRID], ONE) == wanted


def test_a_label_that_no_case_tells_of_gets_a_share_of_the_field_of_view() -> None:
    other = Grid(GRID.shape, GRID.affine @ np.diag([2.0, 2, 2, 1]))
    lone = {"a": Marks(0.0, None, None)}
    one, two = (distance_caps([lone], [grid], ONE)["a"] for grid in (GRID, other))
    assert two == pytest.approx(2 * one)
    assert 0 < one < SIDE
