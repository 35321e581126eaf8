"""Points and boxes drawn in a viewer mean what the viewer showed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.phantoms import LABELS

from voxhint.core.hints import Box, Diameter, Points
from voxhint.files.formats.markups import _case_of, read_markups
from voxhint.files.hint_tables import Reading


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
    assert _case_of(name, ["P1", "P1_b", "P10"]) == found


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


def test_a_curve_is_a_warning(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, "P1.mrk.json", {"type": "Curve"}).problems
    assert problem.severity == "warning"


def line(*places: list[float], **more: object) -> dict[str, Any]:
    controls = [{"label": f"L-{n}", "position": place, **more} for n, place in enumerate(places)]
    return {"type": "Line", "name": "ball", "coordinateSystem": "LPS", "controlPoints": controls}


def test_a_line_is_a_diameter_of_its_length_around_its_middle(tmp_path: Path) -> None:
    (item,) = read(tmp_path, "P1.mrk.json", line([1, 2, 3], [4, 6, 3])).hints
    assert isinstance(item.hint, Diameter)
    assert item.hint.diameter_mm == 5
    assert item.hint.centre_mm.tolist() == [-2.5, -4, 3]


@pytest.mark.parametrize(
    ("markup", "told"),
    [
        (line([1, 2, 3]), "1 of its 2 ends"),
        (line([1, 2, 3], [1, 2, 3]), "at one place"),
        (line([1, 2, 3], [4, 2, 3], positionStatus="undefined"), "0 of its 2 ends"),
        (box(name="ball", orientation="x"), "orientation is x"),
        (box(name="ball", orientation=[1, 0, 0]), "nine numbers"),
        (box(name="ball", orientation=[2, 0, 0, 0, 2, 0, 0, 0, 2]), "length 2, 2, 2"),
        (box(name="ball", orientation=[1, 1, 0, 0, 1, 0, 0, 0, 1]), "not at right angles"),
        (points("ball") | {"coordinateUnits": ["cm", "UCUM", "centimeter"]}, "in cm"),
        (points("ball") | {"coordinateUnits": []}, "use LPS or RAS in mm"),
    ],
)
def test_what_a_viewer_could_not_have_drawn_is_refused(
    tmp_path: Path, markup: dict[str, Any], told: str
) -> None:
    found = read(tmp_path, "P1.mrk.json", markup)
    (problem,) = found.problems
    assert told in str(problem)
    assert problem.severity == "error"
    assert not found.hints


def test_units_may_be_coded(tmp_path: Path) -> None:
    markup = points("ball") | {"coordinateUnits": ["mm", "UCUM", "millimeter"]}
    assert not read(tmp_path, "P1.mrk.json", markup).problems


def fcsv(folder: Path, *lines: str) -> Reading:
    (folder / "P1.fcsv").write_text("\n".join(lines), "utf-8")
    return read_markups(folder / "P1.fcsv", ["P1"], LABELS)


@pytest.mark.parametrize(
    ("frame", "place"), [("0", [1, 2, 3]), ("RAS", [1, 2, 3]), ("LPS", [-1, -2, 3])]
)
def test_lists_of_points_of_slicer_4_are_read(
    tmp_path: Path, frame: str, place: list[float]
) -> None:
    head = ("# Markups fiducial file version = 4.11", f"# CoordinateSystem = {frame}")
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
    row = '1,1,2,3,0,0,0,1,1,1,0,"ball-1","a, b",'
    (item,) = fcsv(tmp_path, *head, columns, row).hints
    assert item.case == "P1"
    assert item.hint.positions_mm.tolist() == [place]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["1,1,2,3,0,0,0,1,1,1,0,ball-1,,"], "CoordinateSystem"),
        (["# CoordinateSystem = 2", "1,1,2,3,0,0,0,1,1,1,0,ball,,"], "LPS or RAS"),
        (["# CoordinateSystem = 0", "1,1,2"], "is a label"),
        (["# CoordinateSystem = 0"], "holds no points"),
        (["# CoordinateSystem = 0", "1,1,x,3,0,0,0,1,1,1,0,ball,,"], "three numbers"),
    ],
)
def test_a_list_of_points_that_cannot_be_placed_is_told(
    tmp_path: Path, lines: list[str], told: str
) -> None:
    found = fcsv(tmp_path, *lines)
    assert not found.hints
    assert told in str(found.problems[0])
