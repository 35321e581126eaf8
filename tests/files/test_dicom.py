"""A DICOM folder is one even, upright stack, or it is refused with the reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.files.series import PATIENT, STRAIGHT, TURNED, Series

from voxhint.core.errors import BadFileError
from voxhint.files import read_volume
from voxhint.files.dicom import read_series, read_series_grid


@pytest.mark.parametrize("orientation", [STRAIGHT, TURNED])
def test_each_voxel_lies_where_the_standard_says(
    tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    series = Series(orientation=orientation)
    voxels, grid = read_series(series.write(tmp_path / "s"))
    assert voxels.shape == (4, 5, 6)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    for i, j, k in [(0, 0, 0), (3, 0, 0), (0, 4, 0), (1, 2, 5)]:
        lps = series.position(k) + 0.5 * i * row + 0.75 * j * column
        world = grid.to_world(np.array([[i, j, k]], dtype=np.float64))[0]
        assert np.allclose(world, lps * [-1, -1, 1], atol=1e-5)
        assert voxels[i, j, k] == 2.0 * series.stored(k)[j, i] - 1024


def test_the_header_alone_gives_the_same_grid(tmp_path: Path) -> None:
    folder = Series(orientation=TURNED).write(tmp_path / "s")
    assert read_series_grid(folder).same(read_series(folder)[1], tol_mm=0.0)


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path: Path) -> None:
    tags: dict[int, dict[str, Any]] = {
        2: {"RescaleSlope": 3, "RescaleIntercept": 7},
        3: {"RescaleSlope": None},
    }
    series = Series(tags=tags)
    voxels, _ = read_series(series.write(tmp_path / "s"))
    assert np.array_equal(voxels[:, :, 2], 3 * series.stored(2).T + 7)
    assert np.array_equal(voxels[:, :, 3], series.stored(3).T - 1024)


def test_the_unit_follows_the_channel_and_notes_are_passed_over(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "s")
    (folder / "notes.txt").write_text("no slice")
    assert read_volume(folder, channel="CT").unit == "HU"


def test_gaps_that_differ_by_rounding_are_even(tmp_path: Path) -> None:
    heights = (0, 2.5, 5.005, 7.5, 10, 12.495)
    assert read_series_grid(Series(heights=heights).write(tmp_path / "s")).shape[2] == 6


REFUSED = {
    "tilt": (Series(aside=np.tan(np.radians(18.5))), "18.5 degrees (gantry tilt)"),
    "a missing slice": (
        Series(heights=(0, 2.5, 5, 10, 12.5, 15)),
        "2.50 mm (4 times), 5.00 mm (1 times)",
    ),
    "tilt and gaps": (Series(aside=0.1, heights=(0, 1, 2, 3, 7, 8)), "and gaps between"),
    "duplicates": (Series(heights=(0, 2.5, 2.5, 5, 7.5, 10)), "1 slices share their position"),
    "two series": (Series(tags={1: {"SeriesInstanceUID": "1.2.4"}}), "1.2.4 (1 slices)"),
    "localiser": (
        Series(tags={0: {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}}),
        "localisers (0.dcm)",
    ),
    "sizes": (Series(tags={0: {"Rows": 4}}), "4 x 4, 4 x 5"),
    "orientation": (
        Series(tags={0: {"ImageOrientationPatient": list(TURNED)}}),
        "differ in orientation",
    ),
    "spacing": (Series(tags={0: {"PixelSpacing": [0.75, 0.6]}}), "pixel spacing"),
    "skew": (Series(orientation=(1, 0, 0, 0.2, 0.98, 0)), "right-angled"),
    "no position": (Series(tags={0: {"ImagePositionPatient": None}}), "no ImagePositionPatient"),
    "many frames": (Series(tags={0: {"NumberOfFrames": 3}}), "multi-frame"),
    "one slice": (Series(heights=(0,)), "1 DICOM slices"),
    "inverted": (Series(tags={3: {"PhotometricInterpretation": "MONOCHROME1"}}), "MONOCHROME1"),
    "no pixels": (Series(tags={3: {"PixelData": None}}), "cannot be read"),
    "too few pixels": (Series(tags={3: {"PixelData": b"\0" * 8}}), "cannot be read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_folder_that_is_no_even_stack_is_refused(tmp_path: Path, kind: str) -> None:
    series, said = REFUSED[kind]
    with pytest.raises(BadFileError) as caught:
        read_series(series.write(tmp_path / "s"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert PATIENT not in str(caught.value)


def test_a_file_that_is_no_dicom_is_named(tmp_path: Path) -> None:
    folder = Series().write(tmp_path / "s")
    (folder / "9.dcm").write_bytes(b"no DICOM" * 100)
    with pytest.raises(BadFileError, match=r"9\.dcm"):
        read_series(folder)


def test_the_order_of_slices_does_not_matter(tmp_path: Path) -> None:
    series = Series()
    turned = replace(series, heights=series.heights[::-1])
    forth, back = (
        read_series(series.write(tmp_path / "a")),
        read_series(turned.write(tmp_path / "b")),
    )
    assert forth[1].same(back[1])
    assert np.array_equal(forth[0], back[0][:, :, ::-1])
