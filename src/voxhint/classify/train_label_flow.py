"""Training a label-conditional flow on the tagged images of a study, and asking it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from voxhint.classify.tag_bags import TagJob
from voxhint.classify.train_classifier import tag_plan, tagged_cases, tagged_image, take_shipped_for
from voxhint.core.errors import BadFileError
from voxhint.core.study import CaseFiles
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.flow import Velocity
from voxhint.models.device import open_fabric
from voxhint.models.fit import STATE, fit, forget_progress
from voxhint.models.folder import read_plan
from voxhint.nets import FlowUNet, load_weights
from voxhint.nets.flow_unet import UNKNOWN
from voxhint.prepare import Plan, PlanOptions
from voxhint.training import FlowTask, Settings, TaggedImage, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FLOW: Literal["flow"] = "flow"
FLOW_FILE = "flow.json"
_FLOW_FILES = ("plan.json", "weights.safetensors", FLOW_FILE)
_State = Literal["absent", "present", "unknown"]

_BATCH = 8
_WIDTH = 32  # feature maps at the first level
_INPUT_VOXELS = 8_000  # of an image at most; larger ones are made coarser
_RATE = 2e-3
_EMA_DECAY = 0.999  # of the averaged weights in a step
_HELD_OUT = 0.1  # share of the subjects whose images choose the checkpoint
_LEAST = 0.05  # of 1 - s: pure noise says nothing of a label
_DEEPEST = 2  # times the first width: blocks see enough from there


@dataclass(frozen=True, slots=True, eq=False)
class LabelFlow:
    """A trained flow between images and noise that hears of tags."""

    net: FlowUNet
    plan: Plan
    labels: tuple[str, ...]
    """Labels it hears of, in order; a subset of the study's."""

    fabric: "Fabric"

    def velocity(self, label: str, state: _State) -> Velocity:
        """Return the velocity of images with a label in a state, the other labels unknown.

        From what the network sees, the velocity follows by Bayes' rule: it is that of images of
        which nothing is known, plus s / (1 - s) times the gradient of the state's log-probability.
        It passes no gradients on.

        Source:
            Dhariwal and Nichol 2021, "Diffusion models beat GANs", arXiv:2105.05233, section 4,
            written for the straight path.
        """
        number, told = self.labels.index(label), torch.full((1, len(self.labels)), UNKNOWN)
        told = told.to(self.fabric.device)
        sign = {"absent": -1.0, "present": 1.0, "unknown": 0.0}[state]

        def of_all_images(
            z: Float[Tensor, "batch channel i j k"], s: Float[Tensor, " batch"], /
        ) -> Float[Tensor, "batch channel i j k"]:
            with self.fabric.autocast():
                velocity: Tensor = self.net(z, s, told.expand(len(z), -1)).velocity
            return velocity.to(z)

        def by_what_is_seen(
            z: Float[Tensor, "batch channel i j k"], s: Float[Tensor, " batch"], /
        ) -> Float[Tensor, "batch channel i j k"]:
            with torch.inference_mode(mode=False), torch.enable_grad():
                z, s = z.detach().clone().requires_grad_(), s.detach().clone()
                with self.fabric.autocast():
                    answer = self.net(z, s, told.expand(len(z), -1))
                likely = functional.logsigmoid(sign * answer.label_logits[:, number].float()).sum()
                (uphill,) = torch.autograd.grad(likely, z)
                share = (s / (1 - s).clamp(min=_LEAST))[:, None, None, None, None]
                velocity: Tensor = answer.velocity.detach().to(z) + share * uphill
            return velocity

        return by_what_is_seen if sign else of_all_images


def fit_label_flow(folder: Path, job: TagJob) -> LabelFlow:
    """Train the flow of a study, or take one that comes with voxhint, as `fit_classifier` does.

    Args:
        folder: Where plan.json, weights.safetensors and flow.json go.
        job: What to learn.

    Returns:
        The flow.
    """
    fabric = open_fabric(job.machine)
    if not (folder / FLOW_FILE).exists() and not take_shipped_for(FLOW, folder, job):
        fit(_FlowLearning(job), folder, fabric=fabric, seed=job.machine.seed, tell=job.tell)
        write_json(folder / FLOW_FILE, {"labels": job.labels})
        forget_progress(folder)
    return _open_label_flow(folder, fabric)


@dataclass(frozen=True, slots=True, eq=False)
class _FlowLearning:
    """Learning how tagged images flow from noise."""

    job: TagJob
    prepare_step = "prepare for the flow"
    train_step = "train the flow"
    held_out = _HELD_OUT

    def make_plan(self) -> Plan:
        """Return the plan of a network that sees whole images."""
        options = PlanOptions(
            network=FLOW, width=_WIDTH, patch_voxels=_INPUT_VOXELS, batch=_BATCH, whole=True
        )
        return tag_plan(self.job, options)

    def files(self, plan: Plan) -> Sequence[CaseFiles]:
        """Return the cases of which tags say anything."""
        return tagged_cases(self.job.study, plan.labels.foreground)

    def prepare(self, folder: Path, files: CaseFiles, plan: Plan) -> TaggedImage:
        """Return a case with its bags."""
        return tagged_image(folder, self.job.study, files, plan)

    def network(self, plan: Plan, task: Task) -> FlowUNet:
        """Return a fresh flow network."""
        del task
        return flow_network(plan, self.job.labels)

    def task(self, fit: Sequence[TaggedImage], held_out: Sequence[TaggedImage], plan: Plan) -> Task:
        """Return the task of the flow."""
        return FlowTask.of(fit, held_out, plan, self.job.config)

    def loop(self, folder: Path, fabric: "Fabric", net: FlowUNet, task: Task) -> Settings:
        """Return a fixed number of steps with a slow average of the weights."""
        del fabric, net, task
        return Settings(
            steps=self.job.config.flow.steps,
            learning_rate=_RATE,
            seed=self.job.machine.seed,
            state=folder / STATE,
            ema_decay=_EMA_DECAY,
        )


def _open_label_flow(folder: Path, fabric: "Fabric") -> LabelFlow:
    """Open a trained flow.

    Args:
        folder: What `fit_label_flow` wrote.
        fabric: Device and precision.

    Returns:
        The flow, in evaluation mode.

    Raises:
        BadFileError: Something is missing or damaged.
    """
    plan = read_plan(folder / "plan.json")
    told = read_object(folder / FLOW_FILE).get("labels")
    labels = tuple(told) if isinstance(told, list) else ()
    if not labels or not {*labels} <= {*plan.labels.foreground}:
        msg = f"{folder / FLOW_FILE}: damaged (labels {told}); label the study again"
        raise BadFileError(msg)
    net = flow_network(plan, labels)
    load_weights(net, folder / "weights.safetensors")
    net.to(device=fabric.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    net.requires_grad_(requires_grad=False)
    return LabelFlow(net, plan, labels, fabric)


def flow_network(plan: Plan, labels: Sequence[str]) -> FlowUNet:
    """Return the flow network of a plan with fresh weights."""
    most = _DEEPEST * plan.features[0]
    return FlowUNet(
        channels=len(plan.channels),
        labels=len(labels),
        strides=plan.strides,
        kernels=plan.kernels,
        features=[plan.features[0], *(min(most, width // 2) for width in plan.features[1:])],
    )
