"""Slices of several scans in one folder are parted, told or refused: never stacked in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from tests.files.series import MARK, Series
from tests.files.test_dicom_series import require_in_place

from voxhint.core.errors import BadFileError
from voxhint.files import read_volume
from voxhint.files.dicom.read_series import open_series, read_series
from voxhint.files.images import image_warnings
from voxhint.verbs.import_dicom import import_dicom

HALFWAY = tuple(1.5 * number for number in range(12))
"""Two scans of six slices, the second half a gap above the first."""

TWICE = tuple(3.0 * (number // 2) for number in range(12))
"""Two scans of six slices in the same places."""

MR: dict[str, Any] = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ORIGINAL = ["ORIGINAL", "PRIMARY"]


def mixed(
    heights: tuple[float, ...], first: dict[str, Any], second: dict[str, Any], **common: Any
) -> Series:
    """Return slices that are of one scan and of the other in turn."""
    tags = {number: dict(second if number % 2 else first) for number in range(len(heights))}
    return Series(heights=heights, tags=tags, common=common)


def save(series: Series, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(series.heights)):
        series.slice(number).save_as(folder / f"IM{number}", enforce_file_format=True)
    return folder


CT_PARTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AcquisitionNumber": ({"AcquisitionNumber": 300}, {"AcquisitionNumber": 301}),
    "AcquisitionTime": ({"AcquisitionTime": "120000"}, {"AcquisitionTime": "120130"}),
    "TriggerTime": ({"TriggerTime": 0}, {"TriggerTime": 400}),
    "SliceThickness": ({"SliceThickness": 1}, {"SliceThickness": 5}),
    "ConvolutionKernel": ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
    "SeriesDescription": ({"SeriesDescription": "native"}, {"SeriesDescription": MARK}),
    "ContrastBolusAgent": ({"ContrastBolusAgent": ""}, {"ContrastBolusAgent": MARK}),
    "SeriesNumber": ({"SeriesNumber": 2}, {"SeriesNumber": 3}),
    "AcquisitionDate": ({"AcquisitionDate": "20200101"}, {"AcquisitionDate": "20210101"}),
    "KVP": ({"KVP": 80}, {"KVP": 140}),
    "TemporalPositionIdentifier": (
        {"TemporalPositionIdentifier": 1},
        {"TemporalPositionIdentifier": 2},
    ),
}
MR_PARTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "EchoTime": ({"EchoTime": 2.3}, {"EchoTime": 4.6}),
    "EchoNumbers": ({"EchoNumbers": 1}, {"EchoNumbers": 2}),
    "ImageType": ({"ImageType": [*ORIGINAL, "M"]}, {"ImageType": [*ORIGINAL, "P"]}),
    "ComplexImageComponent": (
        {"ComplexImageComponent": "MAGNITUDE"},
        {"ComplexImageComponent": "PHASE"},
    ),
    "DiffusionBValue": ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}),
    "FlipAngle": ({"FlipAngle": 5}, {"FlipAngle": 20}),
}


@pytest.mark.parametrize("heights", [HALFWAY, TWICE])
@pytest.mark.parametrize("trait", [*CT_PARTED, *MR_PARTED])
def test_two_scans_are_parted_by_what_they_differ_in(
    tmp_path: Path, trait: str, heights: tuple[float, ...]
) -> None:
    mr = trait in MR_PARTED
    series = mixed(heights, *(MR_PARTED if mr else CT_PARTED)[trait], **(MR if mr else {}))
    folder = save(series, tmp_path / "in")
    with pytest.raises(
        BadFileError, match=rf"2 stacks .*differ in {trait}\W.*voxhint import"
    ) as why:
        read_series(folder)
    made = import_dicom(folder, tmp_path / "out")
    assert made.told.startswith("2 ")
    assert sum(f"{trait} " in line for line in made.warnings) == 2
    told = "\n".join([str(why.value), *made.warnings])
    assert not any(secret in told for secret in (MARK, "native", "1200", "2020"))


def test_two_scans_numbered_one_after_the_other_are_parted(tmp_path: Path) -> None:
    tags = {number: {"InstanceNumber": number // 2 + 6 * (number % 2)} for number in range(12)}
    for number, heights in enumerate((HALFWAY, TWICE)):
        series = Series(heights=heights, tags=dict(tags))
        made = import_dicom(save(series, tmp_path / str(number)), tmp_path / f"out{number}")
        assert made.told.startswith("2 ")
    halfway = Series(heights=HALFWAY, tags=dict(tags), common=MR)
    (told,) = image_warnings(save(halfway, tmp_path / "mr"))  # MR may measure so
    assert "InstanceNumber (2 passes)" in told


def test_heart_phases_are_parted_though_no_two_beats_are_alike(tmp_path: Path) -> None:
    tags = {n: {"TriggerTime": 400 * (n % 2) + n // 2, "InstanceNumber": n} for n in range(12)}
    folder = save(Series(heights=TWICE, tags=tags, common=MR), tmp_path / "in")
    assert import_dicom(folder, tmp_path / "out").told.startswith("2 ")


def test_echoes_in_magnitude_and_phase_are_four_cases_each_named(tmp_path: Path) -> None:
    kinds = [(echo, part) for echo in (1, 2) for part in "MP"]
    tags: dict[int, dict[str, Any]] = {
        number: {
            "EchoTime": 2.3 * kinds[number % 4][0],
            "ImageType": [*ORIGINAL, kinds[number % 4][1]],
        }
        for number in range(16)
    }
    heights = tuple(3.0 * (number // 4) for number in range(16))
    made = import_dicom(
        save(Series(heights=heights, tags=tags, common=MR), tmp_path / "in"), tmp_path / "out"
    )
    assert made.told.startswith("4 ")
    told = "\n".join(made.warnings)
    for _, part in kinds:
        assert f"ImageType {part}, EchoTime 2.3" in told


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "another patient's id": ({"PatientID": "other"}, "differ in patient;"),
    "another patient's name": ({"PatientName": "Other^One"}, "differ in patient;"),
    "another birthday": ({"PatientBirthDate": "19000101"}, "differ in patient;"),
    "another echo": ({"EchoTime": 4.6, **MR}, r"differ in EchoTime \((none, 4.6|4.6, none)\);"),
    "phase": ({"ImageType": [*ORIGINAL, "P"], **MR}, r"differ in ImageType"),
    "fewer rows": ({"Rows": 4, "PixelData": b"\0" * 32}, "1 of 4 x 4"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("place", [0, 3])
def test_a_slice_of_something_else_is_never_stacked(tmp_path: Path, kind: str, place: int) -> None:
    tags, said = ODD[kind]
    common = {tag: value for tag, value in MR.items() if tag in tags}
    folder = save(Series(tags={place: tags}, common=common), tmp_path / "in")
    with pytest.raises(BadFileError, match=said) as caught:
        read_series(folder)
    assert "Other" not in str(caught.value)
    made = import_dicom(folder, tmp_path / "out")
    assert made.told.startswith("1 ")
    said = said.removeprefix("differ in ").split()[0].strip(";")
    aside = next(line for line in made.warnings if "is set aside: 1 slice alone" in line)
    assert f"({said} " in aside or said == "1"


def test_a_slice_of_another_acquisition_is_told_of(tmp_path: Path) -> None:
    tags: dict[int, dict[str, Any]] = {
        n: {"AcquisitionNumber": 2 if n == 3 else 1} for n in range(6)
    }
    (told,) = image_warnings(save(Series(tags=tags), tmp_path / "s"))
    assert "AcquisitionNumber (1 in 5, 2 in 1)" in told


@pytest.mark.parametrize(
    "tags", [{"StudyInstanceUID": "9.9"}, {"PixelRepresentation": 0}, {"PatientPosition": "FFS"}]
)
def test_a_slice_that_differs_in_what_scans_share_is_told_of(
    tmp_path: Path, tags: dict[str, Any]
) -> None:
    (told,) = image_warnings(save(Series(tags={3: tags}), tmp_path / "s"))
    assert f"differ in {next(iter(tags))} (" in told
    assert "9.9" not in told


def test_blocks_of_ct_may_be_of_other_types(tmp_path: Path) -> None:
    """As where rows of the detector are added up below, and not above."""
    tags = {n: {"ImageType": [*ORIGINAL, "AXIAL", "ADD"], "SliceThickness": 4} for n in range(3)}
    assert image_warnings(save(Series(tags=tags), tmp_path / "s")) == ()


def test_measured_values_that_differ_by_rounding_are_one(tmp_path: Path) -> None:
    tags: dict[int, dict[str, Any]] = {n: {"EchoTime": 2.46 + 0.001 * n} for n in range(6)}
    assert image_warnings(save(Series(tags=tags, common=MR), tmp_path)) == ()


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_slices_that_each_have_a_time_of_their_own_are_one_scan(
    tmp_path: Path, modality: str
) -> None:
    tags: dict[int, dict[str, Any]] = {
        n: {"AcquisitionTime": f"1200{n:02}", "AcquisitionNumber": n, "InstanceNumber": 9 - n}
        for n in range(6)
    }
    assert image_warnings(save(Series(tags=tags, common={"Modality": modality}), tmp_path)) == ()


@pytest.mark.parametrize("number", [None, 6])
def test_mosaics_are_refused_by_name(tmp_path: Path, number: int | None) -> None:
    series = Series(common=MR if number else {**MR, "ImageType": [*ORIGINAL, "M", "MOSAIC"]})
    for place in range(6):
        data = series.slice(place)
        if number:
            data.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", number)
        data.save_as(tmp_path / f"{place}", enforce_file_format=True)
    with pytest.raises(BadFileError, match=r"Siemens mosaic.*dcm2niix"):
        read_series(tmp_path)


@pytest.mark.parametrize("tag", ["FrameOfReferenceUID", "SeriesInstanceUID", "PatientID"])
def test_a_uid_that_is_new_in_every_file_parts_nothing(tmp_path: Path, tag: str) -> None:
    series = Series(tags={number: {tag: f"1.2.9.{number}"} for number in range(6)})
    folder = save(series, tmp_path / "in")
    require_in_place(series, *read_series(folder))
    (told,) = image_warnings(folder)
    assert "each of 6 slices has a" in told
    assert import_dicom(folder, tmp_path / "out").told.startswith("1 ")


def test_patients_who_differ_in_some_slices_or_have_scans_of_their_own_stay_apart(
    tmp_path: Path,
) -> None:
    """One series of three patients is a mistake; slices of three scans are no image."""
    some = Series(tags={number: {"PatientID": f"p{number // 2}"} for number in range(6)})
    own = {n: {"PatientID": f"p{n}", "SeriesInstanceUID": f"1.2.9.{n}"} for n in range(6)}
    for number, series in enumerate((some, Series(tags=own))):
        with pytest.raises(BadFileError, match="differ in patient"):
            read_series(save(series, tmp_path / f"{number}"))


def test_series_of_one_slice_each_that_are_numbered_apart_stay_apart(tmp_path: Path) -> None:
    tags = {n: {"SeriesInstanceUID": f"1.2.9.{n}", "SeriesNumber": n} for n in range(6)}
    with pytest.raises(BadFileError, match=r"6 stacks .* differ in series"):
        read_series(save(Series(tags=tags), tmp_path / "in"))


def test_folders_below_are_one_image_with_those_above(tmp_path: Path) -> None:
    series = Series()
    save(series, tmp_path / "DICOM" / "S1")
    for number in range(3):
        (tmp_path / "DICOM" / "S1" / f"IM{number}").rename(tmp_path / f"IM{number}")
    require_in_place(series, *read_series(tmp_path))
    assert image_warnings(tmp_path) == ()


def test_what_browsers_and_discs_leave_beside_slices_is_passed_over(tmp_path: Path) -> None:
    folder = save(Series(), tmp_path)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "DICOMDIR", "report.pdf", "README"):
        (folder / name).write_bytes(b"what is this? " * 20)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "IM9").write_bytes(bytes(200))
    (folder / "viewer.exe").write_bytes(b"MZ\0\0" * 50)
    assert read_series(folder)[0].shape == (4, 5, 6)
    assert image_warnings(folder) == ("holds files that are left out (2 no DICOM); remove them",)


@pytest.mark.parametrize("content", [b"", bytes(400)])
def test_what_is_called_like_the_slices_and_holds_none_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    folder = save(Series(), tmp_path)
    (folder / "IM5").write_bytes(content)
    with pytest.raises(BadFileError, match=r"IM5: is (empty|no DICOM).*copy it again, or remove"):
        read_series(folder)


def test_pictures_that_know_where_they_lie_are_slices(tmp_path: Path) -> None:
    """As SimpleITK writes where nobody told it the modality."""
    common = {"SOPClassUID": CAPTURE, "Modality": None, "PixelSpacing": None}
    series = Series(common={**common, "NominalScannedPixelSpacing": [0.75, 0.5]})
    folder = save(series, tmp_path / "in")
    require_in_place(series, *read_series(folder))
    made = import_dicom(folder, tmp_path / "out")
    assert made.told.startswith("1 OT case ")
    assert any("name the channel CT in dataset.json" in line for line in made.warnings)


@pytest.mark.parametrize("name", ["Computed Radiography", "Ultrasound"])
def test_images_of_another_kind_without_a_place_are_left_out(tmp_path: Path, name: str) -> None:
    uid = {"Computed Radiography": "1", "Ultrasound": "6.1"}[name]
    other = {"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{uid}", "SeriesInstanceUID": "1.2.8"}
    series = Series(tags={5: {**other, "ImagePositionPatient": None}})
    (told,) = image_warnings(save(series, tmp_path / "in"))
    assert f"1 no slice ({name} Image Storage), without ImagePositionPatient" in told
    alone = Series(common={**other, "ImagePositionPatient": None})
    with pytest.raises(
        BadFileError, match=rf"holds 0 DICOM slices .* 6 files \(6 no slice \({name}"
    ):
        read_series(save(alone, tmp_path / "alone"))


@pytest.mark.parametrize("below", [True, False])
def test_a_private_copy_of_a_position_is_not_believed(tmp_path: Path, below: bool) -> None:
    series = Series()
    data = series.enhanced()
    for frame in data.PerFrameFunctionalGroupsSequence:
        copy = Dataset()
        copy.ImagePositionPatient = [
            0,
            0,
            float(frame.PlanePositionSequence[0].ImagePositionPatient[2]),
        ]
        copy.PixelSpacing, copy.RescaleSlope = [9, 9], 7
        if below:
            frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(
                0x0F, "SQ", Items([copy])
            )
        else:  # nor is one of a group that tells of other images
            frame.ReferencedImageSequence = Items([copy])
    data.ImagePositionPatient = [0, 0, 0]
    data.save_as(tmp_path / "1", enforce_file_format=True)
    require_in_place(series, *read_series(tmp_path))


def test_headers_are_parsed_again_only_when_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(Series(), tmp_path)
    first = open_series(folder)
    assert open_series(folder) is first
    Series(origin=(0, 0, 0)).slice(0).save_as(folder / "IM0", enforce_file_format=True)
    with pytest.raises(BadFileError, match="aside of a straight line"):
        open_series(folder)


def test_neighbours_that_differ_more_than_every_second_slice_are_told_of(tmp_path: Path) -> None:
    """As two scans do that no tag tells apart."""
    told = {}
    for step in (0, 400):
        tags = {
            n: {"PixelData": (Series().stored(0) + np.int16(10 * n + step * (n % 2))).tobytes()}
            for n in range(12)
        }
        folder = save(Series(heights=HALFWAY, tags=tags), tmp_path / str(step))
        told[step] = read_volume(folder, channel="CT").notes
    assert told[0] == ()
    (note,) = told[400]
    assert "every second slice is alike and neighbours differ" in note


@pytest.mark.parametrize(
    ("channel", "odd"),
    [("MR", True), ("PET", True), ("CT", False), ("PET/CT", False), ("x", False)],
)
def test_a_channel_called_like_another_modality_is_told_of(
    tmp_path: Path, channel: str, odd: bool
) -> None:
    notes = read_volume(save(Series(), tmp_path), channel=channel).notes
    assert any("not swapped" in note for note in notes) == odd


def test_patients_are_told_apart_by_a_digest_alone(tmp_path: Path) -> None:
    stack = open_series(save(Series(), tmp_path))
    assert MARK not in repr(stack.planes)
    assert len({plane.patient for plane in stack.planes}) == 1
    assert np.isfinite([plane.position for plane in stack.planes]).all()
