"""A flow is learnt from images and their tags."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float32
from lightning_fabric import Fabric
from tests.training.scenes import Interruption, plan, same
from torch import Tensor, nn

from voxhint.config import LabelConfig
from voxhint.config.tags import ClassifierConfig
from voxhint.nets import FlowUNet
from voxhint.nets.flow_unet import UNKNOWN, _FlowOutput
from voxhint.training import Bag, FlowTask, Progress, Result, Settings, TaggedImage, train
from voxhint.training.tasks.flow import drawn_times

CPU = torch.device("cpu")
SIZE = (4, 4, 2)
PLAN = replace(plan(), patch=SIZE, batch=8)
STEADY = LabelConfig(classifier=ClassifierConfig(flips=False))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def flat(value: float, state: float, shape: tuple[int, int, int] = SIZE) -> TaggedImage:
    """Return an image that is the same everywhere."""
    image = np.full((1, *shape), value, np.float32)
    return TaggedImage(image, (Bag((state,)),), (0.0, 0.0, 2.0, 0.0))


TWO = [flat(-1.0, 0.0), flat(1.0, 1.0)]
"""The label makes an image bright."""


def small_net() -> FlowUNet:
    torch.manual_seed(0)
    return FlowUNet(channels=1, labels=1, strides=((1, 1, 1),), kernels=((3, 3, 3),), features=(8,))


def learn(
    folder: Path, steps: int, *, net: nn.Module | None = None, progress: Progress | None = None
) -> Result:
    return train(
        Fabric(accelerator="cpu", devices=1),
        net or small_net(),
        FlowTask.of(TWO, TWO, PLAN, STEADY),
        settings=Settings(
            steps=steps,
            learning_rate=1e-2,
            seed=0,
            state=folder / "s",
            ema_decay=0.9,
        ),
        progress=progress or (lambda *_: None),
    )


def image_seen(net: FlowUNet, s: float, state: int) -> float:
    """Return the mean image the network sees in pure chance at a noise level."""
    noise = torch.randn(16, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    levels, tags = torch.full((16,), s), torch.full((16, 1), state)
    return float((s * noise + s * net(s * noise, levels, tags).velocity).mean())


def noisy_times(count: int, rng: np.random.Generator) -> Float32[np.ndarray, " batch"]:
    even = (rng.permutation(count) + rng.random(count)) / count
    return np.asarray(np.clip(3 * even / (1 + 2 * even), 1e-3, 1 - 1e-3), np.float32)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> FlowUNet:
    torch.set_num_threads(1)
    net = small_net()
    with pytest.MonkeyPatch.context() as patch:  # learn most where the tests below look
        patch.setattr("voxhint.training.tasks.flow.drawn_times", noisy_times)
        net.load_state_dict(learn(tmp_path_factory.mktemp("learnt"), 100, net=net).weights)
    return net.eval().requires_grad_(requires_grad=False)


def test_told_the_state_of_two_kinds_of_images_the_flow_leads_to_the_right_one(
    learnt: FlowUNet,
) -> None:
    absent, present, unknown = (image_seen(learnt, 0.95, state) for state in (0, 1, UNKNOWN))
    assert absent == pytest.approx(-1, abs=0.4)
    assert present == pytest.approx(1, abs=0.4)
    assert absent < unknown < present


def test_what_is_seen_without_being_told_is_the_tag(learnt: FlowUNet) -> None:
    images = torch.from_numpy(np.stack([x.image for x in TWO]))
    seen = learnt(images, torch.full((2,), 0.05), torch.full((2, 1), UNKNOWN)).label_logits
    assert float(seen[0]) < 0 < float(seen[1])


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str, /) -> None:
        if done == 4:
            raise Interruption

    whole = learn(tmp_path / "whole", 6)
    with pytest.raises(Interruption):
        learn(tmp_path / "parts", 6, progress=stop)
    assert same(whole, learn(tmp_path / "parts", 6))


class Perfect(nn.Module):
    """Knows that every image is 0.5 everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Tensor] = []

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, z: Tensor, s: Tensor, tags: Tensor
    ) -> _FlowOutput:
        self.heard.append(tags)
        return _FlowOutput((0.5 - z) / s[:, None, None, None, None], torch.zeros(len(z), 1))


def test_who_knows_the_image_has_no_loss() -> None:
    task = FlowTask.of(TWO, [flat(0.5, 0.0, shape) for shape in (SIZE, (3, 9, 1))], PLAN, STEADY)
    assert task.validation_loss(Perfect(), CPU) == pytest.approx(0, abs=1e-8)
    assert FlowTask.of(TWO, TWO, PLAN, STEADY).validation_loss(Perfect(), CPU) > 0.1  # type: ignore[operator]
    assert FlowTask.of(TWO, [], PLAN, STEADY).validation_loss(Perfect(), CPU) is None


def test_tags_are_told_as_they_are_or_kept_back() -> None:
    task, net = FlowTask.of(TWO, [], PLAN, STEADY), Perfect()
    for seed in range(40):
        task.loss(net, np.random.default_rng(seed), CPU)
    heard = torch.cat(net.heard)[:, 0].reshape(-1, 2)
    assert set(heard[:, 0].tolist()) == {1, UNKNOWN}
    assert set(heard[:, 1].tolist()) == {0, UNKNOWN}
    assert 0.08 < float((heard == UNKNOWN).float().mean()) < 0.25


def test_a_part_of_an_image_is_told_present_as_often_as_it_shows_the_place() -> None:
    halves = [flat(-1.0, 0.0), flat(1.0, 1.0, (8, 4, 2))]
    task, net = FlowTask.of(halves, [], PLAN, STEADY), Perfect()
    for seed in range(40):
        task.loss(net, np.random.default_rng(seed), CPU)
    present = torch.cat(net.heard)[:, 0].reshape(-1, 2)[:, 0]
    assert float((present == 1).float().mean()) == pytest.approx(0.5 * 0.85, abs=0.1)


def test_voxels_beyond_the_image_do_not_count() -> None:
    class Blind(nn.Module):
        def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
            self, z: Tensor, s: Tensor, tags: Tensor
        ) -> _FlowOutput:
            return _FlowOutput(torch.zeros_like(z), torch.zeros(len(z), 1))

    thin = [flat(0.0, state, (4, 4, 1)) for state in (0.0, 1.0)]
    task = FlowTask.of(thin, thin, PLAN, STEADY)
    validation_loss = task.validation_loss(Blind(), CPU)
    assert validation_loss is not None
    noise = [np.random.default_rng(n).standard_normal((1, 1, 4, 4, 2), np.float32) for n in (0, 1)]
    inside = [float((e[..., 1:] ** 2).mean()) for e in noise]
    assert validation_loss == pytest.approx(np.mean(inside), rel=1e-5)


def test_noise_levels_lie_around_one_half() -> None:
    rng = np.random.default_rng(0)
    drawn = np.concatenate([drawn_times(8, rng) for _ in range(250)])
    assert np.median(drawn) == pytest.approx(0.5, abs=0.02)
    assert 0 < drawn.min() < 0.1
    assert 0.9 < drawn.max() < 1
