"""What this machine offers a command: device, threads, memory."""

import os

import torch
from lightning_fabric import Fabric

from voxhint.config import Machine
from voxhint.core.errors import NotAvailableError


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_fabric(machine: Machine) -> Fabric:
    """Set threads and give the device a command asked for.

    Args:
        machine: Its device and threads.

    Returns:
        Lightning Fabric: float32 on a CPU, bfloat16 mixed precision on a GPU.

    Raises:
        NotAvailableError: The device is not here.
    """
    torch.set_num_threads(machine.threads or cores())
    kind, _, number = machine.device.partition(":")
    there = torch.cuda.is_available()
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        msg = f"device '{machine.device}' is unknown; use auto, cpu, cuda or cuda:N"
        raise NotAvailableError(msg)
    if kind == "cuda" and (not there or int(number or 0) >= torch.cuda.device_count()):
        msg = f"device '{machine.device}' is not here; use --device cpu, or see voxhint doctor"
        raise NotAvailableError(msg)
    if kind == "cpu" or not there:
        return Fabric(accelerator="cpu", devices=1)
    return Fabric(accelerator="cuda", devices=[int(number or 0)], precision="bf16-mixed")
