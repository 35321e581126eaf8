"""What SEG and RTSTRUCT objects drew comes in where they drew it, or is set aside with a line."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from jaxtyping import Bool
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.codedict import codes
from pydicom.uid import RTStructureSetStorage
from tests.files.series import TURNED, Series

from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.files import survey
from voxhint.files.dicom.source_series import open_source
from voxhint.files.dicom.write_rtstruct import write_rtstruct
from voxhint.files.dicom.write_seg import Origin, write_seg
from voxhint.files.images import read_grid, read_ids, read_probability
from voxhint.files.label_codes import segments_of
from voxhint.verbs.import_annotations import Wanted
from voxhint.verbs.import_dicom import ImportRequest, import_dicom
from voxhint.verbs.label_names import wanted_names
from voxhint.verbs.written import Written

SERIES = Series(
    uid="1.7",
    common={
        "FrameOfReferenceUID": "1.2.9",
        "SliceThickness": 2.5,
        **dict.fromkeys(("PatientSex", "StudyDate", "StudyTime"), ""),
    },
)
TILTED = replace(SERIES, aside=0.3)
UNEVEN = replace(SERIES, heights=(0, 2.5, 5, 7.5, 12.5, 15))
ALL = (SERIES, replace(SERIES, orientation=TURNED), TILTED, UNEVEN)

Slices = Bool[np.ndarray, "slice row column"]


def masks(count: int = 2) -> list[Slices]:
    """Return masks on the slices, without symmetry and apart from each other."""
    numbers = np.random.default_rng(5).integers(0, count + 1, (6, 5, 4))
    return [numbers == number for number in range(1, count + 1)]


def files(folder: Path) -> list[Dataset]:
    """Return the slices of a series along its normal."""
    read = [pydicom.dcmread(path) for path in folder.iterdir()]
    along = np.array(read[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*along)
    return sorted(read, key=lambda one: float(np.array(one.ImagePositionPatient, float) @ normal))


def write_by_highdicom(
    path: Path, slices: Sequence[Dataset], values: np.ndarray, kind: str, names: Sequence[str]
) -> Dataset:
    """Write a segmentation as another program would: values (slice, row, column, segment)."""
    made = highdicom.seg.Segmentation(
        source_images=list(slices),
        pixel_array=values,
        segmentation_type=kind,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=name,
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Neoplasm,
                algorithm_type="MANUAL",
            )
            for number, name in enumerate(names, 1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=2,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="another",
        manufacturer_model_name="program",
        software_versions="1",
        device_serial_number="1",
    )
    made.save_as(path)
    return made


def by_place(folder: Path, drawn: Slices) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield the RAS place of each pixel by the equation of the standard, and what is drawn."""
    for number, header in enumerate(files(folder)):
        across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        step_down, step_across = map(float, header.PixelSpacing)
        for row, column in np.ndindex(5, 4):
            lps = np.array(header.ImagePositionPatient, float)
            lps = lps + column * step_across * across + row * step_down * down
            yield lps * [-1, -1, 1], bool(drawn[number, row, column])


def lies(out: Path, folder: Path, drawn: Sequence[Slices], place: str = "denseTr") -> None:
    """Hold a mask against what was drawn, at each place."""
    ids, grid = read_ids(out / place / "case_001.nii.gz")
    even = read_grid(out / "imagesTr" / "case_001_0000.nii.gz")
    assert grid.same(even)
    for number, one in enumerate(drawn, 1):
        for at, inside in by_place(folder, one):
            i, j, k = np.rint(grid.to_index(at[None])[0]).astype(int)
            assert (ids[i, j, k] == number) == inside


def taken(source: Path, out: Path, how: Wanted, *labels: str) -> Written:
    return import_dicom(source, out, request=ImportRequest(labels, objects=how))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("series", ALL[:2])
def test_a_segmentation_of_highdicom_becomes_the_mask(
    tmp_path: Path, series: Series, kind: str
) -> None:
    folder, drawn = series.write(tmp_path / "in" / "series"), masks()
    slices = files(folder)
    values = np.stack(drawn, axis=-1).astype(np.uint8)
    write_by_highdicom(tmp_path / "in" / "seg", slices[::-1], values[::-1], kind, ("a", "b"))
    made = taken(tmp_path / "in", tmp_path / "out", "truth")
    assert not made.warnings
    lies(tmp_path / "out", folder, drawn)
    assert not [p for p in survey(tmp_path / "out").problems if p.where != "hints"]


@pytest.mark.parametrize("target", ["dicom-seg", "rtstruct"])
@pytest.mark.parametrize("series", ALL)
def test_what_is_sent_back_comes_in_again(tmp_path: Path, series: Series, target: str) -> None:
    """Tilted and uneven series keep each pixel of their own slices."""
    folder, drawn = series.write(tmp_path / "in" / "series"), masks()
    source = open_source(folder)
    classes = (drawn[0] + 2 * drawn[1]).astype(np.uint8)
    segments, path = segments_of(("liver", "tumour"), tmp_path), tmp_path / "in" / "object.dcm"
    if target == "rtstruct":
        write_rtstruct(path, classes, source, segments, hinted=False)
    else:
        origin = Origin(hinted=False)
        write_seg(path, classes, source, segments, kind="binary", origin=origin)
    made = taken(tmp_path / "in", tmp_path / "out", "truth", "liver", "Tumour")
    odd = [line for line in made.warnings if "each voxel takes what is drawn nearest" in line]
    assert len(odd) == (series not in ALL[:2])
    lies(tmp_path / "out", folder, drawn)


def structure_set(slices: Sequence[Dataset], rois: dict[str, list[tuple[int, Any]]]) -> FileDataset:
    """Return a structure set of contours, each on a slice, as (row, column) corners."""
    data = pydicom.dcmread(Path(str(slices[0].filename)))
    for tag in ("PixelData", "Rows", "Columns", "ImagePositionPatient"):
        delattr(data, tag)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    data.Modality, data.SeriesInstanceUID = "RTSTRUCT", "9.9"
    data.StructureSetROISequence, data.ROIContourSequence = Items(), Items()
    for number, (name, contours) in enumerate(rois.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, "1.2.9"
        drawn.ReferencedROINumber, drawn.ContourSequence = number, Items()
        for slice_, corners in contours:
            contour, header = Dataset(), slices[slice_]
            across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
            step_down, step_across = map(float, header.PixelSpacing)
            start = np.array(header.ImagePositionPatient, float)
            places = [start + c * step_across * across + r * step_down * down for r, c in corners]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.ContourData = [f"{value:.4f}" for value in np.ravel(places)]
            drawn.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    return data


FRAME = [(0.0, 0.0), (0.0, 3.0), (4.0, 3.0), (4.0, 0.0)]
HOLE = [(1.5, 0.5), (1.5, 2.5), (2.5, 2.5), (2.5, 0.5)]


def test_contours_of_a_slice_take_turns_and_gaps_are_told(tmp_path: Path) -> None:
    folder = ALL[1].write(tmp_path / "in" / "series")
    data = structure_set(files(folder), {"GTV 1": [(1, FRAME), (1, HOLE), (3, HOLE)]})
    data.save_as(tmp_path / "in" / "rt.dcm")
    made = taken(tmp_path / "in", tmp_path / "out", "truth", "tumour=GTV 1")
    (line,) = made.warnings
    assert "1 slices between its contours have none" in line
    drawn = np.zeros((6, 5, 4), bool)
    drawn[1], drawn[1, 2, 1:3], drawn[3, 2, 1:3] = True, False, True
    lies(tmp_path / "out", folder, [drawn])


def test_what_is_not_drawn_stays_unknown_in_hints(tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "in" / "series")
    data = structure_set(files(folder), {"a": [(1, FRAME)], "b": [(1, HOLE), (2, HOLE)]})
    data.save_as(tmp_path / "in" / "rt.dcm")
    made = taken(tmp_path / "in", tmp_path / "out", "hints")
    assert ["2 voxels have two labels" in line for line in made.warnings] == [True]
    ids, _ = read_ids(tmp_path / "out" / "hints" / "scribbles" / "case_001.nii.gz")
    assert np.unique(ids, return_counts=True)[0].tolist() == [1, 2, 255]
    assert [(ids == value).sum() for value in (1, 2)] == [18, 2]
    assert not survey(tmp_path / "out", deep=True).problems
    told = taken(tmp_path / "in", tmp_path / "truth", "truth").warnings
    assert any("2 are both 'a' and 'b'), so no mask is made" in line for line in told)


def test_fractions_become_chances_or_halves(tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "in" / "series")
    values = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 1)) / np.float32(255)
    write_by_highdicom(tmp_path / "in" / "seg", files(folder), values, "FRACTIONAL", ("a",))
    taken(tmp_path / "in", tmp_path / "out", "hints")
    chances, _ = read_probability(tmp_path / "out" / "hints" / "soft" / "case_001__a.nii.gz")
    np.testing.assert_allclose(chances, values[..., 0].transpose(2, 1, 0), atol=2**-15)
    made = taken(tmp_path / "in", tmp_path / "truth", "truth")
    assert "half and more is taken" in made.warnings[0]
    lies(tmp_path / "truth", folder, [values[..., 0] >= 0.5])


@pytest.mark.parametrize("series", ALL[:2])
def test_a_box_goes_round_each_piece_from_the_faces_of_its_voxels(
    tmp_path: Path, series: Series
) -> None:
    folder = series.write(tmp_path / "in" / "series")
    pieces = {"a": [(1, HOLE), (2, HOLE), (4, HOLE)]}
    structure_set(files(folder), pieces).save_as(tmp_path / "in" / "rt.dcm")
    taken(tmp_path / "in", tmp_path / "out", "boxes")
    table = tmp_path / "out" / "hints" / "boxes.csv"
    with table.open(newline="") as file:
        boxes = list(csv.DictReader(file))
    assert len(boxes) == 2
    drawn = np.zeros((6, 5, 4), bool)
    drawn[[1, 2, 4], 2, 1:3] = True
    for at, inside in by_place(folder, drawn):
        held = [
            all(
                float(box[f"{axis}_min"]) < place < float(box[f"{axis}_max"])
                for axis, place in zip("xyz", at, strict=True)
            )
            for box in boxes
        ]
        assert any(held) if inside else series is not SERIES or not any(held)
    if series is SERIES:
        faces = ["18.75", "-31.875", "41.25", "19.75", "-31.125", "46.25"]
        assert [float(n) for n in list(boxes[0].values())[2:]] == [float(face) for face in faces]


def test_what_lies_half_a_voxel_aside_is_set_aside(tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "in" / "series")
    for step, told in ((np.array([0, 0, 1.25]), "1.25 mm beside"), ([0.25, 0, 0], "0.50 of a pix")):
        values = np.ones((6, 5, 4, 1), np.uint8)
        data = write_by_highdicom(tmp_path / "s", files(folder), values, "BINARY", ("a",))
        for groups in data.PerFrameFunctionalGroupsSequence:
            plane = groups.PlanePositionSequence[0]
            plane.ImagePositionPatient = list(np.array(plane.ImagePositionPatient, float) + step)
        data.save_as(tmp_path / "in" / "seg")
        with pytest.raises(BadFileError, match=told):
            taken(tmp_path / "in", tmp_path / "out", "truth")
        assert not (tmp_path / "out").exists()


def test_a_cropped_segmentation_whose_rows_run_back_lies_right(tmp_path: Path) -> None:
    folder, (drawn, _) = SERIES.write(tmp_path / "in" / "series"), masks()
    slices = files(folder)
    for header in slices:  # the image that another program made: turned by 180 degrees and cut
        header.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        shift = np.array([3 * 0.5, 3 * 0.75, 0])
        header.ImagePositionPatient = list(np.array(header.ImagePositionPatient, float) + shift)
        header.Rows, header.Columns = 4, 4
        header.PixelData = header.PixelData[:32]
    values = drawn[:, 3::-1, ::-1, None].astype(np.uint8)
    write_by_highdicom(tmp_path / "in" / "seg", slices, values, "BINARY", ("a",))
    taken(tmp_path / "in", tmp_path / "out", "truth")
    drawn[:, 4] = False
    lies(tmp_path / "out", folder, [drawn])


def test_objects_are_told_of_where_nobody_asks_for_them(tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "in" / "series")
    structure_set(files(folder), {"a": [(1, FRAME)]}).save_as(tmp_path / "in" / "rt.dcm")
    made = import_dicom(tmp_path / "in", tmp_path / "out")
    assert made.warnings == (
        "1 RTSTRUCT beside the slices are left out; take what they drew with --as truth, hints or "
        "boxes",
    )


def test_structures_without_a_label_are_named_but_for_the_patients_name(tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "in" / "series")
    rois = {name: [(1, FRAME)] for name in ("a", "BODY", "GTV Jane", "x__y")}
    structure_set(files(folder), rois).save_as(tmp_path / "in" / "rt.dcm")
    told = "\n".join(taken(tmp_path / "in", tmp_path / "out", "hints", "a").warnings)
    assert "3 structures are left out" in told
    assert "'BODY' (1)" in told
    assert "Jane" not in told
    everything = taken(tmp_path / "in", tmp_path / "all", "boxes")
    assert "2 structures are left out" in everything.warnings[-1]


def test_an_object_of_another_series_is_set_aside(tmp_path: Path) -> None:
    SERIES.write(tmp_path / "in" / "series")
    other = replace(SERIES, uid="1.8", common={"FrameOfReferenceUID": "1.2.8"})
    data = structure_set(files(other.write(tmp_path / "other")), {"a": [(1, FRAME)]})
    for roi in data.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.8"
    data.save_as(tmp_path / "in" / "rt.dcm")
    with pytest.raises(BadFileError, match="speaks of no imported series"):
        taken(tmp_path / "in", tmp_path / "out", "hints")


def test_labels_say_what_others_call_them() -> None:
    names = wanted_names(("tumour=GTV 1,gtv", "tumour=A", "liver"))
    assert names == {"tumour": ("tumour", "GTV 1", "gtv", "A"), "liver": ("liver",)}
    for bad in (("a", "a"), ("a=",), ("a=x", "b=X")):
        with pytest.raises(BadRecipeError, match="--label"):
            wanted_names(bad)
    with pytest.raises(BadRecipeError, match="write --label lung heart for several"):
        wanted_names(("lung, heart",))
