"""A killed training goes on to the very same end."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from tests.training.scenes import PATCH, Interruption, learn, same, settings, small_net
from torch import nn

from voxhint.config import TrainConfig
from voxhint.config.training import PW4MedSegTrainConfig
from voxhint.core.errors import BadFileError, OutputError
from voxhint.nets import ProbabilisticTransformer
from voxhint.training.resume import load_state, save_state


def stop_after(steps: int) -> object:
    def progress(done: int, total: int, note: str, /) -> None:
        if done == steps:
            raise Interruption

    return progress


@pytest.mark.parametrize("stops", [(1,), (7,), (3, 8, 11)])
@pytest.mark.parametrize("held_out", [0, 1])
def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: tuple[int, ...], held_out: int
) -> None:
    monkeypatch.setattr("voxhint.training.loop._SAVE_SECONDS", 0.0)
    calm = learn(settings(tmp_path / "calm", steps=12), held_out=held_out)
    how = settings(tmp_path / "killed", steps=12)
    for stop in stops:
        with pytest.raises(Interruption):
            learn(how, held_out=held_out, progress=stop_after(stop))  # type: ignore[arg-type]
        assert how.state.exists()
    # what the network was before counts for nothing once there is a checkpoint
    ended = learn(how, held_out=held_out, net=small_net(seed=9))
    assert same(calm, ended)
    for one, two in zip(calm.history, ended.history, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def transformer(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return ProbabilisticTransformer(
        channels=1,
        classes=2,
        patch=PATCH,
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        kernels=((3, 3, 3),) * 3,
        features=(1, 2, 4),
    )


@pytest.mark.parametrize("network", [small_net, transformer])
def test_what_is_drawn_is_the_same_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Callable[..., nn.Module]
) -> None:
    monkeypatch.setattr("voxhint.training.loop._SAVE_SECONDS", 0.0)
    config = TrainConfig(pw4medseg=PW4MedSegTrainConfig(kl_weight=0.1))
    calm = learn(settings(tmp_path / "calm", steps=5), net=network(), config=config)
    how = settings(tmp_path / "killed", steps=5)
    with pytest.raises(Interruption):
        learn(how, net=network(), config=config, progress=stop_after(3))  # type: ignore[arg-type]
    assert same(calm, learn(how, net=network(seed=9), config=config))


def test_work_since_the_last_checkpoint_is_only_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.training.loop._SAVE_SECONDS", 1e9)
    calm = learn(settings(tmp_path / "calm", steps=6))
    how = settings(tmp_path / "killed", steps=6)
    with pytest.raises(Interruption):
        learn(how, progress=stop_after(4))  # type: ignore[arg-type]
    assert not how.state.exists()
    assert same(calm, learn(how))


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    how = settings(tmp_path, steps=6)
    first = learn(how)
    told: list[int] = []
    second = learn(how, progress=lambda done, total, note: told.append(done))
    assert not told
    assert same(first, second)
    assert first.history == second.history


def test_a_training_that_is_made_longer_is_the_longer_training(tmp_path: Path) -> None:
    def states(folder: str, *lengths: int) -> list[dict[str, Any]]:
        found = []
        for steps in lengths:
            how = replace(settings(tmp_path / folder, steps=steps), open_ended=True)
            learn(how)
            found.append(load_state(how.state) or {})
        return found

    (at_once,), in_parts = states("once", 13), states("parts", 4, 9, 13)
    assert [state["step"] for state in in_parts] == [4, 9, 13]
    for part in ("net", "averaged"):
        assert all(
            torch.equal(value, in_parts[-1][part][name]) for name, value in at_once[part].items()
        )


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_state(path, {"step": 3, "net": {"w": torch.arange(4.0)}, "history": [{"loss": 0.5}]})
    state = load_state(path)
    assert state is not None
    assert (state["step"], state["history"]) == (3, [{"loss": 0.5}])
    assert torch.equal(state["net"]["w"], torch.arange(4.0))
    assert [found.name for found in tmp_path.iterdir()] == ["state"]


def test_no_checkpoint_means_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path / "state") is None


def test_a_failed_write_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_state(path, {"step": 1})
    with pytest.raises(AttributeError):
        save_state(path, {"step": lambda: 2})
    assert load_state(path) == {"step": 1}


@pytest.mark.parametrize("damage", ["empty", "cut short", "some bytes", "other file"])
def test_after_a_damaged_checkpoint_training_begins_anew_and_says_so(
    tmp_path: Path, damage: str
) -> None:
    how = settings(tmp_path, steps=3)
    first = learn(how)
    content = bytearray(how.state.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 256] = bytes(256)  # more than what pads tensors
    short = bytes(content[:middle])
    changed = {"empty": b"", "cut short": short, "some bytes": bytes(content), "other file": b"x"}
    how.state.write_bytes(changed[damage])
    told: list[str] = []
    second = learn(how, progress=lambda done, total, note: told.append(note))
    assert same(first, second)
    (warning,) = second.warnings
    assert warning in told
    assert "training begins anew" in warning
    assert len(warning.splitlines()) == 1


def test_a_disk_full_at_a_checkpoint_is_told_and_leaves_nothing_partial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.ckpt"
    save_state(path, {"step": 1})

    def full(value: object, file: BinaryIO) -> None:
        file.write(b"half")
        msg = "[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"
        raise RuntimeError(msg)

    monkeypatch.setattr("voxhint.training.resume.torch.save", full)
    with pytest.raises(OutputError, match="free space") as caught:
        save_state(path, {"step": 2})
    assert len(str(caught.value).splitlines()) == 1
    assert [found.name for found in tmp_path.iterdir()] == ["state.ckpt"]
    assert load_state(path) == {"step": 1}


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    torch.save({"step": Path("elsewhere")}, path)
    with pytest.raises(BadFileError):
        load_state(path)


@pytest.mark.parametrize("content", [{"step": 3}, [1, 2], torch.zeros(3)], ids=str)
def test_a_file_of_torch_that_is_no_checkpoint_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "state"
    torch.save(content, path)
    with pytest.raises(BadFileError, match="no checkpoint of this version"):
        load_state(path)
