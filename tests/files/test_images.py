"""Images, masks and probabilities: what is written comes back, what is damaged is refused."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.phantoms import slanted_grid

from voxhint.core import Grid, Volume
from voxhint.core.errors import BadFileError
from voxhint.files import (
    read_ids,
    read_probability,
    read_volume,
    write_ids,
    write_image,
    write_probability,
)
from voxhint.files.channel_units import unit_of
from voxhint.files.formats import compression, nifti
from voxhint.files.images import image_stem, read_grid

SITK: Any = SimpleITK
NIFTI: Any = nib.Nifti1Image
HEADER: Any = nib.Nifti1Header
GRID = slanted_grid((4, 5, 6))
VALUES = np.arange(120, dtype=np.float32).reshape(GRID.shape) - 30


def save_sitk(path: Path, values: np.ndarray[Any, Any], grid: Grid) -> None:
    """Write with SimpleITK as another program would: k, j, i and LPS."""
    image = SITK.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    turn = np.diag([-1.0, -1, 1])
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetOrigin((turn @ grid.affine[:3, 3]).tolist())
    image.SetDirection((turn @ (grid.affine[:3, :3] / grid.spacing_mm)).ravel().tolist())
    SITK.WriteImage(image, str(path))


def save_nifti(path: Path, values: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> None:
    nib.save(NIFTI(values, affine), path)


def test_an_image_comes_back_with_its_very_voxels_and_affine(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_image(path, Volume(VALUES, GRID))
    back = read_volume(path, channel="CT")
    assert np.array_equal(back.voxels, VALUES)
    assert np.array_equal(back.grid.affine, GRID.affine)
    assert np.array_equal(read_grid(path).affine, GRID.affine)
    assert back.unit == "HU"
    assert back.voxels.flags.c_contiguous


def test_both_forms_of_the_header_say_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_ids(path, np.zeros(GRID.shape, np.uint8), GRID)
    header: Any = nib.load(path).header
    assert header["sform_code"] > 0
    assert header["qform_code"] > 0
    assert np.allclose(header.get_qform(), header.get_sform(), atol=1e-4)


def test_a_shear_is_written_to_the_sform_alone(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.5
    grid = Grid((4, 5, 6), affine)
    write_ids(tmp_path / "a.nii.gz", np.zeros(grid.shape, np.uint8), grid)
    header: Any = nib.load(tmp_path / "a.nii.gz").header
    assert header["qform_code"] == 0
    assert np.array_equal(read_grid(tmp_path / "a.nii.gz").affine, affine)


def test_the_same_values_give_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    ids = (VALUES > 0).astype(np.uint8)
    write_ids(tmp_path / "a.nii.gz", ids, GRID)
    write_ids(tmp_path / "b.nii.gz", ids, GRID)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@settings(max_examples=20, deadline=None)
@given(ids=hnp.arrays(np.uint8, (3, 2, 4)))
def test_every_id_survives(tmp_path_factory: pytest.TempPathFactory, ids: Any) -> None:
    path = tmp_path_factory.mktemp("ids") / "m.nii.gz"
    write_ids(path, ids, slanted_grid((3, 2, 4)))
    assert np.array_equal(read_ids(path)[0], ids)


@settings(max_examples=20, deadline=None)
@given(values=hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(0, 1, width=32)))
def test_probabilities_survive_to_a_step_and_0_and_1_exactly(
    tmp_path_factory: pytest.TempPathFactory, values: Any
) -> None:
    values[0, 0, :3] = [0, 0.5, 1]
    path = tmp_path_factory.mktemp("soft") / "p.nii.gz"
    write_probability(path, values, slanted_grid((3, 2, 4)))
    back, _ = read_probability(path)
    assert np.abs(back - values).max() <= 2.0**-16
    assert back[0, 0, :3].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nii", ".nii.gz"])
def test_every_format_from_another_program_lies_in_the_same_place(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    save_sitk(path, VALUES, GRID)
    back = read_volume(path)
    assert np.array_equal(back.voxels, VALUES)
    assert np.allclose(back.grid.affine, GRID.affine, atol=1e-5)
    assert read_grid(path).same(back.grid)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = NIFTI(np.full((2, 3, 4), 7, np.int16), np.eye(4))
    image.header.set_slope_inter(2, -1000)
    nib.save(image, tmp_path / "a.nii")
    assert (read_volume(tmp_path / "a.nii").voxels == 7 * 2 - 1000).all()


@pytest.mark.parametrize("kind", ["u1", "<i2", ">i2", ">f4", "<f8"])
@pytest.mark.parametrize(("suffix", "slope"), [(".nii", 1), (".nii.gz", 1), (".nii.gz", 0.5)])
def test_voxels_that_come_in_pieces_are_those_of_nibabel(
    tmp_path: Path, kind: str, suffix: str, slope: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nifti, "_PIECE", 100)
    monkeypatch.setattr(nifti, "_TOGETHER", 2)
    monkeypatch.setattr(compression, "_CHUNK", 100)
    path = tmp_path / f"a{suffix}"
    header: Any = HEADER(endianness=">" if ">" in kind else "<")
    header.set_data_dtype(np.dtype(kind))
    image = NIFTI(np.arange(210).reshape(7, 5, 6).astype(kind), np.eye(4), header)
    image.header.set_slope_inter(slope, 3 if slope < 1 else 0)
    nib.save(image, path)
    loaded: Any = nib.load(path)
    found, _ = nifti.read_nifti(path, single=True)
    assert found.flags.c_contiguous
    assert found.dtype == np.float32
    assert np.array_equal(found, loaded.get_fdata(dtype=np.float32))
    stored, _ = nifti.read_nifti(path, single=False)
    assert stored.dtype == np.asanyarray(loaded.dataobj).dtype
    assert np.array_equal(stored, np.asanyarray(loaded.dataobj))


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_a_trailing_axis_of_length_1_is_squeezed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".mha":
        SITK.WriteImage(SITK.GetImageFromArray(np.ones((1, 4, 3, 2)), isVector=False), str(path))
    else:
        save_nifti(path, np.ones((2, 3, 4, 1), np.float32), np.eye(4))
    assert read_volume(path).voxels.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a_0000.nii.gz", "a_0000"), ("1.2.3.mhd", "1.2.3"), ("1.2.3", "1.2.3"), ("B.NII.GZ", "B")],
)
def test_only_image_suffixes_are_cut_from_a_name(name: str, stem: str) -> None:
    assert image_stem(Path(name)) == stem


@pytest.mark.parametrize(
    ("channel", "unit"),
    [("CT", "HU"), ("ct", "HU"), ("CECT", "HU"), ("SPECT", "a.u."), ("T1 fraction", "a.u.")],
)
def test_the_unit_follows_the_channel(channel: str, unit: str) -> None:
    assert unit_of(channel) == unit


def _cut(path: Path, keep: float) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])


def _plain(path: Path, values: np.ndarray[Any, Any] = VALUES) -> None:
    save_nifti(path, values, np.eye(4))


def _plain_cut(path: Path) -> None:
    _plain(path)
    _cut(path, 0.8)


def _lie(path: Path, side: int) -> None:
    """Let a header promise a cube of `side`."""
    _plain(path)
    packed = path.name.endswith(".gz")
    raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    raw[42:48] = struct.pack("<3h", side, side, side)
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))


def _unit(path: Path) -> None:
    image = NIFTI(VALUES, np.eye(4))
    image.header.set_xyzt_units("micron")
    nib.save(image, path)


def _noise(path: Path) -> None:
    path.write_bytes(b"no image at all, but long enough to look at" * 20)


def _sitk_cut(path: Path, *, packed: bool) -> None:
    image = SITK.GetImageFromArray(np.random.default_rng(0).normal(size=(20, 20, 20)))
    SITK.WriteImage(image, str(path), useCompression=packed)
    _cut(path, 0.6)


def _bad_affine(path: Path, value: float) -> None:
    image = NIFTI(VALUES, np.eye(4))
    image.header["sform_code"] = 1
    nib.save(image, path)
    raw = bytearray(path.read_bytes())
    raw[280:284] = struct.pack("<f", value)
    path.write_bytes(bytes(raw))


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "missing": ("a.nii.gz", lambda _: None, "no such file"),
    "unknown suffix": ("a.png", _noise, "no reader"),
    "noise": ("a.nii.gz", _noise, "cannot be read"),
    "noise in mha": ("a.mha", _noise, "cannot be read"),
    "noise in nrrd": ("a.nrrd", _noise, "cannot be read"),
    "empty": ("a.nii.gz", lambda path: path.touch(), "holds 0 bytes"),
    "2D": ("a.nii.gz", lambda path: _plain(path, VALUES[0]), "2 axes"),
    "4D": ("a.nii.gz", lambda path: _plain(path, np.ones((2, 3, 4, 5))), "4 axes (2 x 3 x 4 x 5)"),
    "complex": ("a.nii", lambda path: _plain(path, VALUES.astype(np.complex64)), "complex"),
    "cut gzip": ("a.nii.gz", _plain_cut, "a.nii.gz"),
    "cut plain": ("a.nii", _plain_cut, "cut short"),
    "cut mha": ("a.mha", lambda path: _sitk_cut(path, packed=False), "cut short"),
    "cut packed mha": ("a.mha", lambda path: _sitk_cut(path, packed=True), "before its header"),
    "cut nrrd": ("a.nrrd", lambda path: _sitk_cut(path, packed=False), "cut short"),
    "cut packed nrrd": ("a.nrrd", lambda path: _sitk_cut(path, packed=True), "damaged"),
    "terabytes": ("a.nii", lambda path: _lie(path, 30000), "more than 4e9"),
    "terabytes packed": ("a.nii.gz", lambda path: _lie(path, 30000), "more than 4e9"),
    "gigabytes": ("a.nii", lambda path: _lie(path, 900), "holds"),
    "gigabytes packed": ("a.nii.gz", lambda path: _lie(path, 900), "holds"),
    "a bit more, packed": ("a.nii.gz", lambda path: _lie(path, 8), "before its header promises"),
    "zero axis": ("a.nii", lambda path: _lie(path, 0), "is empty"),
    "negative axis": ("a.nii", lambda path: _lie(path, -4), "a.nii"),
    "NaN affine": ("a.nii", lambda path: _bad_affine(path, float("nan")), "affine"),
    "flat affine": ("a.nii", lambda path: _bad_affine(path, 0), "affine"),
    "microns": ("a.nii.gz", _unit, "micron"),
    "empty folder": ("a", lambda path: path.mkdir(), "DICOM"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_image_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    name, spoil, said = DAMAGE[kind]
    spoil(tmp_path / name)
    with pytest.raises(BadFileError) as caught:
        read_volume(tmp_path / name)
    assert said in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


IN_VOXELS = {"cut packed nrrd"}


@pytest.mark.parametrize("kind", sorted(set(DAMAGE) - IN_VOXELS))
def test_the_header_alone_shows_all_other_damage(tmp_path: Path, kind: str) -> None:
    name, spoil, said = DAMAGE[kind]
    spoil(tmp_path / name)
    with pytest.raises(BadFileError) as caught:
        read_grid(tmp_path / name)
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [0.5, -1, 256, float("nan"), float("inf")])
def test_a_mask_of_anything_but_ids_is_refused(tmp_path: Path, value: float) -> None:
    _plain(tmp_path / "m.nii.gz", np.array([[[0.0, 1, value]]]))
    with pytest.raises(BadFileError, match="label ids"):
        read_ids(tmp_path / "m.nii.gz")


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64, np.uint16])
def test_ids_are_read_from_any_number_type(tmp_path: Path, kind: type) -> None:
    _plain(tmp_path / "m.nii.gz", np.array([[[0, 1, 255]]], kind))
    assert read_ids(tmp_path / "m.nii.gz")[0].ravel().tolist() == [0, 1, 255]


@pytest.mark.parametrize("value", [1.0000001, 0.9999, 3.0005])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rounding_of_an_id_is_forgiven(tmp_path: Path, value: float, kind: type) -> None:
    _plain(tmp_path / "m.nii.gz", np.array([[[0, 2, value]]], kind))
    assert read_ids(tmp_path / "m.nii.gz")[0].ravel().tolist() == [0, 2, round(value)]


@pytest.mark.parametrize("highest", [1, 3, 4, 7, 100])
def test_ids_stored_through_a_slope_are_those_that_were_meant(tmp_path: Path, highest: int) -> None:
    values = np.arange(highest + 1, dtype=np.float64)[:, None, None]
    image = NIFTI(values, np.eye(4))
    image.set_data_dtype(np.uint8)  # which lets nibabel choose a slope of highest / 255
    nib.save(image, tmp_path / "m.nii.gz")
    stored: Any = nib.load(tmp_path / "m.nii.gz")
    assert stored.dataobj.slope != 1
    assert np.array_equal(read_ids(tmp_path / "m.nii.gz")[0], values)


def test_ids_made_small_by_a_slope_are_refused_with_a_value(tmp_path: Path) -> None:
    image = NIFTI(np.array([[[0, 1, 2]]], np.uint8), np.eye(4))
    image.header.set_slope_inter(1 / 255, 0)
    nib.save(image, tmp_path / "m.nii.gz")
    with pytest.raises(BadFileError, match=r"such as 0\.0039.* slope of 0\.0039"):
        read_ids(tmp_path / "m.nii.gz")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_probability_outside_0_to_1_is_refused(tmp_path: Path, value: float) -> None:
    _plain(tmp_path / "p.nii.gz", np.array([[[0.0, 1, value]]]))
    with pytest.raises(BadFileError, match="probabilities"):
        read_probability(tmp_path / "p.nii.gz")


def test_rounding_of_a_probability_is_forgiven(tmp_path: Path) -> None:
    _plain(tmp_path / "p.nii.gz", np.array([[[0.0, 1.000001]]]))
    assert read_probability(tmp_path / "p.nii.gz")[0].max() == 1


def test_gzip_of_several_members_is_read(tmp_path: Path) -> None:
    _plain(tmp_path / "a.nii")
    raw = (tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(raw[:400]) + gzip.compress(raw[400:]))
    assert np.array_equal(read_volume(path).voxels, VALUES)


def test_mhd_without_its_voxels_names_the_missing_file(tmp_path: Path) -> None:
    save_sitk(tmp_path / "a.mhd", VALUES, GRID)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(BadFileError, match=r"a\.raw, which is missing"):
        read_grid(tmp_path / "a.mhd")
