"""Export as a MONAI bundle: the network, how images are prepared for it, and how it is run."""

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from voxhint.config import PredictConfig
from voxhint.files.atomic import write_json, write_text
from voxhint.models.folder import Model, temperature_of
from voxhint.models.single_file import card_text
from voxhint.models.traced import torchscript_bytes
from voxhint.nets.trunk import dynunet_arguments
from voxhint.prepare import Plan
from voxhint.verbs.export_model import card_of
from voxhint.verbs.export_network import SCRIPTS, open_network, plan_for_others
from voxhint.verbs.export_source import Job

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_COMMAND = (
    "python -m monai.bundle run --config_file configs/inference.json --meta_file "
    "configs/metadata.json --dataset_dir IMAGES --output_dir MASKS"
)
_OPEN = "$@bundle_root + '/{}'"
_STEPS = "scripts.monai_steps."
_EXPRESSIONS = "$@%"  # what MONAI takes a text for that begins so


def write_bundle(job: Job) -> tuple[str, ...]:
    """Write the network of a run as a MONAI bundle, which runs without voxhint.

    A DynUNet is MONAI's own, built by its configuration; other networks are TorchScript.

    Args:
        job: What is to be handed on.

    Returns:
        What this network alone does not do.
    """
    opened, lines = open_network(job)
    card, plan = card_of(job.run, job.name), opened.plan
    configs, models, scripts, docs = (
        job.folder / name for name in ("configs", "models", "scripts", "docs")
    )
    for folder in (configs, models, scripts, docs):
        folder.mkdir()
    torch.save(opened.net.state_dict(), models / "model.pt")
    if plan.network != "dynunet":
        (models / "model.ts").write_bytes(torchscript_bytes(opened))
    write_json(configs / "plan.json", plan_for_others(plan, "models/model.pt"))
    write_json(configs / "metadata.json", _metadata(plan, card))
    write_json(configs / "inference.json", _inference(opened))
    (scripts / "__init__.py").touch()
    for script in ("preparation.py", "monai_steps.py"):
        shutil.copyfile(SCRIPTS / script, scripts / script)
    write_text(docs / "README.md", card_text(card, _COMMAND))
    return lines


def _network(model: Model) -> dict[str, Any]:
    """Return the parts of the configuration that make the network."""
    plan = model.plan
    if plan.network != "dynunet":
        script = {"f": _OPEN.format("models/model.ts"), "map_location": "@device"}
        return {
            "network_def": {"_target_": "torch.jit.load", **script},
            "network": "@network_def",
            "handlers": [],
        }
    shape = (plan.strides, plan.kernels, plan.features)
    made = dynunet_arguments(len(plan.inputs), len(plan.labels.names), *shape)
    return {
        "network_def": {"_target_": "DynUNet", **made},
        "probabilities": {
            "_target_": f"{_STEPS}Probabilities",
            "net": "@network_def",
            "temperature": temperature_of(model, PredictConfig()),
        },
        "network": "$@probabilities.to(@device)",
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": _OPEN.format("models/model.pt"),
                "load_dict": {"model": "@network_def"},
                "map_location": "@device",
            }
        ],
    }


def _inference(model: Model) -> dict[str, Any]:
    """Return the configuration: from images to masks."""
    plan = model.plan
    keys = ["image", *(f"image_{number}" for number in range(1, len(plan.channels)))]
    load = {"keys": "@keys", "ensure_channel_first": True, "allow_missing_keys": True}
    save = {
        "keys": "pred",
        "output_dir": "@output_dir",
        "output_ext": ".nii.gz",
        "output_dtype": "uint8",
        "output_postfix": "mask",
        "separate_folder": False,
        "resample": False,
    }
    return {
        "bundle_root": ".",
        "dataset_dir": "images",
        "output_dir": _OPEN.format("eval"),
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "plan": _OPEN.format("configs/plan.json"),
        "keys": keys,
        **_network(model),
        "preprocessing": _compose(
            {"_target_": "LoadImaged", **load},
            {"_target_": f"{_STEPS}Prepared", "plan": "@plan", "keys": "@keys"},
        ),
        "datalist": {"_target_": f"{_STEPS}cases", "folder": "@dataset_dir", "keys": "@keys"},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": plan.patch,
            "sw_batch_size": 1,
            "overlap": PredictConfig().overlap,
            "mode": "gaussian",
            "padding_mode": "replicate",
        },
        "postprocessing": _compose(
            {"_target_": f"{_STEPS}Restored", "plan": "@plan"},
            {"_target_": "SaveImaged", **save},
        ),
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _compose(*transforms: Mapping[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": transforms}


def _metadata(plan: Plan, card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what MONAI's tools want to know of a bundle.

    Source:
        MONAI bundle specification, and its schema of 2024-07-25.
    """
    labels = ", ".join(plan.labels.foreground)
    tensor = {
        "type": "image",
        "spatial_shape": plan.patch,
        "dtype": "float32",
        "is_patch_data": True,
    }
    hounsfield = all(channel in plan.intensity for channel in plan.channels)
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by {card['made_with']}"},
        "monai_version": _release("monai"),
        "pytorch_version": _release("torch"),
        "numpy_version": _release("numpy"),
        "required_packages_version": {
            "nibabel": _release("nibabel"),
            "pytorch-ignite": "0.5.0",
            "scipy": _release("scipy"),
        },
        "name": _plain(card["name"]),
        "task": f"segmentation of {labels}",
        "description": f"Learnt from {card['data']['training']} images and hints; docs/README.md "
        "tells data, licences, scores and limits",
        "authors": "not told",
        "copyright": f"licence of the data: {card['data']['licence']}",
        "intended_use": card["limits"][0],
        "data_type": "nibabel",
        "eval_metrics": {f"mean_dice {n}": said["mean"] for n, said in card["scores"].items()},
        "network_data_format": {
            "inputs": {
                "image": {
                    **tensor,
                    "format": "hounsfield" if hounsfield else "magnitude",
                    "modality": _plain(", ".join(plan.channels)),
                    "num_channels": len(plan.channels),
                    "value_range": [],
                    "channel_def": _numbered(plan.channels),
                }
            },
            "outputs": {
                "pred": {
                    **tensor,
                    "format": "segmentation",
                    "num_channels": len(plan.labels.names),
                    "value_range": [0, 1],
                    "channel_def": _numbered(plan.labels.names),
                }
            },
        },
    }


def _numbered(names: tuple[str, ...]) -> dict[str, str]:
    return {str(number): _plain(name) for number, name in enumerate(names)}


def _plain(text: str) -> str:
    """Return a text that MONAI does not take for an expression to be carried out."""
    return text.lstrip(_EXPRESSIONS) or "unnamed"


def _release(package: str) -> str:
    return version(package).partition("+")[0]
