"""An edit changes what two velocities disagree about, and nothing else."""

import numpy as np
import pytest
import torch
from tests.flow.analytic import AnalyticFlow, background, ball_at
from torch import Tensor

from voxhint.classify.counterfactual_request import Counted
from voxhint.core.errors import BadRecipeError
from voxhint.flow import edit, levels

PRESENT, ABSENT = AnalyticFlow(label=1), AnalyticFlow(label=0)
DOWN = levels(0.5, 0.02, 10)


def rng() -> np.random.Generator:
    return np.random.default_rng(12)


@pytest.mark.parametrize("draws", [1, 3])
def test_equal_velocities_return_the_image_exactly(draws: int) -> None:
    image = background(2, rng()).float()
    same = edit(image, source=PRESENT, target=PRESENT, levels=DOWN, rng=rng(), draws=draws)
    assert torch.equal(same, image)


def test_velocities_that_differ_by_a_constant_add_it_times_the_way() -> None:
    def more(z: Tensor, _: Tensor) -> Tensor:
        return torch.full_like(z, 0.7)

    def still(z: Tensor, _: Tensor) -> Tensor:
        return torch.zeros_like(z)

    image = background(1, rng())
    moved = edit(image, source=still, target=more, levels=levels(0.6, 0.1, 4), rng=rng())
    torch.testing.assert_close(moved, image + 0.7 * 0.5)


def test_the_target_sees_the_change_made_so_far() -> None:
    def to_zero(z: Tensor, _: Tensor) -> Tensor:
        return -2 * z

    def to_three(z: Tensor, _: Tensor) -> Tensor:
        return 2 * (3 - z)

    image = background(1, rng())
    moved = edit(image, source=to_zero, target=to_three, levels=levels(0.6, 0.1, 5), rng=rng())
    torch.testing.assert_close(moved, image + 3 * (1 - (1 - 2 * 0.1) ** 5))


@pytest.mark.parametrize("radius", [0, 1])
def test_from_with_to_without_a_ball_takes_the_ball_away(radius: int) -> None:
    ball = ball_at((6, 8, 9), radius)
    image = background(1, rng()) + ball
    edited = edit(image, source=PRESENT, target=ABSENT, levels=DOWN, rng=rng(), draws=2)
    found, truth = image - edited > 0.1, ball > 0.25
    dice = 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
    assert dice > 0.8


def test_each_draw_costs_one_evaluation_of_either() -> None:
    source, target = Counted(PRESENT), Counted(ABSENT)
    edit(background(1, rng()), source=source, target=target, levels=DOWN, rng=rng(), draws=3)
    assert (source.images, target.images) == (30, 30)


def test_levels_towards_noise_are_refused() -> None:
    with pytest.raises(BadRecipeError, match="each below the one before"):
        edit(background(1, rng()), source=PRESENT, target=ABSENT, levels=(0.1, 0.5), rng=rng())
