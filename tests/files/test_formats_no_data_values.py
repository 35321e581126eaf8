"""Voxels without a measurement are told from measurements, and nothing is invented in silence."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from voxhint.core.errors import BadFileError
from voxhint.files import read_volume

NIFTI: Any = nib.Nifti1Image
FLTMAX = float(np.finfo(np.float32).max)
SEEN = np.random.default_rng(0).normal(40, 30, (6, 5, 4)).astype(np.float32)
HOLE = np.zeros(SEEN.shape, bool)
HOLE[0], HOLE[3, 2, 1] = True, True


def save(path: Path, values: Any) -> Path:
    nib.save(NIFTI(values, np.eye(4)), path)
    return path


def holed(*values: float) -> Any:
    voxels = SEEN.astype(np.float64)
    voxels[HOLE] = np.resize(values, int(HOLE.sum()))
    return voxels


@pytest.mark.parametrize(
    "values",
    [
        (np.nan,),
        (np.inf,),
        (-np.inf, np.nan),
        (-FLTMAX,),
        (-FLTMAX, FLTMAX),
        (1e30,),
        (-1e20,),
        (9.96921e36,),
        (-1.7976931348623157e308,),
        (2**32 - 1,),
        (-(2.0**31),),
        (-32768.0,),
        (-32768.0, np.nan),
    ],
)
def test_what_stands_for_nothing_becomes_the_smallest_measurement(
    tmp_path: Path, values: tuple[float, ...]
) -> None:
    volume = read_volume(save(tmp_path / "a.nii.gz", holed(*values)))
    assert np.array_equal(volume.voxels[~HOLE], SEEN[~HOLE])
    assert (volume.voxels[HOLE] == SEEN[~HOLE].min()).all()
    (note,) = volume.notes
    assert f"{HOLE.sum()} of {SEEN.size} voxels are no data" in note


def test_hounsfield_images_are_filled_with_air(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", holed(np.nan))
    assert (read_volume(path, channel="CT").voxels[HOLE] == -1024).all()
    path = save(tmp_path / "b.nii.gz", holed(np.nan) - 2000)
    filled = read_volume(path, channel="CT").voxels
    assert (filled[HOLE] == filled[~HOLE].min()).all()


def test_whole_numbers_of_16_bits_hold_fillers_too(tmp_path: Path) -> None:
    voxels = np.where(HOLE, -32768, SEEN.round()).astype(np.int16)
    volume = read_volume(save(tmp_path / "a.nii.gz", voxels))
    assert volume.voxels.min() == voxels[~HOLE].min()


@pytest.mark.parametrize(
    "values",
    [
        SEEN,
        np.arange(120, dtype=np.float32).reshape(SEEN.shape) * 1e9,
        np.linspace(-32768, 32767, 120).reshape(SEEN.shape).astype(np.int16),
        np.linspace(-32768, 0, 120).reshape(SEEN.shape),
        SEEN * 1e12,
        holed(-9999.0),
    ],
)
def test_measurements_stay_as_they_are(tmp_path: Path, values: Any) -> None:
    volume = read_volume(save(tmp_path / "a.nii.gz", values))
    assert np.array_equal(volume.voxels, values.astype(np.float32))
    assert volume.notes == ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (SEEN * np.float64(1e30), "rescale"),
        (SEEN * np.float64(1e38), "no data|rescale"),
        (np.where(HOLE, np.nan, SEEN * np.float64(1e30)), "rescale"),
        (SEEN * np.nan, "nothing else is left"),
        (np.where(HOLE, 7.0, np.nan), "the others are all 7"),
        (np.full(SEEN.shape, 1e30), "rescale"),
        (np.full(SEEN.shape, -FLTMAX, np.float32), "rescale"),
    ],
)
def test_what_cannot_be_reckoned_with_is_refused(tmp_path: Path, values: Any, said: str) -> None:
    with pytest.raises(BadFileError, match=said):
        read_volume(save(tmp_path / "a.nii.gz", values))


def test_differences_too_small_for_a_network_are_told(tmp_path: Path) -> None:
    (note,) = read_volume(save(tmp_path / "a.nii.gz", SEEN * np.float64(1e-11))).notes
    assert "differ too little" in note
