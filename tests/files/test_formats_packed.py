"""Files that are packed otherwise than they are called, or hold more than they should."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from voxhint.core.errors import BadFileError
from voxhint.files import read_volume
from voxhint.files.images import image_warnings, read_grid

VALUES = np.arange(120, dtype=np.int16).reshape(4, 5, 6)


@pytest.fixture(params=[nib.Nifti1Image, nib.Nifti2Image])
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    image: Any = request.param(VALUES, np.eye(4))
    nib.save(image, tmp_path / "raw.nii")
    return (tmp_path / "raw.nii").read_bytes()


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_name_may_lie_about_packing(raw: bytes, tmp_path: Path) -> None:
    for name, content, ending in (
        ("a.nii.gz", raw, ".nii"),
        ("a.nii", gzip.compress(raw), ".nii.gz"),
    ):
        path = save(tmp_path / name, content)
        assert np.array_equal(read_volume(path).voxels, VALUES)
        (warning,) = image_warnings(path)
        assert warning.endswith(f"rename it to end in {ending}")


def test_zeros_behind_the_voxels_are_told_and_not_read_to_their_end(
    raw: bytes, tmp_path: Path
) -> None:
    zeros = gzip.compress(bytes(1 << 26), 1)
    for number, content in enumerate((raw + bytes(99), raw, raw)):
        behind = (b"", zeros * 40, bytes(1 << 22))[number]  # inside, another member, unpacked
        path = save(tmp_path / f"{number}.nii.gz", gzip.compress(content) + behind)
        assert np.array_equal(read_volume(path).voxels, VALUES)
        assert bool(image_warnings(path)) == (number < 2)
    path = save(tmp_path / "a.nii", raw + bytes(99))
    assert "zeros" in image_warnings(path)[0]


def test_more_voxels_than_declared_are_refused(raw: bytes, tmp_path: Path) -> None:
    for name, content in (("a.nii", raw + b"abc"), ("a.nii.gz", gzip.compress(raw + b"abc"))):
        with pytest.raises(BadFileError, match="more voxels than its header declares"):
            read_grid(save(tmp_path / name, content))


def test_a_wrong_checksum_is_refused(raw: bytes, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(raw))
    packed[-6] ^= 1
    with pytest.raises(BadFileError):
        read_volume(save(tmp_path / "a.nii.gz", bytes(packed)))
    junk = save(tmp_path / "b.nii.gz", gzip.compress(raw) + b"junk")
    with pytest.raises(BadFileError, match="damaged"):
        read_volume(junk)


@pytest.mark.parametrize("part", [0, 1, 2, 40, 60, 90])
def test_what_is_too_damaged_for_a_header_is_told_in_plain_words(
    raw: bytes, tmp_path: Path, part: int
) -> None:
    packed = gzip.compress(raw)
    spoilt = bytearray(packed)
    spoilt[part] ^= 0x10
    for number, content in enumerate((packed[:part], bytes(spoilt))):
        with pytest.raises(BadFileError, match="copy it again") as told:
            read_volume(save(tmp_path / f"{number}.nii.gz", content))
        assert "Binary block" not in str(told.value)
    with pytest.raises(BadFileError, match="holds 90 bytes"):
        read_volume(save(tmp_path / "short.nii", raw[:90]))


def test_messages_hold_no_folder(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha"):
        with pytest.raises(BadFileError) as caught:
            read_volume(save(tmp_path / name, b"no image at all" * 40))
        assert str(tmp_path) not in str(caught.value)
