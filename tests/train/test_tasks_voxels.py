"""The task of voxels: every loss it may be asked for, the teacher, the penalty, the size."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.scenes import balls, learn, plan, settings, small_net, task
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.train import VoxelTask

CPU = torch.device("cpu")


def loss_of(config: TrainConfig, net: nn.Module | None = None, step: int = 1000) -> Tensor:
    asked = task(balls(2), [], config)
    asked.attend(step, lambda image: 20 * torch.randn(len(image), 2, *image.shape[2:]))
    torch.manual_seed(0)  # of the teacher alone
    return asked.loss(small_net() if net is None else net, np.random.default_rng(0), CPU)


@pytest.mark.parametrize(
    ("loss", "noise"),
    [
        *product(("hints", "probability"), ("none", "dice", "gce", "correlated")),
        *product(("published",), ("none", "correlated")),
    ],
)
def test_every_loss_can_be_learnt(loss: str, noise: str) -> None:
    net = small_net()
    config = TrainConfig(loss=loss, noise=noise)  # type: ignore[arg-type]
    found = loss_of(config, net)
    torch.autograd.backward(found)
    assert torch.isfinite(found)
    assert all(
        weight.grad is not None and weight.grad.isfinite().all() for weight in net.parameters()
    )


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(noise="correlated"),
        TrainConfig(teacher_weight=1.0),
    ],
    ids=["correlated", "teacher"],
)
def test_what_the_network_says_counts_once_it_has_learnt_something(config: TrainConfig) -> None:
    half = [replace(ball, claims=half_known(ball.claims)) for ball in balls(2)]

    def value(config: TrainConfig, step: int) -> float:
        asked = VoxelTask.of(half, [], plan(), config)
        asked.attend(step, lambda image: 20 * torch.ones(len(image), 2, *image.shape[2:]).cumsum(1))
        return float(asked.loss(small_net(), np.random.default_rng(0), CPU).detach())

    usual = value(TrainConfig(), 100)
    assert value(config, 100) == usual
    assert value(config, 300) != usual


def half_known(claims: np.ndarray) -> np.ndarray:
    known = claims.copy()
    known[0, ..., 5:], known[1, ..., 5:] = 0, 1
    return known


def test_the_teacher_is_the_averaged_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    heard: list[tuple[float, Tensor]] = []

    def listen(_: VoxelTask, done: float, teacher: Callable[[Tensor], Tensor], /) -> None:
        heard.append((done, teacher(image)))

    monkeypatch.setattr(VoxelTask, "attend", listen)
    learn(settings(tmp_path, steps=2), held_out=0)
    assert [step for step, _ in heard] == [0, 1]
    with torch.no_grad():
        torch.testing.assert_close(heard[0][1], small_net()(image))
    assert not torch.equal(heard[0][1], heard[1][1])
    assert not heard[1][1].requires_grad


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
    free = float(loss_of(TrainConfig(kl_weight=0.0), Drawing()).detach())
    assert float(loss_of(TrainConfig(kl_weight=0.0), Drawing()).detach()) == free
    paid = float(loss_of(TrainConfig(kl_weight=0.5), Drawing()).detach())
    assert paid == pytest.approx(free + 3.5)


def test_the_size_prior_is_asked_for_by_its_weight() -> None:
    fit = task(balls(2), [], TrainConfig(size_weight=1.0)).fit.every
    assert all(case.hull_share is not None and case.hull_share[1] >= 1 for case in fit)
    assert all(case.hull_share is None for case in task(balls(2), [], TrainConfig()).fit.every)
    assert loss_of(TrainConfig(size_weight=1.0)) > loss_of(TrainConfig())
