"""Training learns, takes the right weights, and tells how it went."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from tests.training import scenes
from tests.training.scenes import Interruption, balls, learn, same, settings, small_net, task
from torch import Tensor, nn

from voxhint.training import Settings, step_seconds, train
from voxhint.training.batches import fixed_batches
from voxhint.training.loop import next_look, settled
from voxhint.training.losses import partial_cross_entropy
from voxhint.training.resume import load_state, save_state


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def validation_loss(weights: object) -> float:
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
    assert validation_loss(result.weights) < 0.4 * validation_loss(small_net().state_dict())


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
    assert validation_loss(result.weights) == pytest.approx(best, rel=1e-4)


def test_without_held_out_cases_the_last_average_is_taken(tmp_path: Path) -> None:
    how = settings(tmp_path, steps=20)
    result = learn(how, held_out=0)
    assert all("held_out" not in row for row in result.history)
    state = state_of(how)
    assert state["step"] == 20
    for name, value in result.weights.items():
        assert torch.equal(value, state["averaged"][name])
        assert not torch.equal(value, state["net"][name])


class Tied(nn.Sequential):
    """Two convolutions, one of which has a second name."""

    def __init__(self) -> None:
        super().__init__(*small_net().children())
        self.again = self[0]

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[explicit-override]
        for layer in (self[0], self[1], self[2]):
            image = layer(image)
        return image


def test_a_layer_of_two_names_is_averaged_and_kept_once(tmp_path: Path) -> None:
    plain = learn(settings(tmp_path / "plain", steps=20))
    how = settings(tmp_path / "tied", steps=20)
    tied = learn(how, net=Tied())
    assert same(plain, tied)
    state = state_of(how)
    for part in (state["net"], state["averaged"], state["best"], tied.weights):
        assert part.keys() == plain.weights.keys()


def test_a_checkpoint_that_holds_a_layer_twice_is_gone_on_from(tmp_path: Path) -> None:
    calm = learn(replace(settings(tmp_path / "calm", steps=20), open_ended=True))
    how = replace(settings(tmp_path / "old", steps=10), open_ended=True)
    learn(how, net=Tied())
    state = state_of(how)
    for part in ("net", "averaged", "best"):
        twice = {f"again.{name}": state[part][f"0.{name}"].clone() for name in ("weight", "bias")}
        state[part] |= twice
    save_state(how.state, state)
    assert same(calm, learn(replace(how, steps=20), net=Tied()))


def test_looking_at_held_out_cases_does_not_change_the_training(tmp_path: Path) -> None:
    states = []
    for held_out in (0, 1):
        how = settings(tmp_path / str(held_out), steps=20)
        learn(how, held_out=held_out)
        states.append(state_of(how))
    for part in ("net", "averaged"):
        assert all(torch.equal(v, states[1][part][name]) for name, v in states[0][part].items())


def rows(*scores: float, each: int = 500) -> list[dict[str, float]]:
    return [{"step": float(each * (n + 1)), "held_out": score} for n, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("history", "ended"),
    [
        (rows(1.0, 0.9, 0.8, 0.7), False),  # still getting better
        (rows(1.0, 0.7, 0.7, 0.7), True),
        (rows(1.0, 0.7, 0.9, 0.9), True),  # getting worse
        (rows(1.0, 0.7, 0.72, 0.69), False),
        (rows(1.0, 0.7, 0.7, 0.7, each=100), False),  # too young
        ([{"step": 5000.0, "loss": 1.0}], False),  # no hints held out
        ([], False),
    ],
)
def test_a_training_is_settled_when_its_second_half_brought_nothing(
    history: list[dict[str, float]], ended: bool
) -> None:
    assert settled(history) == ended


def test_a_settled_training_ends_and_going_on_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.training.loop._YOUNG", 20)
    monkeypatch.setattr("voxhint.training.loop._WORTH", 1.0)  # nothing is ever enough
    how = replace(settings(tmp_path, steps=60), until_settled=True)
    assert learn(how).history[-1]["step"] == 20
    assert learn(replace(how, steps=80)).history[-1]["step"] == 20
    assert learn(replace(how, until_settled=False)).history[-1]["step"] == 60


@pytest.mark.parametrize("step", [0, 9, 10, 99, 100, 12345])
def test_looks_are_ahead_and_neither_too_rare_nor_too_many(step: int) -> None:
    look = next_look(step)
    assert 0 < look - step <= max(10, step / 10 + 1)
    assert next_look(look - 1) == look
    assert next_look(look) - look == max(10, look // 10)


def test_an_open_ended_training_keeps_its_step_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.training.loop._WARM_UP", 1)
    how = settings(tmp_path, steps=8)
    steady = learn(replace(how, open_ended=True)).history[-1]["learning_rate"]
    falling = learn(replace(how, state=tmp_path / "other")).history[-1]["learning_rate"]
    assert steady == how.learning_rate
    assert falling < 0.2 * how.learning_rate


def test_a_step_is_timed_without_touching_the_network() -> None:
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fabric = Fabric(accelerator="cpu", devices=1)
    assert step_seconds(fabric, net, task(balls(1), [])) > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())


def test_a_timed_step_has_its_whole_loss() -> None:
    class Slow:
        told = 0

        def before_step(self, step: int, /) -> None:
            self.told = step

        def loss(self, model: nn.Module, rng: object, device: torch.device, /) -> Tensor:
            time.sleep(0.05)
            image = torch.ones(1, 1, *scenes.PATCH)
            loss: Tensor = model(image).mean()
            return loss

        def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
            raise NotImplementedError

    slow = Slow()
    assert step_seconds(Fabric(accelerator="cpu", devices=1), small_net(), slow) > 0.05
    assert slow.told > 10**6


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


def test_a_training_that_is_late_ends_with_a_look_and_can_go_on(tmp_path: Path) -> None:
    how = settings(tmp_path, steps=8)
    late = learn(replace(how, seconds=0.0))
    assert [row["step"] for row in late.history] == [1]
    assert learn(replace(how, seconds=1000.0)).history[-1]["step"] == 8
