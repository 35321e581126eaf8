"""Real DICOM series, held against what their headers say when read independently."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from jaxtyping import Float64
from tests.files.test_real_studies import DATA, pytestmark  # noqa: F401 - marks these tests too

from voxhint.core import Grid
from voxhint.files import read_volume, survey, write_ids
from voxhint.files.images import image_warnings, read_grid, read_ids
from voxhint.verbs.import_dicom import import_dicom

ODD = DATA / "odd-dicom" / "ge-tilt-mixed-gaps"
CHEST = DATA / "chest-dicom" / "imagesTr" / "A0002_0000"


def slices(folder: Path) -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    return sorted(found, key=lambda one: float(one.ImagePositionPatient[2]))


def ras_of(one: pydicom.Dataset, columns: list[int], rows: list[int]) -> Float64[np.ndarray, "n 3"]:
    """Return where pixels lie, by the equation of the standard, one term at a time."""
    across, down = np.array(one.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    places = [
        np.array(one.ImagePositionPatient, dtype=np.float64)
        + across * float(one.PixelSpacing[1]) * column
        + down * float(one.PixelSpacing[0]) * row
        for column, row in zip(columns, rows, strict=True)
    ]
    return np.array(places) * [-1, -1, 1]


@pytest.fixture
def odd_study(tmp_path: Path) -> Path:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "head_0000").symlink_to(ODD)
    (tmp_path / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1}}'
    )
    return tmp_path


def test_check_tells_the_tilt_and_the_gaps_that_the_headers_hold(odd_study: Path) -> None:
    headers = slices(ODD)
    across, down = np.array(headers[0].ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    normal = np.cross(across, down)
    positions = np.array([one.ImagePositionPatient for one in headers], dtype=np.float64)
    gaps = Counter(f"{gap:.2f}" for gap in np.diff(positions, axis=0) @ normal)
    assert gaps == {"4.00": 13, "7.00": 13, "1.08": 1}
    step = positions[-1] - positions[0]
    tilt = np.degrees(np.arccos(step @ normal / np.linalg.norm(step)))
    assert abs(tilt - abs(float(headers[0].GantryDetectorTilt))) < 0.1
    (warning,) = (item for item in survey(odd_study).problems if item.severity == "warning")
    assert f"sheared by {tilt:.1f} degrees (gantry tilt)" in warning.finding
    for gap, count in gaps.items():
        assert f"{gap} mm ({count} times)" in warning.finding
    assert f"of {len(headers)} (" in warning.finding
    assert str(warning).startswith("imagesTr/head_0000: ")


def test_every_slice_of_the_tilted_series_is_found_where_it_was(tmp_path: Path) -> None:
    """Rows move by parts of a pixel, so values are held against the two rows beside them."""
    made = import_dicom(ODD, tmp_path / "study")
    assert made.told.startswith("1 ")
    assert "of 1 subject" in made.told
    assert any("gantry tilt" in warning for warning in made.warnings)
    volume = read_volume(tmp_path / "study" / "imagesTr" / "case_001_0000.nii.gz", channel="CT")
    assert volume.grid.same(read_grid(ODD), tol_mm=1e-3)
    directions = volume.grid.affine[:3, :3] / volume.grid.spacing_mm
    assert np.allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    for one in slices(ODD)[:14]:  # these lie 4 mm apart, as the grid's own do
        stored = one.pixel_array.astype(np.float64) * float(one.RescaleSlope)
        stored = np.maximum(stored + float(one.RescaleIntercept), -1024)  # padding is air
        columns, rows = [0, 100, 256, 300, 511], [5, 200, 256, 321, 500]
        index = volume.grid.to_index(ras_of(one, columns, rows))
        assert np.abs(index[:, 2] - np.rint(index[:, 2])).max() < 0.02
        whole = np.rint(index[:, [0, 2]]).astype(int)
        below = np.floor(index[:, 1]).astype(int)
        for n, (column, row) in enumerate(zip(columns, rows, strict=True)):
            here = volume.voxels[whole[n, 0], below[n], whole[n, 1]]
            near = stored[row - 2 : row + 3, column]
            assert near.min() - 1 <= here <= near.max() + 1


def test_a_chest_series_lies_where_its_headers_say(tmp_path: Path) -> None:
    headers, grid = slices(CHEST), read_grid(CHEST)
    assert image_warnings(CHEST) == ()
    assert grid.shape == (int(headers[0].Columns), int(headers[0].Rows), len(headers))
    voxels = read_volume(CHEST, channel="CT").voxels
    mask = np.zeros(grid.shape, dtype=np.uint8)
    mask[::7, ::5, ::3] = 1
    write_ids(tmp_path / "mask.nii.gz", mask, grid)
    ids, stored = read_ids(tmp_path / "mask.nii.gz")
    assert np.array_equal(ids, mask)
    columns, rows = [0, 511, 0, 511, 250], [0, 0, 511, 511, 130]
    for number, one in enumerate(headers):
        index = np.column_stack([columns, rows, [number] * 5]).astype(np.float64)
        world = ras_of(one, columns, rows)
        assert np.allclose(grid.to_world(index), world, atol=1e-4)
        assert np.allclose(stored.to_world(index), world, atol=1e-3)
        expected = one.pixel_array.T * float(one.RescaleSlope) + float(one.RescaleIntercept)
        assert np.array_equal(voxels[:, :, number], expected)


def test_an_export_of_real_series_becomes_a_study(tmp_path: Path) -> None:
    source = tmp_path / "in"
    shutil.copytree(CHEST, source / "x" / "y")
    shutil.copytree(ODD, source / "z")
    for path in list(source.rglob("*.dcm")):
        path.rename(path.with_suffix(""))
    made = import_dicom(source, tmp_path / "out")
    assert made.told.startswith("2 ")
    assert "of 2 subject" in made.told
    (problem,) = survey(tmp_path / "out").problems
    assert problem.where == "hints"
    first = read_volume(tmp_path / "out" / "imagesTr" / "case_001_0000.nii.gz")
    chest: Grid = read_grid(CHEST)
    assert first.grid.same(chest, tol_mm=1e-3)
    assert np.array_equal(first.voxels, read_volume(CHEST).voxels)
