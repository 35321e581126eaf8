"""Mended labels: hints stay, what is ruled out stays out, and a killed training ends alike."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.train.scenes import Interruption, balls, learn, same, settings, small_net, task
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.config.training import Mending
from voxhint.nets import build_trunk
from voxhint.train.batches import Batch
from voxhint.train.mending import Teachers, blended, mended, surest_of_each_class
from voxhint.train.tasks.voxels import _RIPE

WAYS = [way for way in get_args(Mending) if way != "none"]
SHAPE = (2, 3, 4, 4, 4)


def field(seed: int) -> Tensor:
    drawn = np.random.default_rng(seed).random(SHAPE).astype(np.float32)
    return torch.from_numpy(drawn)


def doubtful() -> Batch:
    """Claims of three classes with trust one half; a corner is hinted, class 2 is ruled out."""
    p = field(0).softmax(1)
    belief, plausible = 0.5 * p, 0.5 + 0.5 * p
    belief[:, 2], plausible[:, 2] = 0, 0
    belief[..., 0], plausible[..., 0] = 0, 0
    belief[:, 1, ..., 0] = plausible[:, 1, ..., 0] = 1
    return Batch(field(1)[:, :1], belief, plausible, torch.ones(2, 1, 4, 4, 4))


def parrot(says: Tensor) -> Teachers:
    return Teachers(lambda image: says, lambda image: says)


@pytest.mark.parametrize("way", WAYS)
def test_hints_stay_and_what_is_ruled_out_stays_out(way: Mending) -> None:
    batch, says = doubtful(), 9 * field(2)
    now = mended(batch, says, parrot(says), way, np.random.default_rng(0))
    for claims, before in ((now.belief, batch.belief), (now.plausible, batch.plausible)):
        assert torch.equal(claims[..., 0], before[..., 0])
        assert not claims[:, 2].any()
    assert not torch.equal(now.belief, batch.belief)


@pytest.mark.parametrize("way", WAYS)
def test_mended_claims_are_claims(way: Mending) -> None:
    says = 9 * field(2)
    now = mended(doubtful(), says, parrot(says), way, np.random.default_rng(0))
    assert (now.belief >= 0).all()
    assert (now.belief <= now.plausible + 1e-6).all()
    assert (now.belief.sum(1) <= 1 + 1e-5).all()


def test_nobody_who_is_believed_changes_nothing() -> None:
    batch = doubtful()
    now = blended(batch, field(2).softmax(1), torch.zeros(2, 1, 4, 4, 4))
    assert torch.equal(now.belief, batch.belief)
    assert torch.equal(now.plausible, batch.plausible)


def test_a_word_that_is_wholly_believed_is_the_label_among_what_is_possible() -> None:
    said = field(2).softmax(1)
    now = blended(doubtful(), said, torch.ones(2, 1, 4, 4, 4))
    possible = said[:, :2] / said[:, :2].sum(1, keepdim=True)
    assert torch.allclose(now.belief[:, :2, ..., 1:], possible[..., 1:], atol=1e-6)
    assert torch.allclose(now.plausible, now.belief, atol=1e-6)


def test_what_lies_beyond_the_case_is_not_mended() -> None:
    batch = replace(doubtful(), inside=torch.zeros(2, 1, 4, 4, 4))
    now = blended(batch, field(2).softmax(1), torch.ones(2, 1, 4, 4, 4))
    assert torch.equal(now.belief, batch.belief)


def test_a_rare_class_has_its_surest_voxels_too() -> None:
    said = torch.zeros(1, 2, 10, 10, 10)
    said[:, 0], said[:, 1] = 0.99, 0.01
    said[:, 1, 0, 0] = torch.linspace(0.51, 0.6, 10)  # everywhere less sure than the other class
    said[:, 0, 0, 0] = 1 - said[:, 1, 0, 0]
    sure = surest_of_each_class(said)[0, 0, 0, 0]
    assert torch.equal(sure, torch.tensor([0.0] * 3 + [1.0] * 7))


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_training_mends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Mending
) -> None:
    monkeypatch.setattr("voxhint.train.loop._SAVE_SECONDS", 0.0)
    monkeypatch.setattr("voxhint.train.tasks.voxels._RIPE", 3)
    monkeypatch.setattr("voxhint.train.mending._FACT", 2.0)  # these cases hold hints alone
    config = TrainConfig(mending=way)

    def stop(done: int, total: int, note: str, /) -> None:
        if done in (5, 8):
            raise Interruption

    calm = learn(settings(tmp_path / "calm", steps=10), config=config)
    how = settings(tmp_path / "killed", steps=10)
    for _ in range(2):
        with pytest.raises(Interruption):
            learn(how, config=config, progress=stop)
    assert same(calm, learn(how, config=config))
    assert not same(calm, learn(settings(tmp_path / "plain", steps=10)))


@pytest.mark.parametrize("way", WAYS)
def test_to_be_asked_changes_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Mending
) -> None:
    """DynUNet holds its layers under two names; whoever swaps weights in place mixes them up."""
    monkeypatch.setattr("voxhint.train.tasks.voxels._RIPE", 1)
    monkeypatch.setattr("voxhint.train.mending._SHARE", 0.0)

    def trunk() -> nn.Module:
        torch.manual_seed(0)
        shape = {"strides": ((1, 1, 1), (2, 2, 2)), "kernels": ((3, 3, 3),) * 2, "features": (2, 4)}
        return build_trunk("dynunet", channels=1, classes=2, **shape)

    heard = learn(settings(tmp_path / "a", steps=3), net=trunk(), config=TrainConfig(mending=way))
    assert same(heard, learn(settings(tmp_path / "b", steps=3), net=trunk()))


@pytest.mark.parametrize(("cost", "harms"), [(0.9, False), (1.1, True)])
def test_held_out_hints_switch_off_what_makes_them_dearer(
    monkeypatch: pytest.MonkeyPatch, cost: float, harms: bool
) -> None:
    asked = task(balls(2), balls(1, first=10), TrainConfig(mending="teacher"))
    costs = iter((1.0, cost))
    monkeypatch.setattr("voxhint.train.tasks.voxels._cost_of_hints", lambda *_: next(costs))
    for step in (_RIPE - 1, _RIPE):
        asked.before_lesson(step, {}, lambda weights, image: image)
        with torch.no_grad():
            asked.validation_loss(small_net(), torch.device("cpu"))
    assert asked.memory.get("harms", False) == harms
