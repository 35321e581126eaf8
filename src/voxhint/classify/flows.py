"""Training a label-conditional flow on the tagged images of a study, and asking it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from voxhint.classify.training import prepared_images, tag_plan
from voxhint.config import LabelConfig, Machine
from voxhint.core.errors import BadFileError
from voxhint.core.progress import Tell
from voxhint.core.study import Study
from voxhint.files.atomic import replacing, write_json
from voxhint.files.description import read_object
from voxhint.flow import Velocity, interpolate
from voxhint.models.device import open_fabric
from voxhint.models.folder import read_plan, write_history
from voxhint.models.shipped import take_shipped
from voxhint.models.split import parted
from voxhint.nets import FlowUNet, load_weights, weights_bytes
from voxhint.nets.flow_unet import UNKNOWN
from voxhint.prepare import Plan, Wishes
from voxhint.train import FlowTask, Settings, train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FLOW: Literal["flow"] = "flow"
FLOW_FACTS = "flow.json"
FLOW_FILES = ("plan.json", "weights.safetensors", FLOW_FACTS)
State = Literal["absent", "present", "unknown"]

_BATCH = 8
_WIDTH = 32  # feature maps at the first level
_INPUT_VOXELS = 8_000  # of an image at most; larger ones are made coarser
_RATE = 2e-3
_KEEP = 0.999  # of the averaged weights in a step
_HELD_OUT = 0.1  # share of the subjects whose images choose the checkpoint
LEVELS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Noise levels at which a flow is asked what it makes of a label."""

_LEAST = 0.05  # of 1 - s: pure noise says nothing of a label
_OPPOSITES: tuple[State, State] = ("absent", "present")
_DEEPEST = 2  # times the first width: blocks see enough from there


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A trained flow between images and noise that hears of tags."""

    net: FlowUNet
    plan: Plan
    labels: tuple[str, ...]
    """Labels it hears of, in order; a subset of the study's."""

    fabric: "Fabric"

    def velocity(self, label: str, state: State) -> Velocity:
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
                likely = functional.logsigmoid(sign * answer.presence[:, number].float()).sum()
                (uphill,) = torch.autograd.grad(likely, z)
                share = (s / (1 - s).clamp(min=_LEAST))[:, None, None, None, None]
                velocity: Tensor = answer.velocity.detach().to(z) + share * uphill
            return velocity

        return by_what_is_seen if sign else of_all_images

    def contrast(
        self, image: Float32[np.ndarray, "channel i j k"], label: str, *, seed: int = 0
    ) -> float:
        """Return how much better "present" explains a prepared image than "absent".

        Args:
            image: As `prepare_image` gives it with the flow's plan.
            label: The one in question.
            seed: Of the noise, the same for both.

        Returns:
            The sum of `contrasts`.
        """
        return float(self.contrasts(image, label, seed=seed).sum())

    def contrasts(
        self, image: Float32[np.ndarray, "channel i j k"], label: str, *, seed: int = 0
    ) -> Float32[np.ndarray, " level"]:
        """Return what each of LEVELS says of a label: a share of the log-likelihood ratio.

        It is how much larger the squared error of the velocity is when told "absent" than when
        told "present", summed over voxels and times (1 - s) / s, but at most 1.

        Source:
            Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier",
            arXiv:2303.16203; the weight follows from the signal-to-noise ratio of the path.
        """
        rng = np.random.default_rng(seed)
        shape = (len(LEVELS), *image.shape)
        noise = torch.from_numpy(rng.standard_normal(shape, np.float32)).to(self.fabric.device)
        s = torch.tensor(LEVELS).to(noise)
        point = interpolate(torch.from_numpy(image).to(noise)[None].expand(shape), noise, s)
        with torch.no_grad():
            absent, present = (
                (self.velocity(label, state)(point.z, s) - point.velocity).pow(2).sum((1, 2, 3, 4))
                for state in _OPPOSITES
            )
        worse: Tensor = (absent - present) * ((1 - s) / s).clamp(max=1)
        return np.asarray(worse.cpu().numpy(), np.float32)

    def presence(
        self, image: Float32[np.ndarray, "channel i j k"], label: str, *, level: float = 0.1
    ) -> float:
        """Return the logit of a label that the network sees itself through a little noise.

        Args:
            image: As `prepare_image` gives it with the flow's plan.
            label: The one in question.
            level: Share of noise, which the network knows the image with only.
        """
        clean = torch.from_numpy(image).to(self.fabric.device)[None]
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal(clean.shape, np.float32))
        s = torch.full((1,), level, device=clean.device)
        tags = torch.full((1, len(self.labels)), UNKNOWN, device=clean.device)
        with torch.inference_mode():
            seen = self.net(interpolate(clean, noise.to(clean), s).z, s, tags).presence
        return float(seen[0, self.labels.index(label)])


def fit_flow(
    folder: Path,
    study: Study,
    labels: tuple[str, ...],
    *,
    config: LabelConfig,
    machine: Machine,
    tell: Tell,
) -> Flow:
    """Train the flow of a study, going on where an earlier call stopped.

    One that comes with voxhint is taken instead, where there is one and the knobs allow it.

    Args:
        folder: Where plan.json, weights.safetensors and flow.json go.
        study: With tags of both states.
        labels: Those it is to hear of.
        config: Knobs of the flow.
        machine: Device, threads, seed.
        tell: Hears of progress.

    Returns:
        The flow.
    """
    fabric = open_fabric(machine)
    made = (folder / FLOW_FACTS).exists()
    if made or take_shipped(FLOW, folder, study, labels, config, (machine, tell)):
        return open_flow(folder, fabric)
    wishes = Wishes(
        network=FLOW,
        width=_WIDTH,
        patch_voxels=_INPUT_VOXELS,
        batch=_BATCH,
        whole=True,
    )
    plan = tag_plan(folder, study, labels, wishes, (machine, tell))
    files, images = prepared_images(folder / ".prepared", study, plan, tell)
    fit, held_out = parted(files, images, _HELD_OUT, machine.seed)
    torch.manual_seed(machine.seed)
    net = flow_network(plan, labels)
    task = FlowTask.of(fit, held_out, plan, config)
    state = folder / ".state.ckpt"
    settings = Settings(
        steps=config.flow.steps,
        learning_rate=_RATE,
        seed=machine.seed,
        state=state,
        keep=_KEEP,
    )
    result = train(
        fabric,
        net,
        task,
        settings=settings,
        progress=lambda done, total, note: tell("train the flow", done, total, note),
    )
    net.load_state_dict(result.weights)
    with replacing(folder / "weights.safetensors") as partial:
        partial.write_bytes(weights_bytes(net))
    write_history(folder / "history.csv", result.history)
    write_json(folder / FLOW_FACTS, {"labels": labels})
    state.unlink(missing_ok=True)
    shutil.rmtree(folder / ".prepared", ignore_errors=True)
    return open_flow(folder, fabric)


def open_flow(folder: Path, fabric: "Fabric") -> Flow:
    """Open a trained flow.

    Args:
        folder: What `fit_flow` wrote.
        fabric: Device and precision.

    Returns:
        The flow, in evaluation mode.

    Raises:
        BadFileError: Something is missing or damaged.
    """
    plan = read_plan(folder / "plan.json")
    told = read_object(folder / FLOW_FACTS).get("labels")
    labels = tuple(told) if isinstance(told, list) else ()
    if not labels or not {*labels} <= {*plan.labels.foreground}:
        msg = f"{folder / FLOW_FACTS}: damaged (labels {told}); label the study again"
        raise BadFileError(msg)
    net = flow_network(plan, labels)
    load_weights(net, folder / "weights.safetensors")
    net.to(device=fabric.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    net.requires_grad_(requires_grad=False)
    return Flow(net, plan, labels, fabric)


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
