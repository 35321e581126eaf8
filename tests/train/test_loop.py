"""Training learns, takes the right weights, and tells how it went."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from tests.train import scenes
from tests.train.scenes import Interruption, balls, learn, same, settings, small_net, task
from torch import Tensor, nn

from voxhint.train import Settings, step_seconds, train
from voxhint.train.batches import fixed_batches
from voxhint.train.loop import Teacher
from voxhint.train.losses import partial_cross_entropy
from voxhint.train.resume import load_state


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def surprise(weights: object) -> float:
    net = small_net()
    net.load_state_dict(dict(weights))  # type: ignore[call-overload]
    (batch,) = fixed_batches(balls(1, first=10), scenes.PATCH, 2)
    with torch.no_grad():
        return float(partial_cross_entropy(net(batch.image), batch.belief, batch.plausible))


def state_of(how: Settings) -> dict[str, Any]:
    state = load_state(how.state)
    assert state is not None
    return state


def test_a_bright_ball_is_learnt_in_a_few_steps(tmp_path: Path) -> None:
    result = learn(settings(tmp_path, steps=80))
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < 0.4 * losses[0]
    assert surprise(result.weights) < 0.4 * surprise(small_net().state_dict())


def test_the_history_goes_up_to_the_last_step(tmp_path: Path) -> None:
    history = learn(settings(tmp_path, steps=45)).history
    steps = [row["step"] for row in history]
    assert steps == sorted(set(steps))
    assert steps[-1] == 45
    assert all(set(row) >= {"step", "loss", "held_out", "learning_rate"} for row in history)
    seconds = [row["seconds"] for row in history]
    assert seconds == sorted(seconds)


def test_every_step_is_told_once(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    learn(
        settings(tmp_path, steps=7), progress=lambda done, total, note: told.append((done, total))
    )
    assert told == [(step, 7) for step in range(1, 8)]


def test_one_seed_gives_one_result_and_another_seed_another(tmp_path: Path) -> None:
    results = [
        learn(settings(tmp_path / str(number), steps=5, seed=seed))
        for number, seed in enumerate((1, 1, 2))
    ]
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_the_weights_are_those_the_held_out_case_likes_best(tmp_path: Path) -> None:
    result = learn(settings(tmp_path, steps=30))
    best = min(row["held_out"] for row in result.history)
    assert surprise(result.weights) == pytest.approx(best, rel=1e-4)


def test_without_held_out_cases_the_last_average_is_taken(tmp_path: Path) -> None:
    how = settings(tmp_path, steps=20)
    result = learn(how, held_out=0)
    assert all("held_out" not in row for row in result.history)
    state = state_of(how)
    assert state["step"] == 20
    for name, value in result.weights.items():
        assert torch.equal(value, state["averaged"][name])
        assert not torch.equal(value, state["net"][name])


def test_looking_at_held_out_cases_does_not_change_the_training(tmp_path: Path) -> None:
    states = []
    for held_out in (0, 1):
        how = settings(tmp_path / str(held_out), steps=20)
        learn(how, held_out=held_out)
        states.append(state_of(how))
    for part in ("net", "averaged"):
        assert all(torch.equal(v, states[1][part][name]) for name, v in states[0][part].items())


def test_events_for_tensorboard_are_written(tmp_path: Path) -> None:
    how = settings(tmp_path, steps=3)
    learn(how)
    assert list(how.log.glob("events.out.tfevents.*"))


def test_a_step_is_timed_without_touching_the_network() -> None:
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fabric = Fabric(accelerator="cpu", devices=1)
    assert step_seconds(fabric, net, task(balls(1), [])) > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())


def test_a_timed_step_has_its_whole_loss_and_a_teacher() -> None:
    class Slow:
        told = 0.0

        def attend(self, done: float, teacher: Teacher, /) -> None:
            self.told, self.teacher = done, teacher

        def loss(self, model: nn.Module, rng: object, device: torch.device, /) -> Tensor:
            time.sleep(0.05)
            image = torch.ones(1, 1, *scenes.PATCH)
            assert not self.teacher(image).requires_grad
            loss: Tensor = model(image).mean()
            return loss

        def surprise(self, net: nn.Module, device: torch.device, /) -> float | None:
            raise NotImplementedError

    slow = Slow()
    assert step_seconds(Fabric(accelerator="cpu", devices=1), small_net(), slow) > 0.05
    assert slow.told == 1.0


def test_an_error_of_the_listener_ends_the_training(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str, /) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        train(
            Fabric(accelerator="cpu", devices=1),
            small_net(),
            task(balls(1), []),
            settings=settings(tmp_path, steps=5),
            progress=stop,
        )
