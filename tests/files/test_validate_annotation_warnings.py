"""Slips are told, and nothing else is taken for one."""

import numpy as np

from voxhint.core import Grid
from voxhint.core.hints import Points
from voxhint.files.hint_tables import Placed
from voxhint.files.validate.annotation_warnings import double_clicks, forgotten

GRID = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))


def click(label: str, *at: float) -> Placed:
    return Placed("c", Points(label, np.array([at], np.float64), np.ones(1)), "hints/points.csv")


def test_clicks_of_two_labels_in_one_voxel_are_told_once() -> None:
    placed = [click("a", 4, 4, 4), click("b", 4.5, 4, 3.5), click("a", 8, 8, 8)]
    (problem,) = double_clicks(placed, GRID)
    assert problem.severity == "warning"
    assert "1 voxels" in str(problem)
    assert "a and b" in str(problem)


def test_two_clicks_of_one_label_or_in_two_voxels_are_no_slip() -> None:
    placed = [click("a", 4, 4, 4), click("a", 4, 4, 4), click("b", 6, 4, 4)]
    assert not list(double_clicks(placed, GRID))


def test_a_label_that_one_case_of_many_does_not_tell_of_was_forgotten() -> None:
    told = {f"c{number}": {"a", "b"} for number in range(9)}
    told["odd"] = {"a"}
    (problem,) = forgotten(told, ("a", "b"))
    assert "1 of 10 cases tell nothing of 'b' (odd)" in str(problem)


def test_labels_that_often_are_not_told_of_and_cases_without_hints_are_no_slip() -> None:
    half = {f"c{number}": {"a", "b"} if number % 2 else {"a"} for number in range(10)}
    assert not list(forgotten(half, ("a", "b")))
    empty: dict[str, set[str]] = {f"c{number}": {"a"} for number in range(10)} | {"mute": set()}
    assert not list(forgotten(empty, ("a",)))
    assert not list(forgotten({"one": {"a"}, "two": {"a", "b"}}, ("a", "b")))
