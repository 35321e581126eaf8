"""Model folders: what a trained model consists of, and how it is opened."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from voxhint.core.errors import BadFileError
from voxhint.files.atomic import write_text
from voxhint.files.description import read_object
from voxhint.nets import build_trunk, load_weights
from voxhint.prepare import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained network and the plan it obeys."""

    plan: Plan
    net: nn.Module
    weights: Path
    fabric: Fabric


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Args:
        path: A `plan.json`.

    Returns:
        The plan.

    Raises:
        BadFileError: The file is missing or damaged.
    """
    try:
        return Plan.from_json(read_object(path))
    except (BadFileError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path}: no plan of voxhint ({type(error).__name__}); train the model again"
        raise BadFileError(msg) from None


def network_of(plan: Plan) -> nn.Module:
    """Return the network of a plan with fresh weights."""
    return build_trunk(
        plan.network,
        channels=len(plan.inputs),
        classes=len(plan.labels.names),
        strides=plan.strides,
        kernels=plan.kernels,
        features=plan.features,
        options=plan.options,
    )


def open_model(folder: Path, fabric: Fabric) -> Model:
    """Open a model folder for prediction.

    Args:
        folder: What `train` wrote, or a run that holds it in `model/`.
        fabric: Device and precision.

    Returns:
        The model, in evaluation mode.

    Raises:
        BadFileError: The folder holds no complete model.
    """
    inner = folder / "model"
    folder = inner if (inner / "plan.json").exists() else folder
    path = folder / "weights.safetensors"
    if not path.exists():
        msg = f"{folder}: holds no trained model; name a folder that voxhint train has finished"
        raise BadFileError(msg)
    plan = read_plan(folder / "plan.json")
    net = network_of(plan)
    load_weights(net, path)
    net.to(device=fabric.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    return Model(plan, net, path, fabric)


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write how a training went as a table."""
    names = ["step", "loss", "held_out", "learning_rate", "seconds"]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())
