"""Weights on disk come back as they were, or are refused in one line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from voxhint.core.errors import BadFileError
from voxhint.nets import build_trunk, load_weights, weights_bytes


def trunk(network: str = "dynunet", *, seed: int = 0, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return build_trunk(
        network,
        channels=1,
        classes=2,
        strides=((1, 1, 1), (2, 2, 2)),
        kernels=((3, 3, 3), (3, 3, 3)),
        features=(width, 2 * width),
    )


def saved(path: Path, net: nn.Module) -> Path:
    path.write_bytes(weights_bytes(net))
    return path


@pytest.mark.parametrize(("network", "width"), [("dynunet", 4), ("segresnet", 8)])
def test_weights_come_back_bit_by_bit(tmp_path: Path, network: str, width: int) -> None:
    net, other = (trunk(network, seed=seed, width=width) for seed in (0, 1))
    load_weights(other, saved(tmp_path / "w.safetensors", net))
    for name, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_every_weight_is_stored_once() -> None:
    net = trunk()  # DynUNet knows its levels by two names
    values = sum(weight.numel() for weight in net.parameters())
    assert len(net.state_dict()) > len(list(net.parameters()))
    assert len(weights_bytes(net)) < 4 * values + 20_000


def test_files_that_hold_weights_under_all_names_still_load(tmp_path: Path) -> None:
    net, other = trunk(), trunk(seed=1)
    every = {name: value.clone() for name, value in net.state_dict().items()}
    (tmp_path / "w.safetensors").write_bytes(save(every))
    load_weights(other, tmp_path / "w.safetensors")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in every.items())


def test_memory_layout_does_not_change_what_is_stored() -> None:
    plain = trunk()
    last = trunk()
    last.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    assert weights_bytes(plain) == weights_bytes(last)


def refusal(net: nn.Module, path: Path) -> str:
    with pytest.raises(BadFileError, match="train the model again") as caught:
        load_weights(net, path)
    text = str(caught.value)
    assert text.startswith(path.name)
    assert len(text.splitlines()) == 1
    return text


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", trunk("segresnet", width=8))
    refusal(trunk(), path)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    refusal(trunk(), saved(tmp_path / "w.safetensors", trunk(width=8)))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", trunk())
    path.write_bytes(path.read_bytes()[:-100])
    refusal(trunk(), path)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x04N."])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    refusal(trunk(), path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refusal(trunk(), tmp_path / "w.safetensors")
