"""The straight path and what a velocity on it says."""

import numpy as np
import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation
from torch import Tensor

from voxhint.flow import interpolate
from voxhint.flow.straight_path import PathPoint, over_voxels, renoise, white_noise

RNG = np.random.default_rng(3)
IMAGE = torch.from_numpy(RNG.standard_normal((2, 3, 4, 5, 2)))
NOISE = torch.from_numpy(RNG.standard_normal((2, 3, 4, 5, 2)))


def test_the_ends_of_the_path_are_image_and_noise() -> None:
    point = interpolate(IMAGE, NOISE, torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert torch.equal(point.z[0], IMAGE[0])
    assert torch.equal(point.z[1], NOISE[1])


@pytest.mark.parametrize("s", [0.1, 0.5, 0.99])
def test_the_training_target_leads_back_to_both_ends(s: float) -> None:
    point = interpolate(IMAGE, NOISE, torch.full((2,), s, dtype=torch.float64))
    torch.testing.assert_close(point.image, IMAGE)
    torch.testing.assert_close(point.noise, NOISE)


def test_one_level_for_two_samples_is_refused() -> None:
    with pytest.raises(BeartypeCallHintParamViolation):
        interpolate(IMAGE, NOISE, torch.tensor([0.5], dtype=torch.float64))


def test_estimates_and_score_of_a_gaussian_flow_are_its_conditional_means() -> None:
    mean, sd = 0.7, 0.4
    s = torch.tensor([0.2, 0.9], dtype=torch.float64)
    share = over_voxels(s)
    variance = (1 - share) ** 2 * sd**2 + share**2
    off = IMAGE - (1 - share) * mean
    clean = mean + (1 - share) * sd**2 / variance * off
    noise = share / variance * off
    point = PathPoint(IMAGE, s, velocity=clean - noise)
    torch.testing.assert_close(point.image, clean)
    torch.testing.assert_close(point.noise, noise)
    torch.testing.assert_close(point.score, -off / variance)


@pytest.mark.parametrize(("start", "end"), [(0.3, 0.5), (0.0, 0.6), (0.4, 1.0), (0.5, 0.5)])
def test_noise_added_again_leaves_the_mean_and_spread_of_its_level(
    start: float, end: float
) -> None:
    image = torch.full((1, 1, 50, 50, 40), 2.0, dtype=torch.float64)
    rng = np.random.default_rng(5)
    z: Tensor = (1 - start) * image + start * white_noise(rng, image)
    again = renoise(z, white_noise(rng, image), start=start, end=end)
    count = image.numel()
    assert abs(float(again.mean()) - (1 - end) * 2) < 5 * end / count**0.5
    assert abs(float(again.var()) / end**2 - 1) < 5 * (2 / count) ** 0.5


def test_noise_is_white_and_takes_precision_from_its_field() -> None:
    noise = white_noise(np.random.default_rng(0), torch.zeros(1, 2, 30, 30, 30))
    assert noise.dtype == torch.float32
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
