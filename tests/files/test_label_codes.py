"""Labels get codes that DICOM lists; what has none is refused with the row to add."""

import csv
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from voxhint.core.errors import BadFileError
from voxhint.files.label_codes import require_codes, segments_of


def type_of(label: str, study: Path) -> tuple[str, str]:
    """Return the type and the side of a label."""
    (segment,) = segments_of((label,), study)
    assert segment.code is not None
    return segment.code.type.meaning, segment.code.side.meaning if segment.code.side else ""


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("LeftParotid", ("Parotid gland", "Left")),
        ("kidney_right", ("Kidney", "Right")),
        ("Kidney_L", ("Kidney", "Left")),
        ("left ventricle", ("Left ventricle", "")),
        ("lung_upper_lobe_left", ("Upper lobe of lung", "Left")),
        ("IVC", ("Inferior vena cava", "")),
        ("tumour", ("Neoplasm", "")),
        ("GTVp", ("Malignant neoplasm, primary (morphologic abnormality)", "")),
    ],
)
def test_labels_as_people_write_them_have_codes(
    label: str, told: tuple[str, str], tmp_path: Path
) -> None:
    assert type_of(label, tmp_path) == told


def test_every_code_that_comes_along_is_listed_by_dicom_with_its_meaning() -> None:
    known: Any = concepts["SCT"]
    listed = {(code, said[0]) for entries in known.values() for code, said in entries.items()}
    text = (files("voxhint.files") / "codes.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) > 200
    for row in rows:
        assert (row["type_code"], row["type_meaning"]) in listed, row
        assert (row["category_code"], row["category_meaning"]) in listed, row
    assert len({row["label"] for row in rows}) == len(rows)


def test_an_unknown_label_is_refused_with_a_row_that_mends_it(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"'zzz' .* add codes\.csv to the study") as refused:
        require_codes(segments_of(("liver", "zzz"), tmp_path))
    header = str(refused.value).partition("the line ")[2].partition(" and a row")[0]
    row = str(refused.value).partition("such as ")[2]
    (tmp_path / "codes.csv").write_text(f"{header}\n{row}\n")
    require_codes(segments_of(("liver", "zzz"), tmp_path))
    assert type_of("zzz", tmp_path) == ("Lesion", "")


def test_the_study_has_its_say_over_type_side_and_colour(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(
        "label,category_code,category_meaning,type_code,type_meaning,scheme,side,colour\n"
        "liver,1,Thing,2,Odd liver,99LOCAL,left,#010203\n"
    )
    (segment,) = segments_of(("liver",), tmp_path)
    assert type_of("liver", tmp_path) == ("Odd liver", "Left")
    assert segment.code is not None
    assert segment.code.type.scheme == "99LOCAL"
    assert segment.colour == "#010203"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("liver,,Thing,2,Odd,,", "category_code is empty"),
        ("liver,1,Thing,12345678901234567,Odd,,", "type_code is too long"),
        ("liver,1,Thing,2,Odd,up,", "side is 'up'"),
        ("liver,1,Thing,2,Odd,,red", "colour is 'red'"),
    ],
)
def test_a_damaged_table_is_refused(row: str, told: str, tmp_path: Path) -> None:
    header = "label,category_code,category_meaning,type_code,type_meaning,side,colour"
    (tmp_path / "codes.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(BadFileError, match=f"codes.csv row 2: {told}"):
        segments_of(("liver",), tmp_path)
