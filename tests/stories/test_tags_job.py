"""Tags alone, from the study folder to masks: what a person who only says yes or no is promised."""

import csv
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.stories.commands import tree

from voxhint.cli import main
from voxhint.files.images import read_ids
from voxhint.verbs.phantom_study import write_phantom_study

SMALL = (
    "--set", "label.classifier.steps=4", "--steps", "3", "--width", "4", "--patch-voxels", "8000",
    "--threads", "1", "--set", "label.tags.weights=none",
)  # fmt: skip
CLASSIFIER = ("plan.json", "weights.safetensors", "classifier.json")


def states(study: Path) -> dict[str, str]:
    """Return what the study says of each training case."""
    with (study / "hints" / "tags.csv").open() as file:
        return {row["case"]: row["state"] for row in csv.DictReader(file)}


def write_tags(study: Path, *rows: str) -> None:
    lines = ["case,label,state,z_min,z_max", *rows]
    (study / "hints" / "tags.csv").write_text("\n".join(lines) + "\n")


def run(study: Path, out: Path, *knobs: str) -> tuple[object, str, str]:
    """Run the main job in this process, with every shape checked.

    Returns:
        The exit code, and what was written to standard output and standard error.
    """
    told, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(told), redirect_stderr(errors), pytest.raises(SystemExit) as end:
        main(["run", str(study), "--out", str(out), "--hinted-masks", *SMALL, *knobs])
    return end.value.code, told.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lung") / "study"
    write_phantom_study(folder, kind="lung", cases=6, test_cases=2)
    return folder


@pytest.fixture(scope="module")
def run_folder(study: Path) -> Path:
    out = study.parent / "run"
    code, told, errors = run(study, out)
    assert code == 0, errors
    assert told.splitlines()[-1] == str(out / "report.html")
    return out


def test_masks_of_a_study_of_tags_lie_on_the_source_grid(study: Path, run_folder: Path) -> None:
    for images, masks, count in (("imagesTr", "masksTr", 6), ("imagesTs", "masks", 2)):
        found = list((run_folder / masks).glob("*.nii.gz"))
        assert len(found) == count
        for path in found:
            mask = nib.load(path)
            image = nib.load(study / images / path.name.replace(".nii.gz", "_0000.nii.gz"))
            assert isinstance(mask, nib.Nifti1Image)
            assert isinstance(image, nib.Nifti1Image)
            assert mask.shape == image.shape
            np.testing.assert_array_equal(mask.affine, image.affine)


def test_an_image_tagged_absent_has_an_empty_mask(study: Path, run_folder: Path) -> None:
    absent = [case for case, state in states(study).items() if state == "absent"]
    assert absent
    for case in absent:
        assert not read_ids(run_folder / "masksTr" / f"{case}.nii.gz")[0].any()


def test_an_image_tagged_present_is_labelled_somewhere_and_not_everywhere(
    study: Path, run_folder: Path
) -> None:
    present = [case for case, state in states(study).items() if state == "present"]
    for case in present:
        path = run_folder / "labels" / f"{case}__nodule.nii.gz"
        believed = np.asarray(nib.load(path).dataobj) > 0.5  # type: ignore[attr-defined]
        assert believed.any()
        assert not believed.all()


def test_the_predictor_is_kept_with_the_labels_and_with_the_model(run_folder: Path) -> None:
    for name in CLASSIFIER:
        first, second = (
            run_folder / folder / "classifier" / name for folder in ("labels/nets", "model")
        )
        assert first.read_bytes() == second.read_bytes()
    facts = json.loads((run_folder / "model/classifier/classifier.json").read_text())["facts"]
    assert facts["nodule"]["auc"]["positives"] > 0
    assert "tagged absent" in (run_folder / "report.html").read_text()


def test_masks_are_empty_where_the_predictor_says_absent(study: Path, run_folder: Path) -> None:
    with (run_folder / "masks" / "classification.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == sorted(
        path.name.removesuffix("_0000.nii.gz") for path in (study / "imagesTs").iterdir()
    )
    for row in rows:
        likely, least = float(row["probability"]), float(row["threshold"])
        assert 0 <= likely <= 1
        assert row["in_mask"] == ("allowed" if likely >= least else "ruled out")
        if row["in_mask"] == "ruled out":
            assert not read_ids(run_folder / "masks" / f"{row['case']}.nii.gz")[0].any()


def test_the_same_command_again_changes_nothing(study: Path, run_folder: Path) -> None:
    before = tree(run_folder)
    times = {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")}
    code, told, errors = run(study, run_folder)
    assert code == 0, errors
    assert told.splitlines()[-1] == str(run_folder / "report.html")
    assert tree(run_folder) == before
    assert {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")} == times


def test_tags_of_one_state_are_refused_in_one_line(tmp_path: Path) -> None:
    study = tmp_path / "study"
    write_phantom_study(study, kind="lung", cases=2, test_cases=0)
    write_tags(study, *(f"{case},nodule,present,," for case in states(study)))
    code, _, errors = run(study, tmp_path / "run")
    assert code == 1
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert "tagged absent" in line
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
def test_tags_of_slices_run_through_and_absent_slices_stay_empty(tmp_path: Path) -> None:
    study = tmp_path / "study"
    write_phantom_study(study, kind="lung", cases=4, test_cases=1)
    rows, halves = [], {}
    for case, state in states(study).items():
        ids, grid = read_ids(study / "denseTr" / f"{case}.nii.gz")
        low, step, count = grid.affine[2, 3], grid.affine[2, 2], ids.shape[2]
        half = count // 2
        cut = low + step * (half - 0.5)
        rows.append(f"{case},nodule,{state},{low - step},{cut}")
        rows.append(f"{case},nodule,absent,{cut},{low + step * count}")
        halves[case] = half if state == "present" else 0
    write_tags(study, *rows)
    code, _, errors = run(study, tmp_path / "run")
    assert code == 0, errors
    for case, half in halves.items():
        assert not read_ids(tmp_path / "run" / "masksTr" / f"{case}.nii.gz")[0][..., half:].any()
    facts = json.loads((tmp_path / "run/model/classifier/classifier.json").read_text())["facts"]
    assert facts["nodule"]["auc"] is None  # no image is tagged as a whole


@pytest.mark.slow
def test_every_way_to_choose_regions_runs_through(tmp_path: Path) -> None:
    study = tmp_path / "study"
    write_phantom_study(study, kind="lung", cases=4, test_cases=1)
    maps = ("--set", 'label.tags.fuse=["grad-cam++"]', "--set", "label.tags.verify=true")
    choice = ("--set", "label.tags.regions=2", "--set", "label.tags.largest_mm=40")
    code, _, errors = run(study, tmp_path / "run", *maps, *choice)
    if "no hint shows where" not in errors:  # a classifier of four steps may convince nobody
        assert code == 0, errors
    nets = tmp_path / "run" / "labels" / "nets"
    first, second = (
        (nets / name / CLASSIFIER[1]).read_bytes() for name in ("classifier", "verifier")
    )
    assert first != second
