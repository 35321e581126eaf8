"""One command takes what a hospital gave and makes a mask of it, and an object to send back."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from tests.files.series import MARK, PATIENT, Series
from tests.models.untrained import untrained_model
from tests.phantoms import scan, slanted_grid
from tests.training.scenes import plan

from voxhint.cli.main import main
from voxhint.core import LabelSet
from voxhint.files.images import read_grid, read_ids, read_probability, write_image
from voxhint.models.folder import network_of
from voxhint.nets import weights_bytes

PLAN = replace(
    plan(),
    labels=LabelSet(("background", "liver"), (0, 1)),
    strides=((1, 1, 1), (2, 2, 2)),
    kernels=((3, 3, 3), (3, 3, 3)),
    features=(4, 8),
)
SERIES = Series(common={"FrameOfReferenceUID": "1.2.9"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return untrained_model(tmp_path / "model", PLAN)


def called(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--device", "cpu"])
    return int(ended.value.code or 0)


def test_a_series_its_zip_and_its_frames_in_one_file_give_one_mask(
    model: Path, tmp_path: Path
) -> None:
    folder = SERIES.write(tmp_path / "given" / MARK / "deep")
    packed = shutil.make_archive(str(tmp_path / "given" / MARK), "zip", tmp_path / "given")
    frames = tmp_path / "given" / "frames.dcm"
    SERIES.enhanced().save_as(frames, enforce_file_format=True)
    masks = []
    for number, given in enumerate((folder, packed, frames)):
        out = tmp_path / f"out{number}"
        assert called("predict", model, given, "--out", out) == 0
        ids, grid = read_ids(out / "case_001.nii.gz")
        assert grid.same(read_grid(folder))
        masks.append(ids)
        for path in out.rglob("*"):
            assert MARK.encode() not in path.read_bytes()
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_images_need_no_channel_number_where_the_model_knows_one_channel(
    model: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.nii.gz", scan(slanted_grid(), 0))
    alone = tmp_path / "images" / "a.nii.gz"
    assert called("predict", model, alone) == 0
    assert (tmp_path / "images" / "a-masks" / "a.nii.gz").is_file()
    shutil.rmtree(tmp_path / "images" / "a-masks")
    assert called("predict", model, tmp_path / "images", "--out", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == [
        "a.nii.gz",
        "b.nii.gz",
    ]


def test_objects_of_the_patient_lie_beside_the_mask(model: Path, tmp_path: Path) -> None:
    folder, out = SERIES.write(tmp_path / "series"), tmp_path / "out"
    made = []
    for target in ("dicom-seg", "rtstruct", "dicom-seg"):
        assert called("predict", model, folder, "--out", out, "--to", target) == 0
        path = out / f"case_001.{target.removeprefix('dicom-')}.dcm"
        assert path.name in json.loads((out / "made.json").read_text())["outputs"]
        made.append(pydicom.dcmread(path))
    assert [one.Modality for one in made] == ["SEG", "RTSTRUCT", "SEG"]
    assert {str(one.PatientName) for one in made} == {PATIENT}
    assert made[0].SOPInstanceUID == made[2].SOPInstanceUID  # what is there is left alone


def test_an_empty_mask_has_no_object_and_a_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = SERIES.write(tmp_path / "series"), tmp_path / "out"
    net = network_of(PLAN)
    for weight in net.parameters():
        torch.nn.init.zeros_(weight)  # all classes alike, so background
    (model / "weights.safetensors").write_bytes(weights_bytes(net))
    assert called("predict", model, folder, "--out", out, "--to", "rtstruct") == 0
    assert "warning: case_001: its mask is empty" in capsys.readouterr().out
    assert not (out / "case_001.rtstruct.dcm").exists()


def test_what_cannot_be_sent_back_is_refused_before_it_is_predicted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.nii.gz", scan(slanted_grid(), 0))
    words = ("--out", tmp_path / "out", "--to", "dicom-seg")
    assert called("predict", model, tmp_path / "a.nii.gz", *words) == 1
    assert "case a is no DICOM series" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("content", "told"), [(b"PK\x05\x06", "is damaged"), (b"", "is damaged")])
def test_a_damaged_zip_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, told: str
) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert called("predict", model, tmp_path / "x.zip", "--out", tmp_path / "out") == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "error" in one]
    assert told in line


def test_probabilities_go_into_the_object_where_they_are_asked_for(
    model: Path, tmp_path: Path
) -> None:
    folder, out = SERIES.write(tmp_path / "series"), tmp_path / "out"
    words = ("--out", out, "--to", "dicom-seg", "--probabilities")
    assert called("predict", model, folder, *words) == 0
    made = pydicom.dcmread(out / "case_001.seg.dcm")
    assert (made.SegmentationType, made.MaximumFractionalValue) == ("FRACTIONAL", 255)
    chances, _ = read_probability(out / "case_001__liver.nii.gz")
    heights = [
        float(one.PlanePositionSequence[0].ImagePositionPatient[2])
        for one in made.PerFrameFunctionalGroupsSequence
    ]
    stored = made.pixel_array.reshape(-1, 5, 4)[np.argsort(heights)] / 255
    kept = chances.transpose(2, 1, 0)[(np.sort(heights) - 40) / 2.5 == np.arange(len(heights))]
    np.testing.assert_allclose(stored, kept, atol=0.003)
