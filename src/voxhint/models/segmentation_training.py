"""Learning to segment: from soft labels or dense masks of a study to the network of a plan."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool
from torch import nn

from voxhint.config import Machine, TrainConfig, seconds_of
from voxhint.core import Case, SoftLabel
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.errors import BadStudyError, about
from voxhint.core.progress import Tell
from voxhint.core.study import CaseFiles, Study
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.models.fit import STATE
from voxhint.models.folder import NetworkFactory, network_of, plan_of, weights_of
from voxhint.models.planning import MEASURED, measure_images, trunk_options
from voxhint.models.prepared_cases import Bounds, Image, prepared_example
from voxhint.nets import load_weights
from voxhint.nets.crossmodal import CrossModal
from voxhint.nets.trunk import begin_with
from voxhint.prepare import Plan, bounds_on, make_plan, prepare_image
from voxhint.prepare.plan import span_of, stacked_along
from voxhint.training import Example, Settings, Task, VoxelTask, step_seconds
from voxhint.training.resume import load_state
from voxhint.training.tasks.cross_modal import BranchTask

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_DECIDED = "steps.json"  # the steps that a budget came to
_SPANNED = 12  # cases that tell how far labels reach
_BELIEVED = 0.5  # belief in a label from which a voxel counts
_SPARE = 0.9  # share of a time budget for optimiser steps; the rest looks at held-out hints
_LATE = 1.25  # times the budget, for a machine that got slower: training ends before its steps do


@dataclass(frozen=True, slots=True, eq=False)
class VoxelLearning:
    """Learning the classes of voxels."""

    study: Study
    cases: Sequence[CaseFiles]
    label_of: Callable[[Case], SoftLabel | CompactSoftLabel]
    """The soft label of a case, or its dense mask as one."""

    config: TrainConfig
    machine: Machine
    tell: Tell
    began: float
    """When the training was asked for, of the monotonic clock: a time budget counts from then."""

    lesions: Sequence[str] = ()
    """Labels that may lie anywhere: they are pasted into patches without them."""

    make_network: NetworkFactory | None = None
    """Makes the network, if it is none of voxhint's."""

    begin: Path | None = None
    """A model of the same labels and channels, whose plan and weights training begins with."""

    prepare_step = "prepare"
    train_step = "train"

    @property
    def held_out(self) -> float:
        """Return the share of the subjects that choose the checkpoint."""
        return self.config.held_out

    def make_plan(
        self, *, most: int = MEASURED, spanned: Sequence[CaseFiles] | None = None
    ) -> Plan:
        """Return a plan that suits images and labels, or that of the model to begin with.

        Args:
            most: How many images are measured.
            spanned: Cases that tell how far labels reach; if none are given, evenly chosen ones.
        """
        if self.begin is not None:
            return plan_of(self.begin)
        prints = measure_images(self.study, self.cases, self.machine.seed, self.tell, most=most)
        chosen = spanned or self.cases[:: -(-len(self.cases) // _SPANNED)]
        span_mm = self._span_mm(chosen, stacked_along(prints))
        return make_plan(
            prints,
            self.study.channels,
            self.study.labels,
            options=trunk_options(self.config, self.machine, self.study, span_mm),
            optional_channels=self.study.optional_channels,
        )

    def files(self, plan: Plan) -> Sequence[CaseFiles]:
        """Return the cases."""
        del plan
        return self.cases

    def prepare(self, folder: Path, files: CaseFiles, plan: Plan) -> Example:
        """Return a case ready for training."""

        def make() -> tuple[Image, Bounds]:
            case = self._load(files)
            image, grid = prepare_image(case.images, plan)
            return image, bounds_on(grid, self.label_of(case))

        return prepared_example(folder, files.name, len(plan.labels.names), make)

    def network(self, plan: Plan, task: Task) -> nn.Module:
        """Return the network of the plan, with the weights of the model to begin with."""
        net = (self.make_network or network_of)(plan)
        if self.begin is not None:
            load_weights(net, weights_of(self.begin))
        elif self.make_network is None:
            begin_with(net, voxels_of(task).class_shares())
        branches = self.config.crossmodal
        if isinstance(net, CrossModal) and not branches.branch_weight + branches.consistency_weight:
            for unasked in (*net.decoders[:-1], *net.heads[:-1]):  # processes would wait for them
                unasked.requires_grad_(requires_grad=False)
        return net

    def task(self, fit: Sequence[Example], held_out: Sequence[Example], plan: Plan) -> Task:
        """Return the task of voxels, as the network wants it.

        Raises:
            BadStudyError: All hints are tags of one state.
        """
        if not any(any(example.known.shown[1:]) for example in (*fit, *held_out)):
            msg = (
                "no hint shows where a label is, and tags alone need cases tagged present and "
                "cases tagged absent; add the missing kind, or points, boxes, scribbles or slices"
            )
            raise BadStudyError(msg)
        lesions = [*map(self.study.labels.number, self.lesions)]
        return task_of(VoxelTask.of(fit, held_out, plan, self.config, lesions))

    def loop(self, folder: Path, fabric: "Fabric", net: nn.Module, task: Task) -> Settings:
        """Return the steps of the config, or what its time budget comes to."""
        time_limit = None if self.config.time is None else _LATE * seconds_of(self.config.time)
        return Settings(
            steps=self._steps(folder, fabric, net, task),
            seconds=time_limit,
            learning_rate=self.config.learning_rate,
            seed=self.machine.seed,
            state=folder / STATE,
            open_ended=True,
            until_settled=self.config.time is not None,
        )

    def _load(self, files: CaseFiles) -> Case:
        dense = self.config.supervision == "dense"
        return self.study.load(files, hints=False, dense=dense)

    def _span_mm(
        self, cases: Sequence[CaseFiles], stacked: int | None
    ) -> tuple[float, float, float] | None:
        """Return how far the labels of a case reach, the median of some; None for no label."""
        spans = []
        for one in cases:
            with about(f"case {one.name}"):
                soft = self.label_of(self._load(one))
            turn = soft.grid.turn_to_ras(stacked)
            believed = turn.apply(_believed(soft))
            spans.append(span_of(believed, soft.grid.turned(turn).spacing_mm))
        known = [span for span in spans if span is not None]
        if not known:
            return None
        i, j, k = np.median(known, axis=0).tolist()
        return i, j, k

    def _steps(self, folder: Path, fabric: "Fabric", net: nn.Module, task: Task) -> int:
        """Return the number of steps; one that follows from a time budget is decided only once.

        A training that goes on is timed by the steps it has done.
        """
        if self.config.time is None:
            return self.config.steps or 0
        path = folder / _DECIDED
        told: Mapping[str, Any] = read_object(path) if path.exists() else {}
        if told.get("budget") != self.config.time:
            state = load_state(folder / STATE)
            left = seconds_of(self.config.time) - (time.monotonic() - self.began)
            if state is None or not state["step"]:
                steps = max(1, int(_SPARE * left / step_seconds(fabric, net, task)))
            else:
                each = state["seconds"] / state["step"]
                steps = state["step"] + int(max(0.0, left - state["seconds"]) / each)
            told = fabric.broadcast({"budget": self.config.time, "steps": steps})
            if fabric.is_global_zero:
                write_json(path, told)
        return int(told["steps"])


def _believed(soft: SoftLabel | CompactSoftLabel) -> Bool[np.ndarray, "i j k"]:
    """Return where a label is believed to be; classes are looked at one by one."""
    found = np.zeros(soft.grid.shape, bool)
    for number, (belief, _) in enumerate(soft.bounds()):
        if number:
            found |= belief > _BELIEVED
    return found


def task_of(voxels: VoxelTask) -> Task:
    """Return the task of voxels as the network of its plan wants it."""
    return BranchTask(voxels) if voxels.plan.network == "crossmodal" else voxels


def voxels_of(task: Task) -> VoxelTask:
    """Return the task of voxels within a task of `task_of`.

    Raises:
        TypeError: It is another task.
    """
    voxels = task.voxels if isinstance(task, BranchTask) else task
    if not isinstance(voxels, VoxelTask):
        raise TypeError(type(task).__name__)
    return voxels
