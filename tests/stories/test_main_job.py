import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.phantoms import LABELS, make_study
from tests.stories.commands import voxhint

from voxhint.core import Volume
from voxhint.files.images import write_ids, write_image
from voxhint.prepare import resample
from voxhint.simulate.abdomen_phantom import ORGANS, organ_case

SMALL = ("--steps", "3", "--width", "4", "--patch-voxels", "2000", "--threads", "1")


def _load(path: Path) -> nib.Nifti1Image:
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return image


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(
        tmp_path_factory.mktemp("phantom") / "study",
        hints=("points", "scribbles", "boxes", "slices"),
        tests=2,
        channels=("CT", "MR"),
        dense=True,
    )


@pytest.fixture(scope="module")
def run_folder(study: Path) -> Path:
    out = study.parent / "run"
    done = voxhint("run", study, "--out", out, "--hinted-masks", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out / "report.html")
    return out


def test_a_run_leaves_everything_the_contract_names(study: Path, run_folder: Path) -> None:
    made = json.loads((run_folder / "made.json").read_text())
    assert made["verb"] == "run"
    assert made["config"]["train"]["steps"] == 3
    assert {"label", "train", "predict", "measure"} <= made["seconds"].keys()
    assert set(made["hints"]) == {"points", "boxes", "scribbles", "slices"}
    assert "research use" in (run_folder / "report.html").read_text().lower()
    assert {p.name for p in (run_folder / "masks").glob("*.nii.gz")} == {
        p.name for p in (study / "labelsTs").glob("*.nii.gz")
    }
    assert len(list((run_folder / "masksTr").glob("*.nii.gz"))) == 2
    hidden = [path.name for path in run_folder.rglob(".*")]
    assert hidden == [".state.ckpt"]  # to train longer; nothing else hidden is left behind


def test_masks_lie_on_the_first_channels_grid_exactly(study: Path, run_folder: Path) -> None:
    for mask in (run_folder / "masks").glob("*.nii.gz"):
        stem = mask.name.removesuffix(".nii.gz")
        image = _load(study / "imagesTs" / f"{stem}_0000.nii.gz")
        made = _load(mask)
        assert made.shape == image.shape
        np.testing.assert_array_equal(made.affine, image.affine)


def test_masks_of_hinted_images_respect_drawn_slices(study: Path, run_folder: Path) -> None:
    drawn_files = list((study / "hints" / "slices").glob("*.nii.gz"))
    assert drawn_files
    for drawn_file in drawn_files:
        drawn = np.asarray(_load(drawn_file).dataobj)
        mask = np.asarray(_load(run_folder / "masksTr" / drawn_file.name).dataobj)
        np.testing.assert_array_equal(mask[drawn != 255], drawn[drawn != 255])


def test_predict_alone_gives_the_masks_of_the_run_and_more_on_request(
    study: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks"
    extra = ("--probabilities", "--uncertainty", "--threads", "1")
    done = voxhint("predict", run_folder, study / "imagesTs", "--out", out, *extra)
    assert done.returncode == 0, done.stderr
    for mask in (run_folder / "masks").glob("*.nii.gz"):
        assert (out / mask.name).read_bytes() == mask.read_bytes()
        stem = mask.name.removesuffix(".nii.gz")
        for name in (*LABELS.foreground, "uncertainty"):
            values = np.asarray(_load(out / f"{stem}__{name}.nii.gz").dataobj)
            assert values.min() >= 0
            assert values.max() <= 1


def test_measure_compares_two_sets_of_masks(study: Path, run_folder: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    words = (study / "labelsTs", study / "labelsTs", "--out", scores)
    done = voxhint("measure", *words, "--compare", run_folder / "masks")
    assert done.returncode == 0, done.stderr
    table = json.loads(scores.read_text())
    assert all(row["dice"] in (1.0, None) for row in table["cases"])
    assert table["compare"] is not None
    again = voxhint("measure", *words)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr


def test_nnunet_export_is_a_study_that_check_accepts(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "Dataset001"
    done = voxhint("export", run_folder, "--to", "nnunet", "--out", out)
    assert done.returncode == 0, done.stderr
    checked = voxhint("check", out)
    assert checked.returncode == 0, checked.stdout


def test_a_dry_run_tells_time_and_memory_and_writes_nothing(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = voxhint("run", study, "--out", out, "--dry-run", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "GiB" in done.stdout
    assert "3 steps" in done.stdout
    assert not out.exists()


def test_a_dry_prediction_writes_nothing(study: Path, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    done = voxhint("predict", run_folder, study / "imagesTs", "--out", out, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "predicting: 2 cases" in done.stdout
    assert not out.exists()


def test_misuse_exits_2_and_a_bad_study_exits_1_in_one_line(tmp_path: Path) -> None:
    assert voxhint("run").returncode == 2
    assert voxhint("walk").returncode == 2
    done = voxhint("run", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_typo_in_a_recipe_is_refused_by_name(study: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[train]\nstep = 4\n")
    done = voxhint("run", study, "--out", tmp_path / "out", "--config", recipe)
    assert done.returncode == 1
    assert "train.step" in done.stderr


def test_dense_supervision_runs_without_any_hint(study: Path, tmp_path: Path) -> None:
    plain = tmp_path / "study"
    plain.mkdir()
    for name in ("dataset.json", "imagesTr", "denseTr", "imagesTs"):
        (plain / name).symlink_to(study / name)
    out = tmp_path / "run"
    done = voxhint("run", plain, "--out", out, "--supervision", "dense", *SMALL)
    assert done.returncode == 0, done.stderr
    assert len(list((out / "masks").glob("*.nii.gz"))) == 2
    assert not (out / "labels").exists()


def test_a_foreign_folder_is_never_written_into(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for words in ((), ("--overwrite",)):
        done = voxhint("label", study, "--out", out, *words)
        assert done.returncode == 1
        assert "we did not make" in done.stderr
    assert (out / "thesis.txt").read_text() == "years of work"


def test_channels_on_different_grids_and_strokes_on_the_second_are_carried_over(
    tmp_path: Path,
) -> None:
    case = organ_case(np.random.default_rng(0), name="a", shape=(40, 32, 20))
    first = case.images["CT"].grid
    other = first.spaced(first.spacing_mm * 2)
    study = tmp_path / "study"

    coarse = Volume(resample(case.images["MR"].voxels, first, other), other)
    (study / "imagesTr").mkdir(parents=True)
    write_image(study / "imagesTr" / "a_0000.nii.gz", case.images["CT"])
    write_image(study / "imagesTr" / "a_0001.nii.gz", coarse)
    description = {
        "channel_names": {"0": "CT", "1": "MR"},
        "labels": dict(zip(ORGANS.names, ORGANS.ids, strict=True)),
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (study / "dataset.json").write_text(json.dumps(description))
    drawn = np.full(other.shape, 255, np.uint8)
    drawn[:, :, 4] = 0
    drawn[4:8, 4:8, 4] = 1
    write_ids(study / "hints" / "slices" / "a.nii.gz", drawn, other)
    done = voxhint("run", study, "--out", tmp_path / "run", *SMALL)
    assert done.returncode == 0, done.stderr
    mask = _load(tmp_path / "run" / "masksTr" / "a.nii.gz")
    assert mask.shape == first.shape
