"""Programs of others read on a real series what was written for them; those not here are left."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from jaxtyping import UInt8
from tests.files.test_real_dicom import CHEST, slices

from voxhint.files.dicom.source_series import open_source
from voxhint.files.dicom.write_rtstruct import write_rtstruct
from voxhint.files.dicom.write_seg import Origin, write_seg
from voxhint.files.label_codes import segments_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not CHEST.is_dir(), reason="no real scans here"),
]
LABELS = ("liver", "spleen")
itk: Any = SimpleITK


def mask() -> UInt8[np.ndarray, "slice row column"]:
    """Return a shell with a hole, and a ball."""
    z, y, x = np.ogrid[:30, :512, :512]
    far = ((z - 15) / 6) ** 2 + ((y - 230) / 70) ** 2 + ((x - 205) / 50) ** 2
    ball = ((z - 15) / 4) ** 2 + ((y - 256) / 30) ** 2 + ((x - 384) / 30) ** 2
    return np.where((far < 1) & (far >= 0.3), 1, np.where(ball < 1, 2, 0)).astype(np.uint8)


def laid(path: Path) -> UInt8[np.ndarray, "slice row column"]:
    """Return an image of any extent as whole slices of the series, half a pixel off at most."""
    image, headers = itk.ReadImage(str(path)), slices(CHEST)
    first, second = (np.array(one.ImagePositionPatient, float) for one in headers[:2])
    across, down = (float(step) for step in headers[0].PixelSpacing[::-1])
    k, j, i = np.nonzero(itk.GetArrayFromImage(image))
    index = np.stack([i, j, k], 1).tolist()
    places = np.array([image.TransformIndexToPhysicalPoint(one) for one in index])
    near = (places - first) / [across, down, second[2] - first[2]]
    np.testing.assert_allclose(near, np.rint(near), atol=0.01)
    found = np.zeros((30, 512, 512), np.uint8)
    found[tuple(np.rint(near).astype(int).T[::-1])] = 1
    return found


def told(tool: str, *words: object) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    done = subprocess.run([tool, *map(str, words)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def written(tmp_path: Path) -> Path:
    source, segments = open_source(CHEST), segments_of(LABELS, tmp_path)
    origin = Origin(hinted=False)
    write_seg(tmp_path / "seg.dcm", mask(), source, segments, kind="binary", origin=origin)
    write_rtstruct(tmp_path / "rtstruct.dcm", mask(), source, segments, hinted=False)
    return tmp_path


@pytest.mark.parametrize("name", ["seg.dcm", "rtstruct.dcm"])
def test_dciodvfy_finds_no_error(written: Path, name: str) -> None:
    assert "Error" not in told("dciodvfy", written / name)


def test_dcmqi_reads_every_voxel_of_a_segmentation(written: Path) -> None:
    (written / "out").mkdir()
    words = ("--inputDICOM", written / "seg.dcm", "--outputDirectory", written / "out")
    told("segimage2itkimage", *words, "--outputType", "nrrd")
    for number in (1, 2):
        np.testing.assert_array_equal(laid(written / "out" / f"{number}.nrrd"), mask() == number)


def test_plastimatch_fills_contours_to_every_voxel_and_leaves_holes(written: Path) -> None:
    words = ("--input", written / "rtstruct.dcm", "--referenced-ct", CHEST)
    out = ("--output-prefix", written / "out", "--prefix-format", "nrrd")
    told("plastimatch", "convert", *words, *out)
    for number, label in enumerate(LABELS, 1):
        np.testing.assert_array_equal(laid(written / "out" / f"{label}.nrrd"), mask() == number)
