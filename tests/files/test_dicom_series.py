"""A DICOM folder is one even, upright stack; or made one, and said so; or refused, and said why."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float32
from pydicom.uid import generate_uid
from tests.files.series import MARK, STRAIGHT, TURNED, Series

from voxhint.core import Grid
from voxhint.core.errors import BadFileError
from voxhint.files import read_volume, survey
from voxhint.files.dicom.read_series import open_series, read_series
from voxhint.files.images import image_warnings

LOCALISER = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
MISSING = (0, 2.5, 5, 10, 12.5, 15)
ONE_ROW = 0.3
"""Leans by one row of 0.75 mm for each slice of 2.5 mm: 16.7 degrees."""


def require_in_place(
    series: Series, voxels: Float32[np.ndarray, "i j k"], grid: Grid, *, but: tuple[int, ...] = ()
) -> None:
    """Hold every stored value against what lies at its world position."""
    row, column = np.array(series.orientation[:3]), np.array(series.orientation[3:])
    j, i = np.indices((5, 4)).reshape(2, -1)
    for number in set(range(len(series.heights))) - set(but):
        lps = series.position(number) + 0.5 * i[:, None] * row + 0.75 * j[:, None] * column
        index = grid.to_index(lps * [-1, -1, 1])
        assert np.allclose(index, np.rint(index), atol=1e-3)
        found = voxels[tuple(np.rint(index).astype(int).T)]
        assert np.array_equal(found, 2.0 * series.stored(number)[j, i] - 1024)


@pytest.mark.parametrize("orientation", [STRAIGHT, TURNED])
def test_each_voxel_lies_where_the_standard_says(
    tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    series = Series(orientation=orientation)
    folder = series.write(tmp_path / "s")
    voxels, grid = read_series(folder)
    assert voxels.shape == (4, 5, 6)
    require_in_place(series, voxels, grid)
    assert image_warnings(folder) == ()


def test_the_header_alone_gives_the_same_grid(tmp_path: Path) -> None:
    folder = Series(orientation=TURNED, aside=0.1, heights=MISSING).write(tmp_path / "s")
    assert open_series(folder).grid.same(read_series(folder)[1], tol_mm=0.0)


def test_the_order_of_slices_does_not_matter(tmp_path: Path) -> None:
    series = Series()
    turned = replace(series, heights=series.heights[::-1])
    forth, back = (
        read_series(series.write(tmp_path / "a")),
        read_series(turned.write(tmp_path / "b")),
    )
    assert forth[1].same(back[1])
    assert np.array_equal(forth[0], back[0][:, :, ::-1])


def test_the_unit_follows_the_channel_and_notes_are_passed_over(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "s")
    (folder / "notes.txt").write_text("no slice")
    assert read_volume(folder, channel="CT").unit == "HU"


def test_gaps_that_differ_by_rounding_are_even(tmp_path: Path) -> None:
    heights = (0, 2.5, 5.005, 7.5, 10, 12.495)
    stack = open_series(Series(heights=heights).write(tmp_path / "s"))
    assert stack.grid.shape[2] == 6
    assert stack.warnings == ()


def test_gaps_of_a_tenth_of_a_millimetre_have_less_room(tmp_path: Path) -> None:
    even, odd = (0, 0.1, 0.2, 0.3, 0.4, 0.5), (0, 0.1, 0.2, 0.34, 0.4, 0.5)
    assert image_warnings(Series(heights=even).write(tmp_path / "even")) == ()
    assert image_warnings(Series(heights=odd).write(tmp_path / "odd")) != ()


def test_a_drift_that_no_gap_shows_is_not_taken_for_even(tmp_path: Path) -> None:
    gaps = [1.0] * 30 + [1.018] * 30
    series = Series(heights=(0.0, *np.cumsum(gaps).tolist()))
    for number in range(len(series.heights)):
        (tmp_path / "s").mkdir(exist_ok=True)
        series.slice(number).save_as(tmp_path / "s" / f"{number}.dcm", enforce_file_format=True)
    (warning,) = open_series(tmp_path / "s").warnings
    assert "uneven" in warning


# a series, what the warning says, the shape of the grid, and slices that keep no value of their own
MENDED: dict[str, tuple[Series, tuple[str, ...], tuple[int, int, int], tuple[int, ...]]] = {
    "a missing slice": (
        Series(heights=MISSING),
        ("1 slices are missing", "after slice 3 of 6 (z = 45.0 mm)", "4 x 5 x 7", "results"),
        (4, 5, 7),
        (),
    ),
    "two missing in a turned stack": (
        Series(orientation=TURNED, heights=(0, 2, 4, 10, 12, 14)),
        ("2 slices are missing", "after slice 3"),
        (4, 5, 8),
        (),
    ),
    "tilt": (
        Series(aside=ONE_ROW),
        ("sheared by 16.7 degrees (gantry tilt)", "4 x 10 x 6 voxels", "masks"),
        (4, 10, 6),
        (),
    ),
    "tilt the other way": (Series(aside=-ONE_ROW), ("16.7 degrees",), (4, 10, 6), ()),
    "tilt and a missing slice": (
        Series(aside=ONE_ROW, heights=MISSING),
        ("16.7 degrees", "1 slices are missing"),
        (4, 11, 7),
        (),
    ),
    "uneven gaps": (
        Series(heights=(0, 4, 8, 12, 13, 20)),
        ("1.00 mm (1 times), 4.00 mm (3 times), 7.00 mm (1 times)", "first after slice 4 of 6"),
        (4, 5, 6),
        (4,),
    ),
    "copies": (
        Series(heights=(0, 2.5, 2.5, 5, 7.5, 10), tags={2: {"PixelData": None}}),
        ("1 slices repeat others",),
        (4, 5, 5),
        (2, 3, 4, 5),
    ),
    "a localiser beside": (
        Series(tags={5: LOCALISER}),
        ("left out (1 a localiser)",),
        (4, 5, 5),
        (5,),
    ),
    "a dose report beside": (
        Series(tags={5: {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}}),
        ("left out (1 no slice (Secondary Capture Image Storage))",),
        (4, 5, 5),
        (5,),
    ),
    "inverted": (
        Series(common={"PhotometricInterpretation": "MONOCHROME1"}),
        ("MONOCHROME1", "values are read as stored"),
        (4, 5, 6),
        (),
    ),
    "a tilt the positions do not show": (
        Series(common={"GantryDetectorTilt": 15}),
        ("tilt of 15 degrees, positions one of 0.0", "check that the anatomy"),
        (4, 5, 6),
        (),
    ),
}


@pytest.mark.parametrize("kind", MENDED)
def test_what_is_safe_is_read_and_said(tmp_path: Path, kind: str) -> None:
    series, said, shape, lost = MENDED[kind]
    if kind == "copies":
        series.tags[2]["PixelData"] = series.stored(1).tobytes()
    folder = series.write(tmp_path / "s")
    voxels, grid = read_series(folder)
    (warning,) = image_warnings(folder)
    assert all(word in warning for word in said)
    assert "\n" not in warning
    assert MARK not in warning
    assert voxels.shape == grid.shape == shape
    require_in_place(series, voxels, grid, but=lost)


def test_a_missing_slice_is_the_mean_of_its_neighbours(tmp_path: Path) -> None:
    voxels, _ = read_series(Series(heights=MISSING).write(tmp_path / "s"))
    assert np.array_equal(voxels[:, :, 3], (voxels[:, :, 2] + voxels[:, :, 4]) / 2)


def test_what_no_slice_covers_is_as_dark_as_the_darkest_voxel(tmp_path: Path) -> None:
    voxels, _ = read_series(Series(aside=ONE_ROW).write(tmp_path / "s"))
    assert (voxels[:, 5:, 0] == voxels.min()).all()
    assert (voxels[:, :5, 5] == voxels.min()).all()


@pytest.mark.parametrize("orientation", [STRAIGHT, TURNED])
@pytest.mark.parametrize("aside", [0.0, 0.15, -0.1])
def test_a_ramp_through_the_world_stays_one(
    tmp_path: Path, orientation: tuple[float, ...], aside: float
) -> None:
    series = Series(orientation=orientation, aside=aside, heights=(0, 2, 4, 7, 8, 10))
    slope = np.array([40.0, -80.0, 120.0])  # LPS; steep, as stored values are whole numbers
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    j, i = np.indices((5, 4))
    for number in range(6):
        moved = series.position(number) - series.origin
        values = moved @ slope + 0.5 * i * (row @ slope) + 0.75 * j * (column @ slope)
        series.tags[number] = {"PixelData": np.rint(values).astype(np.int16).tobytes()}
    voxels, grid = read_series(series.write(tmp_path / "s"))
    index = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    lps = grid.to_world(index) * [-1, -1, 1] - series.origin
    expected = 2 * (lps @ slope).reshape(grid.shape) - 1024
    inner = np.abs(voxels - expected) < 4  # rounding to whole numbers, twice
    covered = voxels > voxels.min()
    assert covered[:, :, 1:-1].mean() > 0.5
    outside = ~inner & covered
    # only where a slice ends does air mix in
    assert outside.sum() <= (0 if aside == 0 else 8 * grid.shape[2])


REFUSED = {
    "too steep": (Series(aside=1.0), "45.0 degrees, more than any gantry"),
    "a hole": (
        Series(heights=(0, 2.5, 5, 15, 17.5, 20)),
        "a gap of 10.00 mm after slice 3 of 6 (z = 45.0 mm) is too wide",
    ),
    "no pattern": (Series(heights=(0, 1, 3, 7, 15, 31)), "follow no pattern"),
    "astray": (
        Series(tags={2: {"ImagePositionPatient": [-20, 35, 45]}}),
        "aside of a straight line",
    ),
    "one place, other values": (
        Series(heights=(0, 2.5, 2.5, 5, 7.5, 10)),
        "1 of 6 slices share their place",
    ),
    "two series": (Series(tags={1: {"SeriesInstanceUID": "1.2.4"}}), "differ in series"),
    "sizes": (
        Series(tags={0: {"Rows": 4, "PixelData": b"\0" * 32}}),
        "(1 of 4 x 4, 5 of 4 x 5) that differ in size",
    ),
    "orientation": (
        Series(tags={0: {"ImageOrientationPatient": list(TURNED)}}),
        "differ in orientation",
    ),
    "spacing": (Series(tags={0: {"PixelSpacing": [0.75, 0.6]}}), "differ in pixel spacing"),
    "reference": (Series(tags={0: {"FrameOfReferenceUID": "1.9"}}), "differ in frame of"),
    "skew": (Series(orientation=(1, 0, 0, 0.2, 0.98, 0)), "right-angled"),
    "no spacing": (Series(common={"PixelSpacing": [0, 0]}), "right-angled"),
    "no position": (
        Series(tags={0: {"ImagePositionPatient": None}}),
        "is without ImagePositionPatient",
    ),
    "many frames": (Series(tags={0: {"NumberOfFrames": 3}}), "without position for each frame"),
    "one slice": (Series(heights=(0,)), "1 DICOM slices"),
    "localisers alone": (Series(common=LOCALISER), "0 DICOM slices"),
    "inverted MR": (
        Series(common={"PhotometricInterpretation": "MONOCHROME1", "Modality": "MR"}),
        "is MONOCHROME1",
    ),
    "half inverted": (
        Series(tags={3: {"PhotometricInterpretation": "MONOCHROME1"}}),
        "differ in photometric interpretation",
    ),
    "colour": (Series(common={"PhotometricInterpretation": "PALETTE COLOR"}), "PALETTE COLOR"),
    "packed": (Series(common={"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}), "12 bits"),
    "high bits": (Series(common={"BitsStored": 12, "HighBit": 15}), "12 bits into 16"),
    "scaled by zero": (Series(common={"RescaleSlope": 0}), "by no number"),
    "no pixels": (Series(tags={3: {"PixelData": None}}), "holds no pixels"),
    "too few pixels": (Series(tags={3: {"PixelData": b"\0" * 8}}), "cannot be read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_safe_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    series, said = REFUSED[kind]
    with pytest.raises(BadFileError) as caught:
        read_series(series.write(tmp_path / "s"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert MARK not in str(caught.value)


def test_a_slice_cut_off_within_its_header_is_not_passed_over(tmp_path: Path) -> None:
    folder = Series(tags={2: {"Rows": None}}).write(tmp_path / "s")
    with pytest.raises(BadFileError, match="no slice"):
        read_series(folder)


def test_a_file_that_is_no_dicom_is_named(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "s")
    (folder / "9.dcm").write_bytes(b"no DICOM" * 100)
    with pytest.raises(BadFileError, match=r"9\.dcm"):
        read_series(folder)


def with_times(number: int) -> dict[str, Any]:
    return {"TemporalPositionIdentifier": 1 + number % 2}


def with_acquisitions(number: int) -> dict[str, Any]:
    return {"AcquisitionNumber": 7 - number % 2, "AcquisitionTime": f"1200{number:02d}"}


@pytest.mark.parametrize("tags", [with_times, with_acquisitions])
@pytest.mark.parametrize("second", [0.0, 0.7])
def test_two_scans_of_one_place_are_never_mixed(
    tmp_path: Path, tags: Callable[[int], dict[str, Any]], second: float
) -> None:
    heights = tuple(2.5 * (number // 2) + second * (number % 2) for number in range(6))
    series = Series(heights=heights, tags={number: tags(number) for number in range(6)})
    with pytest.raises(BadFileError, match=r"holds 2 stacks of slices \(3 of 4 x 5, 3 of 4 x 5\)"):
        read_series(series.write(tmp_path / "s"))


def test_blocks_that_follow_one_another_are_one_scan(tmp_path: Path) -> None:
    blocks: dict[int, dict[str, Any]] = {n: {"AcquisitionNumber": 1 + n // 3} for n in range(6)}
    series = Series(heights=(0, 2, 4, 7, 10, 13), tags=blocks)
    (warning,) = image_warnings(series.write(tmp_path / "s"))
    assert "2.00 mm (2 times), 3.00 mm (3 times)" in warning


def test_check_tells_what_was_made_even(tmp_path: Path) -> None:
    Series(aside=ONE_ROW).write(tmp_path / "imagesTr" / "a_0000")
    (tmp_path / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1}}'
    )
    for deep in (False, True):
        told = [problem for problem in survey(tmp_path, deep=deep).problems if problem.case == "a"]
        (tilted,) = (problem for problem in told if "gantry tilt" in problem.finding)
        assert (tilted.severity, tilted.where) == ("warning", "imagesTr/a_0000")
        assert "masks and results lie" in tilted.advice


def test_the_uid_of_a_copy_is_not_trusted(tmp_path: Path) -> None:
    """Copies under another UID are copies, and slices under one UID are not."""
    series = Series(common={"SOPInstanceUID": "1.2.3.1"})
    folder = series.write(tmp_path / "s")
    copy = series.slice(2)
    copy.SOPInstanceUID = generate_uid()
    copy.save_as(folder / "copy.dcm", enforce_file_format=True)
    voxels, grid = read_series(folder)
    require_in_place(series, voxels, grid)
    assert image_warnings(folder) == ("1 slices repeat others and are left out; remove the copies",)
