"""Surroundings of single voxels and of boxes are those of the whole image, blurred at once."""

import numpy as np
import pytest
from scipy import ndimage
from tests.propagate.grids import plain_grid

from voxhint.core import Volume
from voxhint.propagate.surroundings import Surroundings
from voxhint.propagate.voxel_features import typical_voxels

GRID = plain_grid((30, 25, 10), (0.9, 1.1, 2.5))
BLURS_MM = (0.7, 1.5, 3.0, 6.0)


def described() -> Surroundings:
    voxels = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 100, GRID.shape), 1)
    image = Volume(voxels.astype(np.float32), GRID)
    return Surroundings.of(image, typical_voxels(np.zeros((0, 3), np.int64), GRID))


def test_single_voxels_are_described_as_boxes_are() -> None:
    one = described()
    i, j, k = GRID.shape
    whole = one.of_block((slice(0, i), slice(0, j), slice(0, k)))
    index = np.argwhere(np.ones(GRID.shape, np.bool_))
    np.testing.assert_allclose(one.at(index), whole.reshape(len(whole), -1), atol=1e-5)
    part = (slice(3, 9), slice(0, 25), slice(4, 10))
    np.testing.assert_allclose(one.of_block(part), whole[:, *part], atol=1e-6)


@pytest.mark.parametrize("number", range(4))
def test_blurs_are_gaussians_in_millimetres(number: int) -> None:
    one, blur = described(), BLURS_MM[number]
    i, j, k = GRID.shape
    found = one.of_block((slice(0, i), slice(0, j), slice(0, k)))[1 + number]
    sigma = blur / GRID.spacing_mm
    wanted = 2 * ndimage.gaussian_filter(one.scaled(one.image.voxels), sigma, truncate=3) - 1
    assert (blur in one.coarse) == (number == 3)
    np.testing.assert_allclose(found, wanted, atol=0.15 * wanted.std() if number == 3 else 1e-5)


def test_the_slope_is_that_of_the_blurred_image() -> None:
    one = described()
    i, j, k = GRID.shape
    found = one.of_block((slice(0, i), slice(0, j), slice(0, k)))[-1]
    scaled = one.scaled(one.image.voxels)
    wanted = ndimage.gaussian_gradient_magnitude(scaled, 1 / GRID.spacing_mm, truncate=3)
    np.testing.assert_allclose(found, wanted / one.steep, atol=1e-5)
    assert np.mean(found) == pytest.approx(1 / 3, rel=1e-3)
