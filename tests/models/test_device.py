"""Laws of what a machine offers."""

import pytest
import torch

from voxhint.config import Machine
from voxhint.models.device import cores, open_fabric


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_networks_compute_in_the_precision_asked_for(precision: str) -> None:
    fabric = open_fabric(Machine(device="cpu", threads=1, precision=precision))  # type: ignore[arg-type]
    net = fabric.setup_module(torch.nn.Conv3d(1, 1, 3))
    inner: list[torch.dtype] = []
    net.module.register_forward_hook(lambda _net, _told, said: inner.append(said.dtype))
    net(torch.zeros(1, 1, 5, 5, 5))
    assert inner == [getattr(torch, precision)]
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}


@pytest.mark.parametrize(("found", "wanted"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_half_precision_where_the_processor_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, found: bool, wanted: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": found})
    with open_fabric(Machine(device="cpu", threads=1)).autocast():
        assert torch.nn.Conv3d(1, 1, 1)(torch.zeros(1, 1, 2, 2, 2)).dtype == wanted


def test_what_openmp_was_told_holds_unless_threads_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    try:
        for told, asked, taken in (("3", 0, 3), ("3", 2, 2), ("", 0, cores())):
            monkeypatch.setenv("OMP_NUM_THREADS", told)
            open_fabric(Machine(device="cpu", threads=asked))
            assert torch.get_num_threads() == taken
    finally:
        torch.set_num_threads(before)
