"""On which image a mask lies: headers that round, and headers that say two places."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from tests.phantoms import slanted_grid

from voxhint.core import Grid
from voxhint.files import read_ids, write_ids
from voxhint.files.grid_match import place_of
from voxhint.files.images import image_warnings, read_grid

ITK: Any = SimpleITK
NIFTI: Any = nib.Nifti1Image
SHAPE = (4, 5, 6)
HERE, THERE = np.diag([-0.8, -0.8, 3.0, 1]), np.diag([-0.8, -0.8, 3.0, 1])
THERE[:3, 3] = [30, 4, 0]
SKEWED = HERE.copy()
SKEWED[0, 2] = 0.9


def moved(grid: Grid, voxels: float) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += voxels * affine[:3, 1]
    return Grid(grid.shape, affine)


def stretched(grid: Grid, voxels: float) -> Grid:
    """Let the last voxel along j lie further away."""
    affine = grid.affine.copy()
    affine[:3, 1] *= 1 + voxels / (grid.shape[1] - 1)
    return Grid(grid.shape, affine)


@pytest.mark.parametrize("change", [moved, stretched])
@pytest.mark.parametrize(
    ("voxels", "on", "told"),
    [(0.0, True, False), (0.01, True, False), (0.05, True, True), (0.2, False, True)],
)
def test_a_mask_may_be_off_by_what_headers_round(
    change: Any, voxels: float, on: bool, told: bool
) -> None:
    grid = slanted_grid()
    place = place_of(change(grid, voxels), [moved(grid, 40), grid])
    assert (place.grid is grid) == on
    assert bool(place.told) == told
    assert not told or f"({voxels:.2g} voxels)" in place.told


def test_a_mask_elsewhere_is_refused_with_both_shapes_and_what_differs() -> None:
    grid, other = slanted_grid(SHAPE), slanted_grid((4, 5, 7))
    assert "4 x 5 x 7 voxels where the image has 4 x 5 x 6" in place_of(other, [grid]).told
    told = place_of(moved(grid, 2), [grid]).told
    assert f"{2 * grid.spacing_mm[1]:.3g} mm (2 voxels)" in told
    assert "first voxel at" in told
    assert "spacing" not in told
    assert "directions" not in told
    assert "spacing" in place_of(stretched(grid, 2), [grid]).told
    turned = Grid(SHAPE, np.diag([-1.0, 1, 1, 1]) @ np.diag([2.0, 2, 2, 1]))
    assert "180 degrees" in place_of(Grid(SHAPE, np.diag([2.0, 2, 2, 1])), [turned]).told


def save(
    path: Path,
    qform: tuple[Any, int],
    sform: tuple[Any, int],
    pixdim: tuple[float, float, float] | None = None,
) -> Grid:
    image = NIFTI(np.zeros(SHAPE, np.int16), None)
    image.header.set_qform(qform[0], code=qform[1])
    image.header.set_sform(sform[0], code=sform[1])
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][1:4] = pixdim or image.header["pixdim"][1:4]
    nib.save(image, path)
    return read_grid(path)


def itk_affine(path: Path) -> np.ndarray[Any, Any]:
    reader = ITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    affine = np.eye(4)
    steps = np.array(reader.GetDirection()).reshape(3, 3) * np.array(reader.GetSpacing())
    affine[:3, :3], affine[:3, 3] = steps, reader.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


FORMS = {
    "no codes": ((HERE, 0), (HERE, 0), None),
    "aligned": ((HERE, 1), (THERE, 2), None),
    "template": ((HERE, 2), (THERE, 4), None),
    "scanner": ((HERE, 2), (THERE, 1), None),
    "pixdim": ((HERE, 0), (THERE, 2), (2.0, 2.0, 2.0)),
    "pixdim of the qform": ((HERE, 1), (HERE, 1), (2.0, 2.0, 2.0)),
    "skewed sform": ((HERE, 1), (SKEWED, 1), None),
}


@pytest.mark.parametrize("kind", FORMS)
def test_two_places_in_one_header_are_told_and_a_mask_of_an_itk_program_is_known(
    tmp_path: Path, kind: str
) -> None:
    image, label = tmp_path / "a.nii.gz", tmp_path / "l.nii.gz"
    grid = save(image, *FORMS[kind])
    assert np.allclose(grid.affine, NIFTI.from_filename(image).affine)
    itk = itk_affine(image)
    assert any(np.allclose(other.affine, itk, atol=1e-4) for other in grid.readings())
    (warning,) = image_warnings(image)
    far = max(grid.distance_mm(other) for other in grid.readings())
    assert f"{far:.3g} mm" in warning
    write_ids(label, np.ones(SHAPE, np.uint8), Grid(SHAPE, itk))
    place = place_of(read_grid(label), [grid])
    assert place.grid is grid
    assert ("programs on ITK" in place.told) == (grid.distance_mm(Grid(SHAPE, itk)) > 1e-2)


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_lies_on_its_image_in_every_program(tmp_path: Path, kind: str, suffix: str) -> None:
    image, mask = tmp_path / f"a{suffix}", tmp_path / "m.nii.gz"
    grid = save(image, *FORMS[kind])
    write_ids(mask, np.ones(SHAPE, np.uint8), grid)
    ours, theirs = (NIFTI.from_filename(path).header for path in (image, mask))
    for field in ("qform_code", "sform_code", "qoffset_x", "srow_x", "pixdim", "xyzt_units"):
        assert np.array_equal(ours[field], theirs[field])
    assert np.array_equal(itk_affine(image), itk_affine(mask))
    ids, back = read_ids(mask)
    assert ids.min() == 1
    assert np.array_equal(back.affine, grid.affine)
    assert place_of(back, [grid]).told == ""


def test_one_place_is_no_matter(tmp_path: Path) -> None:
    for codes in ((1, 0), (0, 2), (1, 2), (1, 1)):
        path = tmp_path / "a.nii.gz"
        assert save(path, (THERE, codes[0]), (THERE, codes[1])).also == ()
        assert image_warnings(path) == ()


def test_a_mask_of_another_image_is_not_taken_for_one_of_an_itk_program(tmp_path: Path) -> None:
    grid = save(tmp_path / "a.nii.gz", *FORMS["aligned"])
    assert place_of(moved(Grid(SHAPE, HERE), 1), [grid]).grid is None
