"""An export is one data set of one kind of file, whatever the images of the study were."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from tests.phantoms import LABELS, ball, make_study, scan, slanted_grid

from voxhint.core import Grid
from voxhint.core.errors import BadFileError, BadRecipeError, OutputError, VoxhintError
from voxhint.files.images import read_ids, read_volume, write_ids, write_image
from voxhint.runs import study_inputs
from voxhint.verbs.export import export
from voxhint.verbs.report import report

GRID = slanted_grid()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run with a mask of each training case, which knows what it read and made."""
    study, folder = make_study(tmp_path / "study"), tmp_path / "run"
    for case in ("c0", "c1"):
        write_ids(folder / "masksTr" / f"{case}.nii.gz", LABELS.to_ids(ball(GRID)), GRID)
    made = {
        "verb": "run",
        "study": str(study),
        "inputs": study_inputs(study, ("dataset.json", "imagesTr", "hints")),
        "outputs": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*.nii.gz")
        },
    }
    (folder / "made.json").write_text(json.dumps(made))
    return folder


def of_study(run: Path) -> Path:
    return run.parent / "study"


def rename_labels(run: Path) -> None:
    path = of_study(run) / "dataset.json"
    path.write_text(path.read_text().replace('"ball": 3', '"ball": 4'))


def change_image(run: Path) -> None:
    write_image(of_study(run) / "imagesTr" / "c1_0000.nii.gz", scan(GRID, 99))


def add_mask(run: Path) -> None:
    write_ids(run / "masksTr" / "c9.nii.gz", ball(GRID), GRID)


def change_mask(run: Path) -> None:
    write_ids(run / "masksTr" / "c1.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)


def remove_mask(run: Path) -> None:
    (run / "masksTr" / "c1.nii.gz").unlink()


def forget(run: Path) -> None:
    """Let the run be of a voxhint that kept no record of what it made."""
    path = run / "made.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "outputs": None}))


def mask_elsewhere(run: Path) -> None:
    forget(run)
    shape = (5, 5, 5)
    write_ids(run / "masksTr" / "c1.nii.gz", np.zeros(shape, np.uint8), Grid(shape, np.eye(4)))


def mask_of_unknown_ids(run: Path) -> None:
    forget(run)
    write_ids(run / "masksTr" / "c1.nii.gz", np.full(GRID.shape, 9, np.uint8), GRID)


def lose_study(run: Path) -> None:
    of_study(run).rename(run.parent / "elsewhere")


def be_another_verb(run: Path) -> None:
    (run / "made.json").write_text(json.dumps({"verb": "label"}))


CHANGES: tuple[tuple[Callable[[Path], None], type[VoxhintError], str], ...] = (
    (rename_labels, OutputError, r"dataset\.json of its study has changed"),
    (change_image, OutputError, "imagesTr of its study has changed"),
    (add_mask, OutputError, r"masksTr/c9\.nii\.gz was not made by voxhint"),
    (change_mask, OutputError, r"masksTr/c1\.nii\.gz was changed"),
    (remove_mask, OutputError, r"masksTr/c1\.nii\.gz is gone"),
    (mask_elsewhere, BadFileError, "5 x 5 x 5 voxels where the image has 14 x 16 x 10"),
    (mask_of_unknown_ids, BadFileError, r"holds ids \[9\]"),
    (lose_study, OutputError, "not there any more"),
    (be_another_verb, OutputError, "not made by voxhint run"),
)


@pytest.mark.parametrize(("change", "error", "told"), CHANGES)
def test_nothing_of_another_day_is_handed_on(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    error: type[VoxhintError],
    told: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # of which no other test knows the study
    assert (
        len(list((export(run, to="nnunet", out=tmp_path / "good").out / "labelsTr").iterdir())) == 2
    )
    change(run)
    with pytest.raises(error, match=told):
        export(run, to="nnunet", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wanted", [3, 1])
def test_nnunet_gets_ids_without_gaps_and_a_line_of_those_that_moved(
    run: Path, tmp_path: Path, wanted: int
) -> None:
    if wanted == 1:
        study = of_study(run) / "dataset.json"
        study.write_text(study.read_text().replace('"ball": 3', '"ball": 1'))
        forget(run)
        made = json.loads((run / "made.json").read_text())
        (run / "made.json").write_text(json.dumps({**made, "inputs": {}}))
        for case in ("c0", "c1"):
            write_ids(run / "masksTr" / f"{case}.nii.gz", ball(GRID), GRID)
    done = export(run, to="nnunet", out=tmp_path / "out")
    ids, grid = read_ids(done.out / "labelsTr" / "c0.nii.gz")
    np.testing.assert_array_equal(ids, ball(GRID))
    assert grid.same(GRID)
    labels = json.loads((done.out / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "ball": 1}
    assert ["ball 1 for 3" in line for line in done.warnings] == [True] * (wanted == 3)


def test_hints_may_change_after_a_run(run: Path, tmp_path: Path) -> None:
    (of_study(run) / "hints" / "points.csv").unlink()
    assert export(run, to="nnunet", out=tmp_path / "out").out.is_dir()


def test_an_unknown_target_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRecipeError, match="'minc' is unknown"):
        export(run, to="minc", out=tmp_path / "out")


@pytest.mark.parametrize("change", [rename_labels, change_image])
def test_a_report_says_that_the_study_has_changed(
    run: Path, change: Callable[[Path], None]
) -> None:
    change(run)
    assert "changed in the study" in report(run).read_text("utf-8")


def test_images_of_other_formats_become_nifti(tmp_path: Path) -> None:
    study, run = make_study(tmp_path / "study"), tmp_path / "run"
    plain, other = sorted((study / "imagesTr").iterdir())
    wanted = {path.name: read_volume(path) for path in (plain, other)}
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(other)), str(other.with_name("c1_0000.mha")))
    other.unlink()
    (run / "masksTr").mkdir(parents=True)
    for name, volume in wanted.items():
        ids = np.zeros(volume.grid.shape, np.uint8)
        write_ids(run / "masksTr" / name.replace("_0000", ""), ids, volume.grid)
    (run / "made.json").write_text(json.dumps({"verb": "run", "study": str(study)}))

    made = export(run, to="nnunet", out=tmp_path / "out").out

    assert json.loads((made / "dataset.json").read_text())["file_ending"] == ".nii.gz"
    assert sorted(path.name for path in (made / "imagesTr").iterdir()) == sorted(wanted)
    for name, volume in wanted.items():
        told = read_volume(made / "imagesTr" / name)
        assert told.grid.same(volume.grid)
        assert np.allclose(told.voxels, volume.voxels)


ODD = re.compile(r"masksTr/c\d\.nii\.gz: (was|is) ")


def test_a_report_of_what_nobody_touched_tells_of_no_change(run: Path) -> None:
    page = report(run).read_text("utf-8")
    assert "changed in the study" not in page
    assert not ODD.search(page)


@pytest.mark.parametrize("change", [change_mask, remove_mask, add_mask])
def test_a_report_says_what_is_not_as_the_run_made_it(
    run: Path, change: Callable[[Path], None]
) -> None:
    change(run)
    assert ODD.search(report(run).read_text("utf-8"))
