"""Model folders: what a trained model consists of, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from voxhint.config import PredictConfig
from voxhint.config.ranges import finding
from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.files.dataset_json import read_object
from voxhint.nets import ProbabilisticTransformer, build_trunk, load_weights
from voxhint.predict import Segmenter
from voxhint.prepare import Plan
from voxhint.runs import MADE
from voxhint.runs.manifest import read_manifest
from voxhint.runs.study_unchanged import odd_files
from voxhint.training.temperature import Temperature

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CALIBRATION = "calibration.json"
OWN_NETWORK = "network"
"""Input of a training whose network was made by a function of somebody else."""

NetworkFactory = Callable[[Plan], nn.Module]
"""Makes the network of a plan, with fresh weights."""

PLAN, WEIGHTS = "plan.json", "weights.safetensors"

_TEMPERATURE = TypeAdapter(Temperature)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained network and the plan it obeys."""

    plan: Plan
    net: nn.Module
    weights: Path
    fabric: "Fabric"
    warnings: tuple[str, ...] = ()
    """What a person should know of its folder."""


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Args:
        path: A `plan.json`.

    Returns:
        The plan.

    Raises:
        BadFileError: The file is missing or damaged.
    """
    values = read_object(path)
    try:
        return Plan.from_json(values)
    except BadFileError as error:
        msg = f"{path}: no plan of voxhint ({error}); train the model again"
        raise BadFileError(msg) from None


def plan_of(folder: Path) -> Plan:
    """Return the plan of a trained model.

    Args:
        folder: What `train` wrote, or a run that holds it in `model/`.
    """
    return read_plan(_inner(folder) / PLAN)


def weights_of(folder: Path) -> Path:
    """Return the file of a model's weights.

    Args:
        folder: What `train` wrote, or a run that holds it in `model/`.
    """
    return _inner(folder) / WEIGHTS


def _inner(folder: Path) -> Path:
    """Return the folder that holds the weights.

    Raises:
        BadFileError: There are none.
    """
    inner = folder / "model"
    folder = inner if (inner / PLAN).exists() else folder
    if not (folder / WEIGHTS).exists():
        msg = f"{folder}: holds no trained model; name a folder that voxhint train has finished"
        raise BadFileError(msg)
    return folder


def network_of(plan: Plan) -> nn.Module:
    """Return the network of a plan with fresh weights."""
    if plan.network == "probabilistic":
        return ProbabilisticTransformer(
            channels=len(plan.channels),
            classes=len(plan.labels.names),
            patch=plan.patch,
            strides=plan.strides,
            kernels=plan.kernels,
            features=plan.features,
            attention=plan.attention,
        )
    return build_trunk(
        plan.network,
        channels=len(plan.inputs),
        classes=len(plan.labels.names),
        strides=plan.strides,
        kernels=plan.kernels,
        features=plan.features,
        options=plan.options,
    )


def open_model(folder: Path, fabric: "Fabric", *, network: NetworkFactory | None = None) -> Model:
    """Open a model folder for prediction.

    Args:
        folder: What `train` wrote, or a run that holds it in `model/`.
        fabric: Device and precision.
        network: Makes the network, where it was none of voxhint's.

    Returns:
        The model, in evaluation mode.

    Raises:
        BadFileError: The folder holds no complete model, or one that was changed since.
    """
    folder = _inner(folder)
    path = folder / WEIGHTS
    _require_as_trained(folder)
    plan = read_plan(folder / PLAN)
    try:
        net = _network(folder, plan, network)
    except (ValueError, TypeError, RuntimeError, BadRecipeError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{folder / 'plan.json'}: tells of no network ({reason}); train the model again"
        raise BadFileError(msg) from None
    load_weights(net, path)
    net.to(device=fabric.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    known = (folder / MADE).is_file()
    told = f"the model has no {MADE}: nothing says whether its plan and weights belong together"
    return Model(plan, net, path, fabric, () if known else (told,))


def _network(folder: Path, plan: Plan, network: NetworkFactory | None) -> nn.Module:
    """Return the network of a model folder with fresh weights.

    Raises:
        BadFileError: It was made by somebody else's function, and none is given.
    """
    own = ((read_manifest(folder) or {}).get("inputs") or {}).get(OWN_NETWORK)
    if own is not None and network is None:
        msg = f"{folder}: its network was made by {own}; open it with Model.load(..., network=...)"
        raise BadFileError(msg)
    return network_of(plan) if network is None else network(plan)


def _require_as_trained(folder: Path) -> None:
    """Refuse a model of which a file is not as training left it.

    Raises:
        BadFileError: There is one.
    """
    read = (PLAN, WEIGHTS, CALIBRATION)
    for name, why in odd_files(folder):
        if name in read or name.startswith("classifier/"):
            msg = f"{folder / name}: {why}; copy the model again, or train it again"
            raise BadFileError(msg)


def segmenter_of(model: Model, config: PredictConfig, seed: int) -> Segmenter:
    """Return the network as a prediction is to ask it; each call starts from the same chance.

    Args:
        model: Opened for prediction.
        config: Passes, and whether they are calibrated.
        seed: Of what a probabilistic network draws.

    Returns:
        The network, its logits divided by a temperature if that is wanted.

    Raises:
        BadRecipeError: This model cannot be asked so.
    """
    net = model.net
    if isinstance(net, ProbabilisticTransformer):
        net.passes = config.passes
        net.chance = torch.Generator(model.fabric.device).manual_seed(seed)
    elif config.passes > 1:
        msg = f"{config.passes} passes of {model.plan.network} are all alike; leave passes at 1"
        raise BadRecipeError(msg)
    temperature = temperature_of(model, config)
    return net if temperature == 1 else lambda image: net(image) / temperature


def temperature_of(model: Model, config: PredictConfig) -> float:
    """Return what logits are divided by; 1 where they are taken as they are.

    Raises:
        BadRecipeError: They cannot be.
    """
    path = model.weights.with_name(CALIBRATION)
    told = _read_temperature(path) if path.exists() else None
    if told is None:
        if config.calibrated:
            msg = f"{path.parent}: no hints were held out to calibrate with; leave calibrated off"
            raise BadRecipeError(msg)
        return 1.0
    wanted = told.facts > 0 if config.calibrated is None else config.calibrated
    return told.temperature if wanted else 1.0


def _read_temperature(path: Path) -> Temperature:
    """Read what held-out hints say of how sure a network should be.

    Returns:
        What logits are divided by.

    Raises:
        BadFileError: The file is damaged.
    """
    values = read_object(path)
    try:
        return _TEMPERATURE.validate_python(values)
    except ValidationError as error:
        msg = f"{path}: damaged ({finding(error)}); train the model again"
        raise BadFileError(msg) from None
