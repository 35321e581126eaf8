"""Tables as spreadsheets save them: read where there is one way to read them."""

import re
from pathlib import Path

import numpy as np
import pytest

from voxhint.core import LabelSet, Points
from voxhint.files.csv_tables import _quoted, _without_quote, read_table, table_text
from voxhint.files.hint_tables import Reading, read_hint_table

LABELS = LabelSet(("background", "ball"), (0, 3))


def read(folder: Path, text: str) -> Reading:
    (folder / "points.csv").write_bytes(text.encode())
    return read_hint_table(folder / "points.csv", LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "case;label;x;y;z\nP,1;ball;32,5;-50,25;1e1\n",
        '\ufeffsep=;\r\n"case";"label";"x";"y";"z"\r\nP,1;ball;32,5;-50,25;10\r\n',
        "case\tlabel\tx\ty\tz\nP,1\tball\t32.5\t-50.25\t10\n",
        "Case; Label; X; Y; Z\nP,1; ball; 32.5; -50.25; 10\n",
    ],
)
def test_semicolons_tabs_and_decimal_commas_are_read(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert not found.problems
    (item,) = found.hints
    assert item.case == "P,1"
    assert isinstance(item.hint, Points)
    np.testing.assert_array_equal(item.hint.positions_mm, [[32.5, -50.25, 10]])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("case;label;x;y;z\na;ball;1,5;2.5;3\n", "y is '2.5'.*decimal comma"),
        ("case;label;x;y;z\na;ball;1,5;1.234,5;3\n", "y is '1.234,5'"),
        ('case,label,x,y,z\na,ball,"1,5",2,3\n', "x is '1,5'.*decimal point"),
        ("case|label|x|y|z\na|ball|1|2|3\n", "no column.*parted by commas"),
        ("case;label;x,y;z\na;ball;1,2;3\n", "no column"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(tmp_path: Path, text: str, told: str) -> None:
    found = read(tmp_path, text)
    assert not found.hints
    (problem,) = found.problems
    assert re.search(told, str(problem))


@pytest.mark.parametrize("cell", ["=1+1", "+x", "-x", "@x", "'=x", "''@x"])
def test_what_a_spreadsheet_would_run_is_written_behind_a_quote(tmp_path: Path, cell: str) -> None:
    assert _quoted(cell) == f"'{cell}"
    assert _without_quote(_quoted(cell)) == cell
    (tmp_path / "a.csv").write_text(table_text([{"case": cell, "x": "-1.5"}], ("case", "x")))
    (row,) = read_table(tmp_path / "a.csv", "a.csv", needed=("case", "x"), known=()).rows
    assert (row.text("case"), row.number("x")) == (cell, -1.5)


@pytest.mark.parametrize("cell", ["-12.5", "+3", "-1e-9", "x=1", "'tis", "", "p01"])
def test_numbers_and_plain_names_are_written_as_they_are(cell: str) -> None:
    assert _quoted(cell) == cell == _without_quote(cell)
