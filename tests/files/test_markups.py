"""Points and boxes drawn in a viewer mean what the viewer showed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.phantoms import LABELS

from voxhint.core.hints import Box, Points
from voxhint.files.hints import Reading
from voxhint.files.markups import case_of, read_markups


def read(tmp_path: Path, name: str, *markups: dict[str, Any]) -> Reading:
    (tmp_path / name).write_text(json.dumps({"markups": list(markups)}), encoding="utf-8")
    return read_markups(tmp_path / name, ["P1", "P1_b", "P10"], LABELS)


def points(*labels: str, system: str = "LPS", **more: object) -> dict[str, Any]:
    controls = [{"label": label, "position": [1, 2, 3], **more} for label in labels]
    return {"type": "Fiducial", "coordinateSystem": system, "controlPoints": controls}


def box(**more: object) -> dict[str, Any]:
    return {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "center": [1, 2, 3],
        "size": [2, 4, 6],
        **more,
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("P1.mrk.json", ("P1", "")),
        ("P1_ball.mrk.json", ("P1", "ball")),
        ("P1_b_ball.mrk.json", ("P1_b", "ball")),
        ("P10.mrk.json", ("P10", "")),
        ("P11.mrk.json", None),
    ],
)
def test_the_longest_case_that_fits_the_file_name_is_meant(
    name: str, found: tuple[str, str] | None
) -> None:
    assert case_of(name, ["P1", "P1_b", "P10"]) == found


@pytest.mark.parametrize(
    ("system", "place"),
    [("LPS", [-1, -2, 3]), ("RAS", [1, 2, 3]), ("0", [1, 2, 3]), ("1", [-1, -2, 3])],
)
def test_points_are_turned_to_our_world(tmp_path: Path, system: str, place: list[float]) -> None:
    (item,) = read(tmp_path, "P1.mrk.json", points("ball", system=system)).hints
    assert isinstance(item.hint, Points)
    assert item.case == "P1"
    assert item.hint.positions_mm.tolist() == [place]


@pytest.mark.parametrize("label", ["ball", "ball-1", "ball_12", "ball 3"])
def test_a_counter_behind_the_label_is_forgiven(tmp_path: Path, label: str) -> None:
    (item,) = read(tmp_path, "P1.mrk.json", points(label)).hints
    assert isinstance(item.hint, Points)
    assert item.hint.label == "ball"


def test_the_file_name_tells_the_label_where_the_points_do_not(tmp_path: Path) -> None:
    (item,) = read(tmp_path, "P1_ball.mrk.json", points("F-1")).hints
    assert isinstance(item.hint, Points)
    assert item.hint.label == "ball"
    (item,) = read(tmp_path, "P1_x.mrk.json", {**points("F-1"), "name": "background"}).hints
    assert isinstance(item.hint, Points)
    assert item.hint.label == "background"


def test_a_point_not_yet_placed_is_passed_over(tmp_path: Path) -> None:
    found = read(tmp_path, "P1.mrk.json", points("ball", positionStatus="undefined"))
    assert not found.hints


def test_a_box_is_turned_to_our_world(tmp_path: Path) -> None:
    (item,) = read(tmp_path, "P1_ball.mrk.json", box()).hints
    assert isinstance(item.hint, Box)
    assert item.hint.low_mm.tolist() == [-2, -4, 0]
    assert item.hint.high_mm.tolist() == [0, 0, 6]


def test_a_turned_box_becomes_the_box_around_it(tmp_path: Path) -> None:
    c = s = float(np.sqrt(0.5))
    turn = [c, -s, 0, s, c, 0, 0, 0, 1]
    (item,) = read(tmp_path, "P1_ball.mrk.json", box(orientation=turn)).hints
    assert isinstance(item.hint, Box)
    assert np.allclose(item.hint.high_mm - item.hint.low_mm, [6 * c, 6 * c, 6])
    assert np.allclose((item.hint.high_mm + item.hint.low_mm) / 2, [-1, -2, 3])


@pytest.mark.parametrize(
    ("name", "markup", "said"),
    [
        ("P9.mrk.json", points("ball"), "names no case"),
        ("P1.mrk.json", points("F-1"), "'F-1' is a label"),
        ("P1.mrk.json", points("ball", position=[1, 2]), "three numbers"),
        ("P1.mrk.json", points("ball", position=["a", 2, 3]), "three numbers"),
        ("P1.mrk.json", points("ball", system="IJK"), "IJK"),
        ("P1.mrk.json", {**points("ball"), "coordinateUnits": "um"}, "in um"),
        ("P1_ball.mrk.json", box(size=[0, 1, 1]), "some extent"),
        ("P1_ball.mrk.json", box(center=None), "three numbers"),
        ("P1_ball.mrk.json", box(insideOut=True), "outside"),
        ("P1_ball.mrk.json", box(orientation=[1, 2]), "nine numbers"),
        ("P1_background.mrk.json", box(), "only points"),
        ("P1.mrk.json", {"type": "Fiducial", "controlPoints": [3]}, "not an object"),
    ],
)
def test_a_markup_we_cannot_read_is_told(
    tmp_path: Path, name: str, markup: dict[str, Any], said: str
) -> None:
    found = read(tmp_path, name, markup)
    assert not found.hints
    assert said in str(found.problems[0])
    assert str(found.problems[0]).startswith(name)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"markups": []}', '{"markups": [1]}', "{"])
def test_a_file_without_markups_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "P1.mrk.json").write_text(text)
    (problem,) = read_markups(tmp_path / "P1.mrk.json", ["P1"], LABELS).problems
    assert problem.case == "P1"


def test_a_line_is_a_warning(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, "P1.mrk.json", {"type": "Line"}).problems
    assert problem.severity == "warning"
