"""LUNA16 as it is given out is a study."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from voxhint.core import Diameter
from voxhint.files import open_study, survey

SITK: Any = SimpleITK
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def make(root: Path, rows: str) -> Path:
    for number, folder in enumerate(["subset0", "subset0", "subset1"]):
        (root / folder).mkdir(parents=True, exist_ok=True)
        image = SITK.GetImageFromArray(np.full((4, 20, 30), number, np.int16))
        image.SetOrigin((-100.0, -200, 50))
        image.SetSpacing((2.0, 2, 5))
        SITK.WriteImage(image, str(root / folder / f"1.2.{number}.mhd"))
    (root / "annotations.csv").write_text(HEAD + rows)
    return root


def test_each_series_is_a_case_and_places_are_turned(tmp_path: Path) -> None:
    root = make(tmp_path, "1.2.0,-90,-190,55,6.5\n1.2.2,-80,-180,60,4\n")
    study, problems = open_study(root)
    assert [problem.severity for problem in problems] == ["warning"]
    assert "1.2.1" in str(problems[0])
    assert [files.name for files in study.training] == ["1.2.0", "1.2.1", "1.2.2"]
    assert study.channels == ("CT",)
    assert study.hint_kinds() == {"diameters": 2}
    case = study.load(study.training[0])
    (hint,) = case.hints
    assert isinstance(hint, Diameter)
    assert hint.centre_mm.tolist() == [90, 190, 55]
    assert case.grid.to_index(hint.centre_mm[None]).round(6).tolist() == [[5, 5, 1]]
    assert case.images["CT"].unit == "HU"


def test_a_row_without_its_series_is_a_warning(tmp_path: Path) -> None:
    found = survey(make(tmp_path, "1.2.0,-90,-190,55,6.5\n1.2.9,0,0,0,4\n"))
    assert not found.errors
    assert any("names 1 series without a .mhd file (1.2.9)" in str(item) for item in found.problems)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1.2.0,0,0,0,5", "annotations.csv row 2: centre of 'nodule'"),
        ("1.2.0,-90,-190,55,0", "annotations.csv row 2: diameter_mm is 0"),
        ("1.2.0,-90,x,55,3", "annotations.csv row 2: coordy is 'x'"),
        ("", "holds no hint at all"),
    ],
)
def test_bad_rows_are_told(tmp_path: Path, row: str, said: str) -> None:
    errors = survey(make(tmp_path, row)).errors
    assert any(said in str(problem) for problem in errors)


def test_annotations_without_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "annotations.csv").write_text(HEAD)
    assert "no .mhd file" in str(survey(tmp_path).errors[0])
