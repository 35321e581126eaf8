"""What this machine offers a command: device, threads, memory."""

import os
from typing import TYPE_CHECKING, Literal

import torch

from voxhint.config import Machine
from voxhint.core.errors import NotAvailableError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_fabric(machine: Machine) -> "Fabric":
    """Set threads and give the device a command asked for.

    Args:
        machine: Its device, threads and precision.

    Returns:
        Lightning Fabric, in float32 or in mixed precision with bfloat16.

    Raises:
        NotAvailableError: The device is not here.
    """
    from lightning_fabric import Fabric  # takes seconds to load

    torch.set_num_threads(machine.threads or _threads())
    kind, number = _named(machine.device)
    gpu = kind != "cpu" and torch.cuda.is_available()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    if machine.precision == "bfloat16" or (machine.precision == "auto" and _halves(gpu=gpu)):
        precision = "bf16-mixed"
    if not gpu:
        return Fabric(accelerator="cpu", devices=1, precision=precision)
    return Fabric(accelerator="cuda", devices=[number], precision=precision)


def _named(device: str) -> tuple[str, int]:
    """Return kind and number of a device.

    Raises:
        NotAvailableError: It is unknown, or not here.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        msg = f"device '{device}' is unknown; use auto, cpu, cuda or cuda:N"
        raise NotAvailableError(msg)
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= there:
        msg = f"device '{device}' is not here; use --device cpu, or see voxhint doctor"
        raise NotAvailableError(msg)
    return kind, int(number or 0)


def _threads() -> int:
    """Return one thread a core, or as many as OpenMP was told to take."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else cores()


def _halves(*, gpu: bool) -> bool:
    """Return whether bfloat16 is the faster format; without instructions for it, it is slower."""
    able = torch.cpu.get_capabilities()
    return gpu or any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
