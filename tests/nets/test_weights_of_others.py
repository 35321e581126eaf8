"""Weights of others are read without running any code of theirs."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from voxhint.core.errors import BadFileError
from voxhint.nets.weights import fill, read_checkpoint


class Harmful:
    """Would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:  # type: ignore[explicit-override]
        return os.system, ("echo harm > harmed.txt",)


def test_both_kinds_of_file_give_the_same_weights(tmp_path: Path) -> None:
    state = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        net = torch.nn.Linear(3, 2)
        fill(net, read_checkpoint(tmp_path / name), tmp_path / name, "a layer")
        assert torch.equal(net.weight, state["weight"])


def test_a_pickle_that_holds_code_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(BadFileError, match=r"bad\.pth: holds more than weights"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "harmed.txt").exists()


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut short"])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFileError, match=name) as caught:
        read_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1000)}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFileError, match=r"cut\.pth"):
        read_checkpoint(tmp_path / "cut.pth")


def test_a_missing_file_and_a_file_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"gone\.pth: cannot be read \(No such file"):
        read_checkpoint(tmp_path / "gone.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(BadFileError, match="holds a list, expected weights by name"):
        read_checkpoint(tmp_path / "list.pth")
