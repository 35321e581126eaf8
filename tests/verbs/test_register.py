import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from voxhint.core import Volume
from voxhint.core.errors import BadStudyError
from voxhint.files.images import read_grid, write_ids, write_image
from voxhint.files.validate.study import open_study
from voxhint.simulate.neck_phantom import tumour_case
from voxhint.verbs.check import check
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.register import register


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of two necks, one of which moved 6 mm before the MR."""
    out = tmp_path_factory.mktemp("necks") / "study"
    write_phantom_study(out, kind="two-modality", cases=1, test_cases=1)
    rng = np.random.default_rng([0, 0])
    moved = tumour_case(rng, name="neck_001", shift_mm=(6.0, 0.0, 0.0))
    write_image(out / "imagesTr" / "neck_001_0001.nii.gz", moved.images["MR"])
    return out


def test_a_channel_apart_is_told_only_if_asked(study: Path) -> None:
    problems, _ = check(study, registration_mm=3.0)
    told = [str(problem) for problem in problems if "lies about" in str(problem)]
    assert len(told) == 1
    assert "case 'neck_001': MR lies about 6.0 mm from CT" in told[0]
    assert all(problem.severity == "warning" for problem in problems)
    assert not [p for p in check(study)[0] if "lies about" in str(p)]
    assert not [p for p in check(study, registration_mm=8.0)[0] if "lies about" in str(p)]


def test_a_registered_study_has_nothing_left_to_tell(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "registered"
    moves = register(study, out, how="rigid")
    assert [move.case for move in moves] == ["neck_001", "neck_002"]
    assert moves[0].before_mm == pytest.approx(6, abs=0.5)
    assert moves[0].after_mm < 1
    with (out / "registration.csv").open(encoding="utf-8") as stream:
        assert [row["channel"] for row in csv.DictReader(stream)] == ["MR", "MR"]
    assert json.loads((out / "made.json").read_text())["settings"]["how"] == "rigid"
    assert not [p for p in check(out, registration_mm=3.0)[0] if "lies about" in str(p)]
    before, after = (open_study(root)[0] for root in (study, out))
    assert [f.name for f in before.training] == [f.name for f in after.training]
    assert before.stroke_files.keys() == after.stroke_files.keys()


def test_masks_that_would_be_left_behind_are_refused(study: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(study, other)
    scribble = other / "hints" / "scribbles" / "neck_001.nii.gz"
    grid = read_grid(scribble).spaced(np.array([4.0, 4.0, 4.0]))
    write_image(
        other / "imagesTr" / "neck_001_0001.nii.gz",
        Volume(np.random.default_rng(0).random(grid.shape, np.float32), grid, "a.u."),
    )
    drawn = np.full(grid.shape, 255, np.uint8)
    drawn[2, 2, 2] = 1
    write_ids(scribble, drawn, grid)
    with pytest.raises(BadStudyError, match=r"neck_001\.nii\.gz: lies on a channel that would"):
        register(other, tmp_path / "out", how="rigid")
    assert not (tmp_path / "out").exists()
