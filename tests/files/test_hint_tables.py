"""Tables of hints: what they mean, what is forgiven, what is refused and how."""

from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import LABELS

from voxhint.core.hints import Box, Diameter, Points, Tag
from voxhint.files.hint_tables import Reading, gather, read_hint_table

HEADS = {
    "tags": "case,label,state",
    "points": "case,label,x,y,z",
    "boxes": "case,label,x_min,y_min,z_min,x_max,y_max,z_max",
    "diameters": "case,label,x,y,z,diameter_mm",
}


def read(tmp_path: Path, kind: str, *rows: str, more: str = "") -> Reading:
    path = tmp_path / f"{kind}.csv"
    path.write_text("\n".join([HEADS[kind] + more, *rows]) + "\n", encoding="utf-8")
    return read_hint_table(path, LABELS, where=f"hints/{kind}.csv")


def test_lps_turns_x_and_y_of_points_and_diameters(tmp_path: Path) -> None:
    points = read(
        tmp_path, "points", "a,ball,1,2,3,LPS", "a,ball,1,2,3,RAS", "a,ball,1,2,3,", more=",frame"
    )
    places = [
        item.hint.positions_mm[0].tolist() for item in points.hints if isinstance(item.hint, Points)
    ]
    assert places == [[-1, -2, 3], [1, 2, 3], [1, 2, 3]]
    (diameter,) = read(tmp_path, "diameters", "a,ball,1,2,3,4,lps", more=",frame").hints
    assert isinstance(diameter.hint, Diameter)
    assert diameter.hint.centre_mm.tolist() == [-1, -2, 3]
    assert diameter.hint.diameter_mm == 4


def test_lps_swaps_the_faces_of_a_box(tmp_path: Path) -> None:
    (item,) = read(tmp_path, "boxes", "a,ball,1,2,3,4,6,8,LPS", more=",frame").hints
    assert isinstance(item.hint, Box)
    assert item.hint.low_mm.tolist() == [-4, -6, 3]
    assert item.hint.high_mm.tolist() == [-1, -2, 8]


def test_a_tag_may_speak_of_some_heights_only(tmp_path: Path) -> None:
    read_tags = read(
        tmp_path, "tags", "a,ball,absent,-5,5", "a,ball,Present,,", more=",z_min,z_max"
    )
    assert [item.hint for item in read_tags.hints] == [
        Tag("ball", "absent", (-5.0, 5.0)),
        Tag("ball", "present"),
    ]


def test_points_of_a_label_are_joined_in_order_with_their_confidence(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "points",
        "a,ball,1,2,3,",
        "a,background,0,0,0,1",
        "a,ball,4,5,6,0.5",
        more=",confidence",
    )
    ball, rest = gather(found.hints)["a"]
    assert isinstance(ball, Points)
    assert isinstance(rest, Points)
    assert ball.positions_mm.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert ball.confidence.tolist() == [1, 0.5]
    assert rest.label == "background"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfcase,label,state\na,ball,present\n",
        b"case,label,state\r\na,ball,present\r\n",
        b" Case , label,state \n\n a , ball,  present \n\n",
        b'"case","label","state"\n"a","ball","present"',
        b"state,case,label\npresent,a,ball\n",
    ],
)
def test_marks_of_byte_order_line_ends_spaces_and_quotes_are_forgiven(
    tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / "tags.csv").write_bytes(raw)
    found = read_hint_table(tmp_path / "tags.csv", LABELS)
    assert [item.hint for item in found.hints] == [Tag("ball", "present")]
    assert not found.problems


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ("case,label,state\n".encode("utf-16"), "UTF-16"),
        (b"case,label,state\na,ball\0,present\n", "binary"),
        (b"case,label,state\na,b\xe4ll,present\n", "row 2 is not UTF-8"),
        (b"case,label\na,ball\n", "no column state"),
        (b"case|label|state\na|ball|present\n", "parted by commas"),
        (b"case,label,state,label\na,ball,present,ball\n", "label twice"),
        (b'case,label,state\n"a,ball,present\n', "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_problem(tmp_path: Path, raw: bytes, said: str) -> None:
    (tmp_path / "tags.csv").write_bytes(raw)
    (problem,) = read_hint_table(tmp_path / "tags.csv", LABELS).problems
    assert said in str(problem)
    assert str(problem).startswith("tags.csv: ")
    assert "\n" not in str(problem)


BAD_ROWS = [
    ("tags", "a,ball,maybe", "state is 'maybe'"),
    ("tags", "a,Ball,present", "label 'Ball' is not in dataset.json"),
    ("tags", "a,background,present", "only points"),
    ("tags", "a,,present", "label is empty"),
    ("tags", ",ball,present", "case is empty"),
    ("tags", "a,ball", "has 2 cells where the header has 3"),
    ("tags", "a,ball,present,1", "has 4 cells"),
    ("points", "a,ball,1,2,x", "z is 'x'"),
    ("points", "a,ball,1,2,nan", "z is 'nan'"),
    ("points", "a,ball,inf,2,3", "x is 'inf'"),
    ("points", "a,ball,1_0,2,3", "x is '1_0'"),
    ("points", 'a,ball,"1,5",2,3', "decimal point"),
    ("points", "a,ball,1e300,2,3", "world millimetres"),
    ("boxes", "a,ball,1,2,3,1,5,6", "x_min 1 is not below x_max 1"),
    ("boxes", "a,ball,1,9,3,4,5,6", "y_min 9 is not below"),
    ("diameters", "a,ball,1,2,3,0", "diameter_mm is 0"),
    ("diameters", "a,ball,1,2,3,-4", "diameter_mm is -4"),
]


@pytest.mark.parametrize(("kind", "row", "said"), BAD_ROWS)
def test_a_bad_row_is_named_and_the_others_are_kept(
    tmp_path: Path, kind: str, row: str, said: str
) -> None:
    good = {
        "tags": "b,ball,absent",
        "points": "b,ball,1,2,3",
        "boxes": "b,ball,1,2,3,4,5,6",
        "diameters": "b,ball,1,2,3,4",
    }[kind]
    found = read(tmp_path, kind, good, row, f"c{good[1:]}")
    (problem,) = found.problems
    assert said in str(problem)
    assert str(problem).startswith(f"hints/{kind}.csv row 3: ")
    assert [item.case for item in found.hints] == ["b", "c"]
    assert found.hints[1].where == f"hints/{kind}.csv row 4"


@pytest.mark.parametrize(
    ("kind", "row", "more", "said"),
    [
        ("points", "a,ball,1,2,3,0", ",confidence", "confidence is 0"),
        ("points", "a,ball,1,2,3,1.5", ",confidence", "confidence is 1.5"),
        ("points", "a,ball,1,2,3,XYZ", ",frame", "frame is 'XYZ'"),
        ("tags", "a,ball,absent,5,", ",z_min,z_max", "only one of z_min and z_max"),
        ("tags", "a,ball,absent,5,4", ",z_min,z_max", "z_min 5 lies above z_max 4"),
    ],
)
def test_bad_optional_cells_are_refused(
    tmp_path: Path, kind: str, row: str, more: str, said: str
) -> None:
    (problem,) = read(tmp_path, kind, row, more=more).problems[:1]
    assert said in str(problem)
    assert problem.severity == "error"
    assert problem.case == "a"


def test_a_column_we_do_not_know_is_told_but_no_error(tmp_path: Path) -> None:
    found = read(tmp_path, "points", "a,ball,1,2,3,0.1", more=",confidance")
    assert len(found.hints) == 1
    assert [(problem.severity, "confidance" in str(problem)) for problem in found.problems] == [
        ("warning", True)
    ]


def test_a_table_without_rows_is_a_warning(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, "tags").problems
    assert problem.severity == "warning"


def test_places_are_float64(tmp_path: Path) -> None:
    (item,) = read(tmp_path, "points", "a,ball,0.1,2,3").hints
    assert isinstance(item.hint, Points)
    assert item.hint.positions_mm.dtype == np.float64


def test_a_row_written_twice_counts_once_and_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, "points", "a,ball,1,2,3", "a,ball,1,2,4", "a,ball,1,2,3")
    assert len(found.hints) == 2
    (problem,) = found.problems
    assert problem.severity == "warning"
    assert "row 4: repeats hints/points.csv row 2" in str(problem)
