"""Names as macOS writes them and headers with two places, from hints to scores."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.phantoms import make_study

from voxhint.config import LabelConfig, Machine, MeasureConfig, PredictConfig, Recipe, TrainConfig
from voxhint.files.atomic import MADE
from voxhint.runs import read_made
from voxhint.verbs.measure import measure
from voxhint.verbs.predict import predict
from voxhint.verbs.run import run

PARTED, JOINED = (unicodedata.normalize(form, "Müller") for form in ("NFD", "NFC"))
SHIFT = np.array([4.0, -3.0, 2.0])  # mm from the one place to the other
PLACE = ("qform_code", "sform_code", "qoffset_x", "qoffset_y", "qoffset_z", "quatern_b",
         "quatern_c", "quatern_d", "srow_x", "srow_y", "srow_z")  # fmt: skip
HOW = Machine(threads=1, device="cpu")
nifti: Any = nib


def moved(path: Path, target: Path) -> None:
    """Write an image again whose qform lies elsewhere than its sform."""
    image = nifti.load(path)
    other = image.affine.copy()
    other[:3, 3] += SHIFT
    made = nifti.Nifti1Image(np.asarray(image.dataobj), image.affine)
    made.set_qform(other, code=1)
    made.set_sform(image.affine, code=2)
    path.unlink()
    nifti.save(made, target)


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a study of decomposed names for images and composed ones elsewhere, and its run."""
    study = make_study(tmp_path_factory.mktemp("names") / "study", tests=2)
    moved(study / "imagesTr" / "c0_0000.nii.gz", study / "imagesTr" / f"{PARTED}_0000.nii.gz")
    moved(study / "imagesTs" / "t0_0000.nii.gz", study / "imagesTs" / f"{PARTED}t_0000.nii.gz")
    (study / "labelsTs" / "t0.nii.gz").rename(study / "labelsTs" / f"{JOINED}t.nii.gz")
    points = study / "hints" / "points.csv"
    points.write_text(points.read_text("utf-8").replace("c0,", f"{JOINED},"), "utf-8")
    recipe = Recipe(
        label=LabelConfig(cross_case=False),
        train=TrainConfig(steps=2, width=4, patch_voxels=4000),
    )
    out = study.parent / "run"
    run(study, out, recipe=recipe, machine=HOW, hinted_masks=True)
    return study, out


def one(folder: Path, part: str) -> Path:
    (path,) = folder.glob(f"M*{part}")
    return path


def test_a_mask_lies_where_every_tool_lays_its_image(worked: tuple[Path, Path]) -> None:
    study, out = worked
    for images, masks in (("imagesTr", "masksTr"), ("imagesTs", "masks")):
        image, mask = one(study / images, "_0000.nii.gz"), one(out / masks, ".nii.gz")
        header, other = nifti.load(image).header, nifti.load(mask).header
        assert [header[key].tolist() for key in PLACE] == [other[key].tolist() for key in PLACE]
    told = [warning for warning in read_made(out)["warnings"] if "5.39 mm" in warning]
    assert told, read_made(out)["warnings"]


def test_names_that_look_alike_are_one_case_all_the_way(
    worked: tuple[Path, Path], tmp_path: Path
) -> None:
    study, out = worked
    rows = json.loads((out / "scores.json").read_text("utf-8"))["cases"]
    assert sorted(unicodedata.normalize("NFC", row["case"]) for row in rows) == [f"{JOINED}t", "t1"]
    masks = predict(
        out, study / "imagesTs", tmp_path / "masks", config=PredictConfig(), machine=HOW
    )
    name = one(masks, ".nii.gz")
    assert name.read_bytes() == one(out / "masks", ".nii.gz").read_bytes()
    truth = study / "labelsTs"
    table = measure(masks, truth, config=MeasureConfig())
    assert table.labels["ball"].dice.n == 2
    assert (masks / MADE).is_file()
