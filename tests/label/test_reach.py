"""How far hints speak, measured from where they lie."""

import numpy as np
import pytest
from tests.label.grids import plain_grid
from tests.poses import TURNS

from voxhint.core import Box, Grid, LabelSet, Points, Turn, Volume
from voxhint.label import case_reach, gather_evidence, plan_reach
from voxhint.label.reach import detours

ONE = LabelSet(("background", "a"), (0, 5))
SIDE = 40.0
GRID = plain_grid((40, 40, 20), (1.0, 1.0, 2.0))


def clicks(count: int, seed: int, *, side: float = SIDE, label: str = "a") -> Points:
    at = np.random.default_rng(seed).uniform(0, side, (count, 3))
    return Points(label, np.asarray(at, np.float64), np.ones(count))


def reach_of(*hints: Points | Box, grid: Grid = GRID) -> dict[str, float]:
    return case_reach(gather_evidence(grid, hints, ONE), ONE)


@pytest.mark.parametrize("count", [20, 60, 200])
def test_random_clicks_in_a_volume_reach_as_far_as_the_volume_of_each(count: int) -> None:
    wanted = (SIDE**3 / count) ** (1 / 3)
    assert reach_of(clicks(count, 1))["a"] == pytest.approx(wanted, rel=0.3)


def test_reach_grows_with_the_object_and_shrinks_with_the_number_of_clicks() -> None:
    assert reach_of(clicks(30, 2, side=20))["a"] < reach_of(clicks(30, 2))["a"]
    assert reach_of(clicks(200, 3))["a"] < reach_of(clicks(20, 3))["a"]


@pytest.mark.parametrize("turn", TURNS[7::16], ids=str)
def test_reach_does_not_depend_on_how_the_image_is_stored(turn: Turn) -> None:
    found = reach_of(clicks(50, 4), grid=GRID.turned(turn))
    assert found["a"] == pytest.approx(reach_of(clicks(50, 4))["a"], rel=1e-6)


def test_single_clicks_measure_no_reach() -> None:
    assert reach_of(clicks(1, 0)) == {}
    assert reach_of() == {}


def test_every_class_has_a_reach_of_its_own() -> None:
    found = reach_of(clicks(60, 5, side=10), clicks(60, 6, label="background"))
    assert found["a"] < found["background"]


def test_a_larger_box_reaches_further() -> None:
    small, large = (
        reach_of(Box("a", np.full(3, 20.0 - half), np.full(3, 20.0 + half))) for half in (4.0, 12.0)
    )
    assert large["a"] == pytest.approx(3 * small["a"], rel=0.2)
    assert 0 < large["a"] < 24


def test_a_study_takes_the_median_over_the_cases_that_tell() -> None:
    cases = [{"a": 2.0}, {"a": 9.0}, {"a": 3.0}, {}]
    assert plan_reach(cases, [GRID], ONE)["a"] == 3.0


def test_a_class_that_no_case_tells_of_gets_a_share_of_the_field_of_view() -> None:
    other = Grid(GRID.shape, GRID.affine @ np.diag([2.0, 2, 2, 1]))
    one, two = (plan_reach([{"a": 3.0}], [grid], ONE) for grid in (GRID, other))
    assert set(one) == set(ONE.names)
    assert two["background"] == pytest.approx(2 * one["background"])
    assert 0 < one["background"] < SIDE


def detours_in(
    voxels: np.ndarray, *hints: Points | Box, turn: Turn | None = None
) -> dict[str, float]:
    grid = GRID if turn is None else GRID.turned(turn)
    stored = voxels if turn is None else turn.apply(voxels)
    image = Volume(np.ascontiguousarray(stored, np.float32), grid)
    return detours(gather_evidence(grid, hints, ONE), [image], ONE, edge_weight=2.0)


INSIDE, OUTSIDE = clicks(30, 7, side=16), clicks(60, 8, label="background")


def rough_corner() -> np.ndarray:
    """Return an image whose slopes are steep where clicks inside lie, and gentle elsewhere."""
    voxels = np.random.default_rng(0).normal(0, 1, GRID.shape)
    voxels[:18, :18, :9] *= 10
    return voxels


def test_in_an_image_without_edges_ways_are_as_long_as_straight_lines() -> None:
    found = detours_in(np.zeros(GRID.shape), INSIDE, OUTSIDE)
    assert set(found) == set(ONE.names)
    assert all(1 <= detour < 1.15 for detour in found.values())


def test_a_label_full_of_edges_reaches_further_and_a_smooth_one_no_less() -> None:
    rough = detours_in(rough_corner(), INSIDE, OUTSIDE)
    smooth = detours_in(1 / (0.1 + rough_corner() ** 2), INSIDE, OUTSIDE)
    assert rough["a"] > 2 * rough["background"]
    plain = plan_reach([{"a": 3.0, "background": 9.0}], [GRID], ONE)
    ratio = rough["a"] / rough["background"]
    for around in (90.0, 9.0, 2.0):
        longer = plan_reach([{**plain, "background": around}], [GRID], ONE, [rough])
        assert longer["a"] == pytest.approx(max(3, min(3 * ratio, around)))
        assert longer["background"] == around
    assert ratio > 3
    assert plan_reach([plain], [GRID], ONE, [{"a": 1.0, "background": 4.0}]) == plain
    assert plan_reach([plain], [GRID], ONE, [{"a": smooth["a"]}]) == plain


@pytest.mark.parametrize("turn", TURNS[7::16], ids=str)
def test_detours_do_not_depend_on_how_the_image_is_stored(turn: Turn) -> None:
    found = detours_in(rough_corner(), INSIDE, OUTSIDE, turn=turn)
    straight = detours_in(rough_corner(), INSIDE, OUTSIDE)
    assert found["a"] == pytest.approx(straight["a"], rel=0.05)


def test_boxes_and_single_clicks_tell_no_detours_of_a_label() -> None:
    box = Box("a", np.full(3, 12.0), np.full(3, 24.0))
    assert "a" not in detours_in(rough_corner(), box)
    assert detours_in(rough_corner(), clicks(2, 0), clicks(2, 1, label="background")) == {}
