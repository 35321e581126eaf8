"""The blur in one pass is the Gaussian filter of SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from voxhint.propagate.gaussian_blur import blurred


@pytest.mark.parametrize("shape", [(9, 12, 7), (2, 3, 1), (1, 1, 5), (24, 20, 30)])
@pytest.mark.parametrize("sigma", [(0.8, 0.8, 0.3), (0.1, 2.0, 1.3), (0.0, 0.6, 3.0)])
def test_the_image_is_blurred_as_by_scipy(
    shape: tuple[int, int, int], sigma: tuple[float, float, float]
) -> None:
    voxels = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    expected = ndimage.gaussian_filter(voxels, sigma)
    assert np.allclose(blurred(voxels, sigma), expected, atol=1e-5)
    elsewhere = np.ascontiguousarray(voxels.T).T  # the same image, laid out otherwise in memory
    assert np.allclose(blurred(elsewhere, sigma), expected, atol=1e-5)
