"""Which of the processes this is that torchrun or srun started for one training."""

import os
from dataclasses import dataclass

from voxhint.core.errors import NotAvailableError


@dataclass(frozen=True, slots=True)
class LaunchedProcess:
    """A process among those that were started together."""

    count: int = 1
    rank: int = 0
    """Number of this process; the one with 0 writes and tells."""

    here: int = 1
    """How many of them run on this machine."""

    slurm: bool = False
    """Started by srun, and not by torchrun."""


def launched_process() -> LaunchedProcess:
    """Return what the launcher says of this process.

    Raises:
        NotAvailableError: srun was not told how many processes go to each machine.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return LaunchedProcess(
            int(env["WORLD_SIZE"]), int(env["RANK"]), int(env["LOCAL_WORLD_SIZE"])
        )
    count = int(env.get("SLURM_STEP_NUM_TASKS", "1"))  # in a script, outside srun, it is not set
    if count == 1:
        return LaunchedProcess()
    if "SLURM_NTASKS_PER_NODE" not in env:
        msg = f"srun started {count} processes; say --ntasks-per-node, and not --ntasks alone"
        raise NotAvailableError(msg)
    return LaunchedProcess(
        count, int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS_PER_NODE"]), slurm=True
    )
