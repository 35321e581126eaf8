"""What came out of a hospital goes back in, and names its patient nowhere else."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.files.series import MARK, NAMING, PATIENT, Series

from voxhint.cli.main import main
from voxhint.core.errors import BadFileError
from voxhint.files.images import read_grid, write_ids, write_probability
from voxhint.runs import study_inputs
from voxhint.verbs.export import export
from voxhint.verbs.export_source import DicomOptions
from voxhint.verbs.import_dicom import ImportRequest, import_dicom

_BY_PLACE = "its series was found by the place of the mask alone; look at it once"
UID = "1.2.826.4711"
SERIES = Series(
    uid=f"{UID}.3",
    common={
        "FrameOfReferenceUID": f"{UID}.9",
        "StudyInstanceUID": f"{UID}.2",
        "StudyDate": "20010203",
    },
)
SECRETS = [MARK, UID, "20010203", NAMING["PatientName"], NAMING["PatientBirthDate"]]


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """Return what a hospital gave, in folders named after the patient."""
    SERIES.write(tmp_path / "given" / MARK / "1")
    return tmp_path / "given"


@pytest.fixture
def run(tmp_path: Path, hospital: Path) -> Path:
    """Return a run on an import of it, with a mask and probabilities of its one case."""
    study, folder = tmp_path / "study", tmp_path / "run"
    import_dicom(hospital, study, request=ImportRequest(labels=("liver", "tumour")))
    (study / "hints" / "tags.csv").write_text("case,label,state\ncase_001,liver,present\n")
    grid = read_grid(study / "imagesTr" / "case_001_0000.nii.gz")
    ids = np.random.default_rng(0).integers(0, 3, grid.shape).astype(np.uint8)
    write_ids(folder / "masksTr" / "case_001.nii.gz", ids, grid)
    for number, label in ((1, "liver"), (2, "tumour")):
        path = folder / "masksTr" / f"case_001__{label}.nii.gz"
        write_probability(path, (ids == number).astype(np.float32) / 2, grid)
    inputs = study_inputs(study, ("dataset.json", "imagesTr", "hints"))
    made = {"verb": "run", "study": str(study), "inputs": inputs}
    (folder / "made.json").write_text(json.dumps(made))
    return folder


@pytest.mark.parametrize("target", ["dicom-seg", "rtstruct"])
def test_masks_of_an_import_go_back_to_the_patient_they_came_from(
    run: Path, hospital: Path, tmp_path: Path, target: str
) -> None:
    made = export(run, to=target, out=tmp_path / "out", dicom=DicomOptions(hospital))
    assert not made.warnings
    data = pydicom.dcmread(made.out / "case_001.dcm")
    assert (data.PatientName, data.StudyInstanceUID) == (PATIENT, f"{UID}.2")


def test_probabilities_go_back_as_a_fractional_object(
    run: Path, hospital: Path, tmp_path: Path
) -> None:
    options = DicomOptions(hospital, "fractional")
    made = export(run, to="dicom-seg", out=tmp_path / "out", dicom=options)
    data = pydicom.dcmread(made.out / "case_001.dcm")
    assert (data.SegmentationType, data.MaximumFractionalValue) == ("FRACTIONAL", 255)
    assert set(np.unique(data.pixel_array)) == {0, 128}
    (run / "masksTr" / "case_001__liver.nii.gz").unlink()
    with pytest.raises(BadFileError, match="run with --probabilities"):
        export(run, to="dicom-seg", out=tmp_path / "other", dicom=options)


def test_nothing_that_is_no_dicom_names_the_patient(
    run: Path, hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, target in enumerate(("dicom-seg", "rtstruct", "nnunet")):
        words = ["export", str(run), "--to", target, "--out", str(tmp_path / f"out{number}")]
        words += ["--dicom", str(hospital)] if target != "nnunet" else []
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
    told = "".join(capsys.readouterr())
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "given" not in path.parts]
    assert len(written) > 10
    for secret in SECRETS:
        assert secret not in told
        for path in written:
            assert secret not in str(path)
            assert secret.encode() not in path.read_bytes() or path.suffix == ".dcm"


@pytest.mark.parametrize("change", ["moved", "other values"])
def test_a_series_that_is_not_the_image_is_refused_and_nothing_is_written(
    run: Path, tmp_path: Path, change: str
) -> None:
    moved = {"origin": (-20.0, 30.25, 40.0)} if change == "moved" else {}
    tags = {number: {"RescaleSlope": 1} for number in range(6)} if not moved else {}
    other = Series(uid=UID, common=SERIES.common, tags=tags, **moved)  # type: ignore[arg-type]
    folder = other.write(tmp_path / "other")
    with pytest.raises(BadFileError, match=r"1 series"):
        export(run, to="dicom-seg", out=tmp_path / "out", dicom=DicomOptions(folder))
    assert not (tmp_path / "out").exists()


def test_an_image_of_another_format_needs_its_series_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="name the folder of its series with --dicom"):
        export(run, to="dicom-seg", out=tmp_path / "out")


def test_empty_masks_are_told_of_and_an_export_of_them_alone_is_refused(
    run: Path, hospital: Path, tmp_path: Path
) -> None:
    path = run / "masksTr" / "case_001.nii.gz"
    write_ids(path, np.zeros(read_grid(path).shape, np.uint8), read_grid(path))
    with pytest.raises(BadFileError, match="case_001: its mask is empty"):
        export(run, to="rtstruct", out=tmp_path / "out", dicom=DicomOptions(hospital))


@pytest.mark.parametrize("target", ["dicom-seg", "rtstruct", "seg-nrrd"])
def test_masks_of_a_prediction_go_back_without_a_run(
    run: Path, hospital: Path, tmp_path: Path, target: str
) -> None:
    masks = run / "masksTr"
    made = {"verb": "predict", "labels": {"background": 0, "liver": 1, "tumour": 2}}
    (masks / "made.json").write_text(json.dumps(made))
    done = export(masks, to=target, out=tmp_path / "out", dicom=DicomOptions(hospital))
    names = {"seg-nrrd": "case_001.seg.nrrd"}
    assert (done.out / names.get(target, "case_001.dcm")).is_file()
    if target == "seg-nrrd":
        return
    assert done.warnings == ("case_001: " + _BY_PLACE,)
    run_made = export(run, to=target, out=tmp_path / "of-run", dicom=DicomOptions(hospital)).out
    one, other = (pydicom.dcmread(path / "case_001.dcm") for path in (done.out, run_made))
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert one.get("PixelData") == other.get("PixelData")
    Series(uid=f"{UID}.7", common=SERIES.common).write(hospital / "twin")
    with pytest.raises(BadFileError, match="2 series lie where the mask does"):
        export(masks, to=target, out=tmp_path / "two", dicom=DicomOptions(hospital))
