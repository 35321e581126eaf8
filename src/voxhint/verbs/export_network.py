"""Export of a network for other runtimes: ONNX or TorchScript, its plan, and a way to run it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voxhint.classify.classifier import CLASSIFIER
from voxhint.config import Machine, PredictConfig
from voxhint.core.errors import BadFileError
from voxhint.files.atomic import write_json, write_text
from voxhint.models.device import open_fabric
from voxhint.models.folder import Model, open_model
from voxhint.models.single_file import card_text
from voxhint.models.traced import onnx_bytes, torchscript_bytes
from voxhint.prepare import Plan
from voxhint.verbs.export_model import card_of, model_folder
from voxhint.verbs.export_source import Job

SCRIPTS = Path(__file__).resolve().parents[1] / "standalone"
"""Files that run without voxhint."""


def write_onnx(job: Job) -> tuple[str, ...]:
    """Write the network of a run as ONNX, what prepares images for it, and a script that runs it.

    Args:
        job: What is to be handed on.

    Returns:
        What this network alone does not do.
    """
    return _write(job, "model.onnx", onnx_bytes)


def write_torchscript(job: Job) -> tuple[str, ...]:
    """Write the network of a run as TorchScript, with the same files beside it.

    Args:
        job: What is to be handed on.

    Returns:
        What this network alone does not do.
    """
    return _write(job, "model.ts", torchscript_bytes)


def open_network(job: Job) -> tuple[Model, tuple[str, ...]]:
    """Open the model of a run, to be handed on as a network.

    Args:
        job: What is to be handed on.

    Returns:
        The model on the CPU, and what a network alone does not do.

    Raises:
        BadFileError: The run holds no model, or one that sees more than its images.
    """
    folder = model_folder(job.run)
    opened = open_model(folder, open_fabric(Machine(device="cpu")))
    if opened.plan.views:
        msg = (
            f"{job.run}: its network sees pseudo-modalities ({', '.join(opened.plan.views)}), "
            "which only voxhint makes; hand the model on with --to folder"
        )
        raise BadFileError(msg)
    alone = (
        "labels that tags taught: voxhint predict also asks its classifier, and follows borders of "
        "the image; this is the network alone, so its masks are others"
    )
    return opened, (alone,) if (folder / CLASSIFIER).is_dir() else ()


def plan_for_others(plan: Plan, network: str) -> dict[str, Any]:
    """Return what another program has to know to ask a network.

    Args:
        plan: Of the model.
        network: Name of the file of the network.

    Returns:
        Plain values: channels, labels, spacing, intensities, patch and overlap.
    """
    told = plan.to_json()
    return {
        "network": network,
        "labels": dict(zip(plan.labels.names, plan.labels.ids, strict=True)),
        **{key: told[key] for key in ("channels", "optional_channels", "spacing_mm", "stacked")},
        "intensity": told["intensity"],
        "patch": plan.patch,
        "overlap": PredictConfig().overlap,
        "blend": "gaussian, an eighth of the patch",
    }


def _write(job: Job, name: str, content: Callable[[Model], bytes]) -> tuple[str, ...]:
    """Write a network and what belongs to it.

    Returns:
        What this network alone does not do.
    """
    opened, lines = open_network(job)
    (job.folder / name).write_bytes(content(opened))
    write_json(job.folder / "plan.json", plan_for_others(opened.plan, name))
    for script in ("predict.py", "preparation.py"):
        shutil.copyfile(SCRIPTS / script, job.folder / script)
    images = " ".join(f"{channel}.nii.gz" for channel in opened.plan.channels)
    command = f"python predict.py {images} --out mask.nii.gz"
    write_text(job.folder / "CARD.md", card_text(card_of(job.run, job.name), command))
    return lines
