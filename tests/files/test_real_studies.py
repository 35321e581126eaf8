"""Real scans: what is sound is read without a word, what is odd is told."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from voxhint.core import Box
from voxhint.files import open_study, survey

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
DATA = SHARED / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real scans are not here"),
]


@pytest.mark.parametrize(
    ("kind", "pose"),
    [
        ("points:5", 1),
        ("boxes", 0),
        ("scribbles", 2),
        ("slices:3", 3),
        ("diameters", 1),
        ("tags", 0),
    ],
)
def test_simulated_hints_of_real_masks_have_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, pose: int
) -> None:
    tool, out = SHARED / "acceptance" / "simulate_hints.py", tmp_path / "study"
    words = [str(DATA / "hippocampus"), kind, str(out), "--cases", "2", "--pose", str(pose)]
    monkeypatch.setattr(sys, "argv", [str(tool), *words])
    runpy.run_path(str(tool), run_name="__main__")
    study, problems = open_study(out)
    assert all("splits.json" in str(problem) for problem in problems)
    for files in study.training:
        assert study.load(files).hints


@pytest.mark.slow
def test_every_chest_window_is_sound() -> None:
    found = survey(DATA / "lidc-windows")
    assert found.problems == ()
    assert found.study is not None
    assert len(found.study.training) == 966
    assert len({files.subject for files in found.study.training}) == 223


def test_dense_masks_of_the_hippocampus_are_read() -> None:
    study, problems = open_study(DATA / "hippocampus", dense=True)
    assert not problems
    truth = study.load(study.training[0], dense=True).truth
    assert truth is not None
    assert set(np.unique(truth.ids)) == {0, 1, 2}


def test_a_chest_series_is_read_and_its_box_lies_inside() -> None:
    study, problems = open_study(DATA / "chest-dicom", deep=True)
    assert not problems
    case = study.load(study.training[0])
    assert case.grid.shape == (512, 512, 30)
    assert np.allclose(case.grid.spacing_mm, [0.646484375, 0.646484375, 8])
    (box,) = case.hints
    assert isinstance(box, Box)
    assert case.grid.holds(np.stack([box.low_mm, box.high_mm])).all()
    voxels = case.images["CT"].voxels
    assert (voxels.min(), case.images["CT"].unit) == (-1024, "HU")
