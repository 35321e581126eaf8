"""What this machine offers a command: device, threads, memory."""

import logging
import os
from typing import TYPE_CHECKING, Literal

import torch

from voxhint.config import Machine
from voxhint.core.distributed import LaunchedProcess, launched_process
from voxhint.core.errors import NotAvailableError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_Precision = Literal["32-true", "bf16-mixed"]


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_fabric(machine: Machine, *, several: bool = False) -> "Fabric":
    """Set threads and give the device a command asked for.

    Args:
        machine: Its device, threads and precision.
        several: Join the processes that torchrun or srun started together, if it did.

    Returns:
        Lightning Fabric, in float32 or in mixed precision with bfloat16.

    Raises:
        NotAvailableError: The device is not here, or several processes came where one is wanted.
    """
    from lightning_fabric import Fabric  # takes seconds to load
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    # Fabric tells its precision each time one is opened
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    among = launched_process()
    if among.count > 1 and not several:
        msg = f"{among.count} processes were started together, and only voxhint train shares its "
        raise NotAvailableError(msg + "work among them; start this command once")
    torch.set_num_threads(machine.threads or _threads(among))
    kind, number = _named(machine.device)
    gpu = kind != "cpu" and torch.cuda.is_available()
    precision: _Precision = "bf16-mixed" if _halves(machine, gpu=gpu) else "32-true"
    if among.count > 1:
        return _joined(among, precision, gpu=gpu and machine.device)
    # a job of SLURM may have many tasks, and this command be one process all the same
    one = LightningEnvironment()
    if not gpu:
        return Fabric(accelerator="cpu", devices=1, precision=precision, plugins=one)
    return Fabric(accelerator="cuda", devices=[number], precision=precision, plugins=one)


def _joined(among: LaunchedProcess, precision: _Precision, *, gpu: str | bool) -> "Fabric":
    """Return the fabric of one of several processes, each with a device of its own.

    Raises:
        NotAvailableError: There are not as many devices.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    if gpu and (":" in str(gpu) or torch.cuda.device_count() < among.here):
        msg = f"{among.here} processes here take a GPU each, and see {torch.cuda.device_count()} "
        msg += (
            f"with --device {gpu}; start as many as there are, all of them seen by each, or take "
        )
        raise NotAvailableError(msg + "--device cpu")
    fabric = Fabric(
        accelerator="cuda" if gpu else "cpu",
        devices=among.here,
        num_nodes=among.count // among.here,
        strategy=DDPStrategy(),
        precision=precision,
        plugins=SLURMEnvironment() if among.slurm else TorchElasticEnvironment(),
    )
    fabric.launch()
    return fabric


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


def _threads(among: LaunchedProcess) -> int:
    """Return one thread a core, or as many as OpenMP was told to take."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else max(1, cores() // among.here)


def _halves(machine: Machine, *, gpu: bool) -> bool:
    """Return whether bfloat16 is asked for, or is faster: without instructions it is slower."""
    if machine.precision != "auto":
        return machine.precision == "bfloat16"
    able = torch.cpu.get_capabilities()
    return gpu or any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
