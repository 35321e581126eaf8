"""Training with branches: every term reaches the weights, what is off costs nothing, kills too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from tests.training.scenes import Interruption, ball, plan, same, settings, silent
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.config.ranges import changed
from voxhint.config.training import CrossModalConfig
from voxhint.nets import build_trunk
from voxhint.nets.crossmodal import CrossModal
from voxhint.training import Example, Progress, Result, VoxelTask, train
from voxhint.training.tasks import cross_modal
from voxhint.training.tasks.cross_modal import BranchTask

CPU = torch.device("cpu")
ALL = TrainConfig(
    network="crossmodal",
    crossmodal=CrossModalConfig(branch_weight=1.0, consistency_weight=0.5),
)


@pytest.fixture(autouse=True)
def _sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks that know nothing be sure enough to teach."""
    monkeypatch.setattr(cross_modal, "_SURE", 0.5)


def with_branches(**knobs: float) -> TrainConfig:
    return changed(ALL, {f"crossmodal.{name}": value for name, value in knobs.items()})


def two(seed: int, *, lacks: bool = False) -> Example:
    """Return a ball seen in two ways, or in one of them."""
    one = ball(f"c{seed}", seed)
    other = np.zeros_like(one.image) if lacks else 1 - 0.5 * one.image
    return Example.of(one.name, np.concatenate([one.image, other]), one.bounds)


def task(config: TrainConfig, *, lacks: bool = False) -> BranchTask:
    wide = replace(plan(), channels=("CT", "MR"), optional_channels=("MR",), network="crossmodal")
    fit = [two(0), two(1, lacks=lacks)]
    return BranchTask(VoxelTask.of(fit, [two(10)], wide, config))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_trunk(
        "crossmodal",
        channels=2,
        classes=2,
        strides=((1, 1, 1), (2, 2, 2)),
        kernels=((3, 3, 3), (3, 3, 3)),
        features=(4, 8),
    )


def loss(config: TrainConfig, net: nn.Module, step: int = 1000) -> Tensor:
    now = task(config)
    now.before_step(step)
    return now.loss(net, np.random.default_rng(0), CPU)


def test_where_a_case_ends_moves_with_what_is_known_of_it() -> None:
    batch = task(ALL).voxels.drawn(np.random.default_rng(0), CPU)
    known = batch.belief.sum(1, keepdim=True)  # all of a ball is known
    assert known.min() < 1
    assert torch.allclose(batch.inside, known, atol=1e-5)


def learn(folder: Path, *, steps: int, progress: Progress = silent, seed: int = 0) -> Result:
    torch.set_num_threads(1)
    return train(
        Fabric(accelerator="cpu", devices=1),
        network(seed),
        task(ALL, lacks=True),
        settings=settings(folder, steps=steps),
        progress=progress,
    )


@pytest.mark.parametrize("knob", ["branch_weight", "consistency_weight"])
def test_every_weight_changes_the_loss(knob: str) -> None:
    on, off = with_branches(**{knob: 0.7}), with_branches(**{knob: 0.0})
    with torch.no_grad():
        more = loss(on, network()) - loss(off, network())
    assert more > 1e-4


def test_what_branches_teach_each_other_grows_with_the_training() -> None:
    net = network()
    with torch.no_grad():
        early, later, end = (float(loss(ALL, net, step)) for step in (0, 200, 1000))
        alone = float(loss(with_branches(consistency_weight=0.0), net))
    assert alone < early < later < end


def test_branches_that_are_asked_nothing_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TrainConfig(network="crossmodal")
    net = network()
    assert isinstance(net, CrossModal)

    def refuse(_: object) -> Tensor:
        raise Interruption

    for decoder in net.decoders[:-1]:
        monkeypatch.setattr(decoder, "forward", refuse)
    loss(plain, net).backward()  # type: ignore[no-untyped-call]
    with pytest.raises(Interruption):
        loss(with_branches(branch_weight=0.0), net)


def test_a_branch_learns_nothing_from_cases_that_lack_its_modality() -> None:
    blind = BranchTask(
        VoxelTask.of(
            [two(0, lacks=True)],
            [],
            task(ALL).voxels.plan,
            with_branches(consistency_weight=0.0),
        )
    )
    net = network()
    assert isinstance(net, CrossModal)
    blind.loss(net, np.random.default_rng(0), CPU).backward()  # type: ignore[no-untyped-call]
    gradients = [w.grad for m in (0, 1) for w in net.heads[m].parameters()]
    assert all(g is not None and g.any() for g in gradients[:2])
    assert not any(g is not None and g.any() for g in gradients[2:])


def test_an_interrupted_training_of_branches_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.training.loop._SAVE_SECONDS", 0.0)

    def stop(done: int, total: int, note: str, /) -> None:
        if done in (2, 5):
            raise Interruption

    calm = learn(tmp_path / "calm", steps=8)
    for _ in range(2):
        with pytest.raises(Interruption):
            learn(tmp_path / "killed", steps=8, progress=stop)
    ended = learn(tmp_path / "killed", steps=8, seed=9)
    assert same(calm, ended)


def test_balls_are_learnt_from_either_modality_alone(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    net = network()
    result = train(
        Fabric(accelerator="cpu", devices=1),
        net,
        task(TrainConfig(network="crossmodal")),
        settings=replace(settings(tmp_path, steps=40), learning_rate=0.03),
        progress=silent,
    )
    net.load_state_dict(dict(result.weights))
    net.eval()
    seen = two(20)
    image = torch.from_numpy(seen.image)[None, :, :8, :8, :8]
    truth = torch.from_numpy(seen.bounds[0, 1])[:8, :8, :8] > 0
    for subset in ([True, True], [True, False], [False, True]):
        with torch.no_grad():
            found = net(image * torch.tensor(subset)[None, :, None, None, None]).argmax(1)[0] == 1
        dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
        assert dice > 0.7, subset
