"""Processes that torchrun or srun starts together learn what one process learns."""

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.phantoms import make_study

from voxhint.cli import main
from voxhint.config import Machine
from voxhint.core.distributed import LaunchedProcess, launched_process
from voxhint.core.errors import NotAvailableError
from voxhint.models.device import open_fabric
from voxhint.verbs.phantom_study import write_phantom_study

COMMAND = ("-m", "voxhint", "train")
FEW = ("--steps", "4", "--width", "4", "--patch-voxels", "4000", "--batch", "2")
SURE = ("--threads", "1", "--precision", "float32", "--device", "cpu", "--supervision", "dense")


def of_slurm(rank: int, count: int = 2) -> dict[str, str]:
    """Return what srun tells a process, on one machine."""
    told = {
        "STEP_NUM_TASKS": count, "NTASKS": count, "NTASKS_PER_NODE": count, "NNODES": 1,
        "PROCID": rank, "LOCALID": rank, "NODEID": 0, "NODELIST": "127.0.0.1", "JOB_ID": 1,
    }  # fmt: skip
    return {f"SLURM_{name}": str(value) for name, value in told.items()}


def begun(words: tuple[str, ...], more: Mapping[str, str]) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *words], env=env, text=True, stdout=pipe, stderr=pipe)


def ended(*processes: subprocess.Popen[str]) -> list[tuple[int, str, str]]:
    told = [process.communicate(timeout=300) for process in processes]
    return [(p.returncode, *lines) for p, lines in zip(processes, told, strict=True)]


def alone(*words: str) -> list[tuple[int, str, str]]:
    return ended(begun((*COMMAND, *words), {}))


def by_torchrun(*words: str) -> list[tuple[int, str, str]]:
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return ended(begun((*launch, *COMMAND, *words), {}))


def by_srun(*words: str) -> list[tuple[int, str, str]]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = {"MASTER_PORT": str(one.getsockname()[1])}
    return ended(*(begun((*COMMAND, *words), of_slurm(rank) | port) for rank in (0, 1)))


def losses(model: Path) -> list[float]:
    with (model / "history.csv").open() as file:
        rows = [*csv.DictReader(file)]
    return [float(row[name]) for row in rows for name in ("loss", "held_out") if row[name]]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "launch"), [("dynunet", by_torchrun), ("crossmodal", by_srun)])
def test_two_processes_learn_what_one_learns_and_one_of_them_writes(
    network: str, launch: Callable[..., list[tuple[int, str, str]]], tmp_path: Path
) -> None:
    study, options = tmp_path / "study", (*FEW, *SURE, "--network", network, "--held-out", "0.5")
    if network == "dynunet":
        make_study(study, dense=True)
    else:
        write_phantom_study(study, kind="two-modality", cases=2, test_cases=0)
        (study / "imagesTr/neck_002_0001.nii.gz").unlink()
    one, two = tmp_path / "one", tmp_path / "two"
    for out, begin in ((one, alone), (two, launch)):
        told = begin(str(study), "--out", str(out), *options)
        assert [code for code, _, _ in told] == [0] * len(told), told
        assert "".join(lines for _, lines, _ in told) == f"{out}\n"
        assert sum(errors.count("train: 4 of 4") for _, _, errors in told) == 1
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert len(losses(two)) == 2
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    made = json.loads((two / "made.json").read_text())
    assert made["cases"] == {"fit": 1, "held_out": 1}


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", dense=True)
    options = (*FEW[:-1], "3", *SURE)
    told = by_srun(str(study), "--out", str(tmp_path / "model"), *options)
    assert [code for code, _, _ in told] == [1, 1]
    line = "2 processes cannot share the 3 patches of a step evenly; use --batch 2, or fewer"
    assert all(line in errors and "Traceback" not in errors for _, _, errors in told)
    assert not (tmp_path / "model" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, LaunchedProcess()),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, LaunchedProcess()),  # a script, and no srun
        (of_slurm(3, 4), LaunchedProcess(4, 3, 4, slurm=True)),
        (
            {
                **of_slurm(0, 4), "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "RANK": "5",
                "LOCAL_WORLD_SIZE": "4",
            },
            LaunchedProcess(8, 5, 4),
        ),
    ],
)  # fmt: skip
def test_launchers_tell_which_process_this_is(
    told: dict[str, str],
    found: LaunchedProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert launched_process() == found
    if found.count == 1:
        assert open_fabric(Machine(device="cpu", threads=1), several=True).world_size == 1
        return
    with pytest.raises(NotAvailableError, match=f"{found.count} processes were started together"):
        open_fabric(Machine(device="cpu", threads=1))
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    if found.slurm:
        with pytest.raises(SystemExit, match="3"):
            main(["doctor"])
        assert "say --ntasks-per-node" in capsys.readouterr().err
