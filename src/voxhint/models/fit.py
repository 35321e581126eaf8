"""One training, whatever is learnt: a plan, prepared cases, the loop, and the folder they fill."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import nn

from voxhint.core.errors import BadRecipeError, about
from voxhint.core.progress import Tell
from voxhint.core.study import CaseFiles
from voxhint.files.atomic import replacing, write_json, write_text
from voxhint.files.csv_tables import table_text
from voxhint.models.folder import PLAN, WEIGHTS, read_plan
from voxhint.models.held_out_subjects import split_by_subject
from voxhint.nets import weights_bytes
from voxhint.prepare import Plan
from voxhint.training import Result, Settings, Task, train

if TYPE_CHECKING:
    from lightning_fabric import Fabric


STATE = ".state.ckpt"
_HISTORY = "history.csv"
_PREPARED = ".prepared"
_COLUMNS = ("step", "loss", "held_out", "learning_rate", "seconds")
_E = TypeVar("_E")
_N = TypeVar("_N", bound=nn.Module)


@runtime_checkable
class _Learning(Protocol[_E, _N]):
    """What is learnt: how cases are planned and prepared, by which network, as which task."""

    @property
    def prepare_step(self) -> str:
        """Return what progress calls the preparation of cases."""

    @property
    def train_step(self) -> str:
        """Return what progress calls the training."""

    @property
    def held_out(self) -> float:
        """Return the share of the subjects whose cases choose the checkpoint."""

    def make_plan(self) -> Plan:
        """Measure the study and plan the network."""

    def files(self, plan: Plan) -> Sequence[CaseFiles]:
        """Return the cases to learn from."""

    def prepare(self, folder: Path, files: CaseFiles, plan: Plan) -> _E:
        """Return a case ready for the network, by way of files in a folder."""

    def task(self, fit: Sequence[_E], held_out: Sequence[_E], plan: Plan) -> Task:
        """Return what is learnt from the cases to fit, checked on those held out."""

    def network(self, plan: Plan, task: Task) -> _N:
        """Return the network with its first weights, drawn from torch's generator."""

    def loop(self, folder: Path, fabric: "Fabric", net: _N, task: Task) -> Settings:
        """Return how long and how fast to learn; the checkpoint is `STATE` in the folder."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted(Generic[_E, _N]):
    """A trained network in evaluation mode, and what it was trained with."""

    net: _N
    plan: Plan
    task: Task
    settings: Settings
    result: Result
    examples: Sequence[_E]
    fit: Sequence[_E]
    held_out: Sequence[_E]


def fit(
    learning: _Learning[_E, _N], folder: Path, *, fabric: "Fabric", seed: int, tell: Tell
) -> _Fitted[_E, _N]:
    """Train a network into a folder, going on where an earlier call stopped.

    Args:
        learning: What is learnt.
        folder: Where plan.json, weights.safetensors and history.csv go.
        fabric: Device and precision; of several processes, the first one writes.
        seed: Of the split, the first weights and all steps.
        tell: Hears of progress.

    Returns:
        The network with the weights that were chosen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with fabric.rank_zero_first():  # the others find on disk what the first has made
        plan = _planned(folder / PLAN, learning.make_plan)
    _require_shares(plan, fabric.world_size)
    with fabric.rank_zero_first():
        cases = learning.files(plan)

        def prepare(where: Path, files: CaseFiles) -> _E:
            return learning.prepare(where, files, plan)

        examples = prepare_cases(folder, cases, prepare, learning.prepare_step, tell)
    fitted, held_out = split_by_subject(cases, examples, learning.held_out, seed)
    task = learning.task(fitted, held_out, plan)
    torch.manual_seed(seed)
    net = learning.network(plan, task)
    settings = learning.loop(folder, fabric, net, task)
    result = train(
        fabric,
        net,
        task,
        settings=settings,
        progress=lambda done, total, note: tell(learning.train_step, done, total, note),
    )
    net.load_state_dict(result.weights, strict=False)  # each by its first name
    net.to(fabric.device).eval()
    if fabric.is_global_zero:
        with replacing(folder / WEIGHTS) as partial:
            partial.write_bytes(weights_bytes(net))
        _write_history(folder / _HISTORY, result.history)
    return _Fitted(net, plan, task, settings, result, examples, fitted, held_out)


def prepare_cases(
    folder: Path,
    cases: Sequence[CaseFiles],
    prepare: Callable[[Path, CaseFiles], _E],
    step: str,
    tell: Tell,
) -> list[_E]:
    """Return cases ready for a network, by way of files that are made once.

    Args:
        folder: What `fit` fills.
        cases: To be prepared.
        prepare: Prepares one by way of files in a folder.
        step: What progress calls it.
        tell: Hears of progress.
    """
    examples = []
    for number, files in enumerate(cases):
        tell(step, number, len(cases), files.name)
        with about(f"case {files.name}"):
            examples.append(prepare(folder / _PREPARED, files))
    return examples


def forget_progress(folder: Path, *, resumable: bool = False) -> None:
    """Remove what only a training in progress needs.

    Args:
        folder: What `fit` filled.
        resumable: Keep the checkpoint, so that more steps may be asked for.
    """
    shutil.rmtree(folder / _PREPARED, ignore_errors=True)
    if not resumable:
        (folder / STATE).unlink(missing_ok=True)


def stored(paths: Iterable[Path], make: Callable[[], Iterable[np.ndarray]]) -> list[np.ndarray]:
    """Return arrays memory-mapped from files that are written once.

    Args:
        paths: The files.
        make: Makes as many arrays; asked only if a file is missing.
    """
    paths = tuple(paths)
    if not all(path.exists() for path in paths):
        for path, array in zip(paths, make(), strict=True):
            with replacing(path) as partial:
                np.save(partial, array)
    return [np.load(path, mmap_mode="r") for path in paths]


def _require_shares(plan: Plan, processes: int) -> None:
    """Refuse a batch that processes cannot share.

    Raises:
        BadRecipeError: Some would have more to do than others.
    """
    if plan.batch % processes:
        msg = f"{processes} processes cannot share the {plan.batch} patches of a step evenly; "
        raise BadRecipeError(msg + f"use --batch {processes}, or fewer processes")


def _planned(path: Path, make: Callable[[], Plan]) -> Plan:
    """Return the plan: the one written down, or else made and written down now."""
    if path.exists():
        return read_plan(path)
    plan = make()
    write_json(path, plan.to_json())
    return plan


def _write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write how a training went as a table."""
    cells = ({name: str(value) for name, value in row.items()} for row in rows)
    write_text(path, table_text(cells, _COLUMNS))
