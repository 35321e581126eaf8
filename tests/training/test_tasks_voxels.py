"""The task of voxels: every loss it may be asked for, and the penalty of what draws."""

from typing import get_args

import numpy as np
import pytest
import torch
from tests.training.scenes import balls, small_net, task
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.config.training import Loss, PW4MedSegTrainConfig

CPU = torch.device("cpu")


def loss_of(config: TrainConfig, net: nn.Module | None = None) -> Tensor:
    asked = task(balls(2), [], config)
    return asked.loss(small_net() if net is None else net, np.random.default_rng(0), CPU)


def paying(weight: float) -> TrainConfig:
    return TrainConfig(pw4medseg=PW4MedSegTrainConfig(kl_weight=weight))


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_can_be_learnt(loss: Loss) -> None:
    net = small_net()
    found = loss_of(TrainConfig(loss=loss), net)
    torch.autograd.backward(found)
    assert torch.isfinite(found)
    assert all(
        weight.grad is not None and weight.grad.isfinite().all() for weight in net.parameters()
    )


class Drawing(nn.Module):
    """A network that draws, and whose penalty is known."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net()
        self.chance: torch.Generator | None = None

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[explicit-override]
        noise = torch.empty_like(image).normal_(generator=self.chance)
        drawn: Tensor = self.net(image + noise)
        return drawn

    def penalty(self) -> Tensor:
        return torch.tensor(7.0)


def test_a_network_that_draws_pays_and_draws_the_same_from_the_same_chance() -> None:
    free = float(loss_of(paying(0.0), Drawing()).detach())
    assert float(loss_of(paying(0.0), Drawing()).detach()) == free
    paid = float(loss_of(paying(0.5), Drawing()).detach())
    assert paid == pytest.approx(free + 3.5)
