"""Masks that go back into DICOM lie on their slices, whoever reads them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from jaxtyping import UInt8
from matplotlib.path import Path as Polygon
from tests.files.series import PATIENT, TURNED, Series

from voxhint.core import Grid, Volume
from voxhint.core.errors import BadFileError
from voxhint.files.dicom.source_series import Source, open_export, open_source, told_resampled
from voxhint.files.dicom.write_rtstruct import write_rtstruct
from voxhint.files.dicom.write_seg import Kind, Origin, write_seg
from voxhint.files.images import read_volume, write_image
from voxhint.files.label_codes import segments_of

SERIES = Series(common={"FrameOfReferenceUID": "1.2.9", "PatientSex": "F"})
UNEVEN = replace(SERIES, heights=(0, 2.5, 5, 7.5, 12.5, 15))
TILTED = replace(SERIES, aside=0.3)
ALL = (SERIES, replace(SERIES, orientation=TURNED), TILTED, UNEVEN)
LABELS = ("liver", "kidney_left", "zzz")
CODES = (
    "label,category_code,category_meaning,type_code,type_meaning\n"
    "zzz,49755003,Morphologically Abnormal Structure,52988006,Lesion\n"
)

Marked = dict[tuple[int, int, int], str]
"""Labels by place in hundredths of LPS millimetres."""


def mask(grid: Grid) -> UInt8[np.ndarray, "i j k"]:
    """Return class numbers of no symmetry; one slice of the middle is empty."""
    classes = np.random.default_rng(3).integers(0, 4, grid.shape).astype(np.uint8)
    classes[:, :, 2] = 0
    return classes


def key(place: Any) -> tuple[int, int, int]:
    x, y, z = (int(n) for n in np.rint(100 * np.asarray(place, float)))
    return x, y, z


def pixels(header: pydicom.Dataset, place: Any) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
    """Yield row, column and place of each pixel, by the equation of the standard."""
    across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    step_down, step_across = map(float, header.PixelSpacing)
    for row in range(5):
        for column in range(4):
            at = np.array(place, float) + column * step_across * across + row * step_down * down
            yield row, column, key(at)


def wanted(folder: Path, volume: Volume, classes: UInt8[np.ndarray, "i j k"]) -> Marked:
    """Return what each pixel of the original slices should be: the voxel nearest to it."""
    marked = {}
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        for _, _, at in pixels(header, header.ImagePositionPatient):
            ras = np.array([[-at[0] / 100, -at[1] / 100, at[2] / 100]])
            index = np.rint(volume.grid.to_index(ras) - 1e-4)[0].astype(int)
            index = np.clip(index, 0, np.array(volume.grid.shape) - 1)
            if classes[tuple(index)]:
                marked[at] = LABELS[classes[tuple(index)] - 1]
    return marked


def by_hand(path: Path) -> Marked:
    """Read a segmentation with pydicom, a tag at a time."""
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    facing = pydicom.Dataset()
    facing.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    facing.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
    names = {int(item.SegmentNumber): item.SegmentLabel for item in data.SegmentSequence}
    frames = data.pixel_array.reshape(-1, 5, 4)
    marked = {}
    for frame, groups in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        for row, column, at in pixels(facing, place):
            number = int(frame[row, column])
            if number and "SegmentIdentificationSequence" in groups:
                number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            if number:
                assert at not in marked
                marked[at] = names[number]
    return marked


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "codes.csv").write_text(CODES)
    return tmp_path


def written(
    study: Path, series: Series, kind: Kind = "binary"
) -> tuple[Path, Source, Volume, UInt8[np.ndarray, "i j k"]]:
    """Write a mask of a series as a segmentation object."""
    folder = series.write(study / "series")
    volume = read_volume(folder, channel="CT")
    source, classes = open_export(study).find(volume), mask(volume.grid)
    values: Any = source.ids(classes)
    if kind == "fractional":
        values = np.stack([source.chances((classes == n) / np.float32(n)) for n in (1, 2, 3)])
    segments = segments_of(LABELS, study)
    path = study / "seg.dcm"
    write_seg(path, values, source, segments, kind=kind, origin=Origin(hinted=False))
    return path, source, volume, classes


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("series", ALL)
def test_every_pixel_of_the_slices_has_the_label_of_its_voxel(
    study: Path, series: Series, kind: Kind
) -> None:
    path, _, volume, classes = written(study, series, kind)
    assert by_hand(path) == wanted(study / "series", volume, classes)


@pytest.mark.parametrize("series", ALL)
def test_highdicom_reads_the_same_by_the_slices_that_are_referred_to(
    study: Path, series: Series
) -> None:
    path, source, _, classes = written(study, series)
    read = highdicom.seg.segread(path).get_pixels_by_source_instance(
        [header.SOPInstanceUID for header in source.headers],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(read, source.ids(classes))


def test_simpleitk_reads_the_same_frames(study: Path) -> None:
    folder = SERIES.write(study / "series")
    slices = np.random.default_rng(0).integers(0, 4, (6, 5, 4)).astype(np.uint8)
    path, source, segments = study / "seg.dcm", open_source(folder), segments_of(LABELS, study)
    write_seg(path, slices, source, segments, kind="binary", origin=Origin(hinted=False))
    reader: Any = SimpleITK
    frames = reader.GetArrayFromImage(reader.ReadImage(str(path))) > 0
    np.testing.assert_array_equal(frames, pydicom.dcmread(path).pixel_array > 0)
    drawn = [slices[number] == label for label in (1, 2, 3) for number in range(6)]
    assert all(any(np.array_equal(frame, one) for frame in frames) for one in drawn)


def test_probabilities_come_back_within_half_a_step(study: Path) -> None:
    path, source, _, classes = written(study, SERIES, "fractional")
    read = highdicom.seg.segread(path).get_pixels_by_source_instance(
        [header.SOPInstanceUID for header in source.headers], assert_missing_frames_are_empty=True
    )
    for number in (1, 2, 3):
        told = (source.ids(classes) == number) / number
        np.testing.assert_allclose(read[..., number - 1], told, atol=0.5 / 255 + 1e-6)


def test_one_file_of_many_frames_is_referred_to_frame_by_frame(study: Path) -> None:
    folder = study / "series"
    folder.mkdir()
    enhanced = SERIES.enhanced(order=(3, 0, 5, 1, 4, 2))
    enhanced.StudyInstanceUID, enhanced.FrameOfReferenceUID = "1.2", "1.2.9"
    enhanced.save_as(folder / "all.dcm", enforce_file_format=True)
    volume = read_volume(folder, channel="CT")
    source, classes = open_source(folder), mask(volume.grid)
    path = study / "seg.dcm"
    segments = segments_of(LABELS, study)
    origin = Origin(hinted=True)
    write_seg(path, source.ids(classes), source, segments, kind="binary", origin=origin)
    read = highdicom.seg.segread(path).get_pixels_by_source_frame(
        enhanced.SOPInstanceUID,
        [plane.frame + 1 for plane in source.planes],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(read, source.ids(classes))


def test_a_segmentation_says_whose_what_and_how(study: Path) -> None:
    data = pydicom.dcmread(written(study, SERIES)[0])
    assert (data.PatientName, data.StudyInstanceUID, data.Modality) == (PATIENT, "1.2", "SEG")
    assert data.FrameOfReferenceUID == "1.2.9"
    assert data.SeriesInstanceUID != "1.2.3"
    kidney = data.SegmentSequence[1]
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert kidney.SegmentAlgorithmType == "AUTOMATIC"
    assert kidney.RecommendedDisplayCIELabValue
    assert kidney.TrackingUID


def test_labels_that_are_nowhere_are_left_out_and_numbers_stay_right(study: Path) -> None:
    folder = SERIES.write(study / "series")
    source = open_source(folder)
    classes = np.full((6, 5, 4), 3, np.uint8)
    path = study / "seg.dcm"
    segments = segments_of(LABELS, study)
    write_seg(path, classes, source, segments, kind="binary", origin=Origin(hinted=False))
    assert set(by_hand(path).values()) == {"zzz"}
    with pytest.raises(BadFileError, match="the mask is empty"):
        write_seg(path, 0 * classes, source, segments, kind="binary", origin=Origin(hinted=False))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_an_image_of_another_format_finds_its_series_however_its_axes_run(
    study: Path, axes: tuple[int, int, int]
) -> None:
    folder = SERIES.write(study / "series")
    replace(SERIES, uid="1.2.4", tags={2: {"RescaleSlope": 3}}).write(study / "other phase")
    volume = read_volume(folder, channel="CT")
    turn = np.eye(4)[:, [*axes, 3]]
    flip = np.diag([-1.0, 1, 1, 1])
    moved = np.flip(volume.voxels.transpose(axes), 0)
    flip[0, 3] = moved.shape[0] - 1
    grid = Grid(moved.shape, volume.grid.affine @ turn @ flip)
    write_image(study / "image.nii.gz", Volume(np.ascontiguousarray(moved), grid, "HU"))
    source = open_export(study).find(read_volume(study / "image.nii.gz", channel="CT"))
    assert {plane.path.parent for plane in source.planes} == {folder}
    np.testing.assert_array_equal(source.turn.apply(moved), volume.voxels)


def changed(volume: Volume, what: str) -> Volume:
    affine = volume.grid.affine.copy()
    if what == "half a voxel":
        affine[:3, 3] += affine[:3, 0] / 2
        return Volume(volume.voxels, Grid(volume.grid.shape, affine), "HU")
    if what == "other size":
        return volume.cropped((slice(1, None), slice(None), slice(None)))
    return Volume(volume.voxels[:, ::-1].copy(), volume.grid, "HU")


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("half a voxel", "up to 0.5 voxels off"),
        ("other size", "none of 1 series has 3 x 5 x 6 voxels"),
        ("other values", "has the image's place and other values"),
    ],
)
def test_a_series_of_another_place_or_other_values_is_refused(
    study: Path, what: str, told: str
) -> None:
    folder = SERIES.write(study / "series")
    with pytest.raises(BadFileError, match=told) as refused:
        open_export(study).find(changed(read_volume(folder, channel="CT"), what))
    assert "\n" not in str(refused.value)


def test_two_series_that_are_the_same_are_refused(study: Path) -> None:
    volume = read_volume(SERIES.write(study / "series"), channel="CT")
    replace(SERIES, uid="1.2.4").write(study / "copy")
    with pytest.raises(BadFileError, match="2 series are the same"):
        open_export(study).find(volume)


def test_slices_of_no_common_frame_of_reference_are_refused(study: Path) -> None:
    folder = replace(SERIES, common={}).write(study / "series")
    with pytest.raises(BadFileError, match="no FrameOfReferenceUID in common"):
        _ = open_source(folder).headers


def test_uneven_slices_are_told_of_and_even_ones_not(study: Path) -> None:
    assert not told_resampled(open_source(SERIES.write(study / "even")))
    assert "nearest voxel" in told_resampled(open_source(TILTED.write(study / "tilted")))


@pytest.mark.parametrize("series", ALL)
def test_contours_hold_the_centres_of_the_pixels_they_were_drawn_around(
    study: Path, series: Series
) -> None:
    folder = series.write(study / "series")
    volume = read_volume(folder, channel="CT")
    source, classes = open_source(folder), mask(volume.grid)
    path = study / "rtstruct.dcm"
    write_rtstruct(path, source.ids(classes), source, segments_of(LABELS, study), hinted=True)
    data = pydicom.dcmread(path)
    assert (data.PatientName, data.StudyInstanceUID) == (PATIENT, "1.2")
    names = {item.ROINumber: item.ROIName for item in data.StructureSetROISequence}
    slices = {header.SOPInstanceUID: header for header in source.headers}
    marked: Marked = {}
    for roi in data.ROIContourSequence:
        for contour in roi.ContourSequence:
            header = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            marked |= dict.fromkeys(inside(contour, header), names[roi.ReferencedROINumber])
    assert marked == wanted(folder, volume, classes)


def inside(contour: pydicom.Dataset, header: pydicom.Dataset) -> Iterator[tuple[int, int, int]]:
    """Yield the places of a slice's pixels that lie in a contour."""
    assert contour.ContourGeometricType == "CLOSED_PLANAR"
    corner = np.array(header.ImagePositionPatient, float)
    across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    step_down, step_across = map(float, header.PixelSpacing)
    moved = np.array(contour.ContourData, float).reshape(-1, 3) - corner
    np.testing.assert_allclose(moved @ np.cross(across, down), 0, atol=1e-4)
    flat = np.stack([moved @ down / step_down, moved @ across / step_across], axis=1)
    polygon = Polygon(np.concatenate([flat, flat[:1]]))
    for row, column, at in pixels(header, header.ImagePositionPatient):
        if polygon.contains_point((row, column)):
            yield at
