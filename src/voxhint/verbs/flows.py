"""Training a label-conditional flow on the tagged images of a study, and asking it."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from lightning_fabric import Fabric
from torch import Tensor

from voxhint.config import LabelConfig, Machine
from voxhint.core.errors import BadFileError
from voxhint.files.atomic import replacing, write_json
from voxhint.files.study import Study
from voxhint.flow import Velocity, interpolate
from voxhint.nets import FlowUNet, load_weights, weights_bytes
from voxhint.nets.flow_unet import ABSENT, PRESENT, UNKNOWN
from voxhint.prepare import Plan, Wishes
from voxhint.train import FlowTask, Settings, train
from voxhint.verbs.machine import open_fabric
from voxhint.verbs.models import read_plan, write_history
from voxhint.verbs.split import parted
from voxhint.verbs.tagging import bags_of, prepared_image, tag_plan
from voxhint.verbs.tell import Tell

FLOW = "flow"
FLOW_FACTS = "flow.json"
FLOW_FILES = ("plan.json", "weights.safetensors", FLOW_FACTS)
State = Literal["absent", "present", "unknown"]

_BATCH = 8
_RATE = 1e-3
_KEEP = 0.999  # of the averaged weights in a step
_HELD_OUT = 0.1  # share of the subjects whose images choose the checkpoint
_STATES: dict[State, int] = {"absent": ABSENT, "present": PRESENT, "unknown": UNKNOWN}
_DEEPEST = 2  # times the first width: blocks see enough from there


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A trained flow between images and noise that hears of tags."""

    net: FlowUNet
    plan: Plan
    labels: tuple[str, ...]
    """Labels it hears of, in order; a subset of the study's."""

    fabric: Fabric

    def velocity(self, label: str, state: State) -> Velocity:
        """Return the velocity of images with a label in a state, the other labels unknown."""
        tags = torch.full((1, len(self.labels)), UNKNOWN, device=self.fabric.device)
        tags[0, self.labels.index(label)] = _STATES[state]

        def velocity(
            z: Float[Tensor, "batch channel i j k"], s: Float[Tensor, " batch"], /
        ) -> Float[Tensor, "batch channel i j k"]:
            velocity: Tensor = self.net(z, s, tags.expand(len(z), -1)).velocity
            return velocity

        return velocity

    def contrast(
        self,
        image: Float32[np.ndarray, "channel i j k"],
        label: str,
        *,
        levels: Sequence[float] = (0.3, 0.5, 0.7, 0.8, 0.9),
        seed: int = 0,
    ) -> float:
        """Return how much better "present" explains a prepared image than "absent".

        Args:
            image: As `prepare_image` gives it with the flow's plan.
            label: The one in question.
            levels: Noise levels at which both are tried, with the same noise.
            seed: Of that noise.

        Returns:
            The log-likelihood ratio up to its scale: the sum over levels of how much larger the
            squared error of the velocity is when told "absent" than when told "present".

        Source:
            Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier",
            arXiv:2303.16203.
        """
        rng = np.random.default_rng(seed)
        shape = (len(levels), *image.shape)
        noise = torch.from_numpy(rng.standard_normal(shape, np.float32)).to(self.fabric.device)
        known = torch.from_numpy(image).to(noise)[None].expand(shape)
        point = interpolate(known, noise, torch.tensor(levels).to(noise))
        with torch.inference_mode():
            absent, present = (
                (self.velocity(label, state)(point.z, point.s) - point.velocity).pow(2)
                for state in ("absent", "present")
            )
            return float((absent - present).mean((1, 2, 3, 4)).sum())


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
    if (folder / FLOW_FACTS).exists():
        return open_flow(folder, fabric)
    folder.mkdir(parents=True, exist_ok=True)
    wishes = Wishes(
        network=FLOW,
        width=config.flow_width,
        patch_voxels=config.flow_voxels,
        batch=_BATCH,
        whole=True,
    )
    plan = tag_plan(folder, study, labels, wishes, (machine, tell))
    files = tuple(f for f in study.training if bags_of(study, f.name, labels))
    images = []
    for number, case in enumerate(files):
        tell("prepare for the flow", number, len(files), case.name)
        images.append(prepared_image(folder / ".prepared", study, case, plan))
    fit, held_out = parted(files, images, _HELD_OUT, machine.seed)
    torch.manual_seed(machine.seed)
    net = flow_network(plan, labels)
    task = FlowTask.of(fit, held_out, plan, config)
    state = folder / ".state.ckpt"
    settings = Settings(
        steps=config.flow_steps,
        learning_rate=_RATE,
        seed=machine.seed,
        state=state,
        log=folder / "tensorboard",
        keep=_KEEP,
    )
    result = train(
        fabric,
        net,
        task,
        settings=settings,
        progress=lambda done, total, note: tell("train the flow", done, total, note),
    )
    with replacing(folder / "weights.safetensors") as partial:
        partial.write_bytes(weights_bytes(result.weights))
    write_history(folder / "history.csv", result.history)
    write_json(folder / FLOW_FACTS, {"labels": labels})
    state.unlink(missing_ok=True)
    shutil.rmtree(folder / ".prepared", ignore_errors=True)
    return open_flow(folder, fabric)


def open_flow(folder: Path, fabric: Fabric) -> Flow:
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
    try:
        labels = tuple(json.loads((folder / FLOW_FACTS).read_text("utf-8"))["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder / FLOW_FACTS}: damaged ({type(error).__name__}); label the study again"
        raise BadFileError(msg) from None
    net = flow_network(plan, labels)
    load_weights(net, folder / "weights.safetensors")
    net.to(device=fabric.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
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
