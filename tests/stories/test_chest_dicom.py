"""A full chest CT in DICOM: its mask lies where its slices lie, told by their own headers."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from tests.stories.commands import voxhint

STUDY = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "chest-dicom"
QUICK = ("--steps", "2", "--width", "4", "--patch-voxels", "20000", "--overlap", "0")


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not STUDY.is_dir(), reason="the real scans are not here")
def test_the_mask_of_a_series_lies_on_its_slices(tmp_path: Path) -> None:
    done = voxhint("run", STUDY, "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "run" / "masksTr").glob("*.nii.gz")
    mask = nib.load(path)
    assert isinstance(mask, nib.Nifti1Image)
    (series,) = (STUDY / "imagesTr").iterdir()
    slices = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.iterdir()]
    assert mask.shape == (slices[0].Columns, slices[0].Rows, len(slices))
    to_index = np.linalg.inv(mask.affine)
    seen = set()
    for header in slices:
        across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        step_down, step_across = map(float, header.PixelSpacing)
        corner = np.array(header.ImagePositionPatient, float)
        for i, j in ((0, 0), (header.Columns - 1, 0), (17, header.Rows - 1)):
            lps = corner + i * step_across * across + j * step_down * down
            index = to_index @ [-lps[0], -lps[1], lps[2], 1]
            np.testing.assert_allclose(index[:2], [i, j], atol=1e-3)
            assert abs(index[2] - round(index[2])) < 1e-3
            seen.add(round(index[2]))
    assert seen == set(range(len(slices)))
