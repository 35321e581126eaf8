"""A model that has learnt nothing, for tests of what is done with models."""

import json
from pathlib import Path

import torch

from voxhint.models.folder import network_of
from voxhint.nets import weights_bytes
from voxhint.prepare import Plan


def untrained_model(folder: Path, plan: Plan) -> Path:
    """Write the plan and fresh weights of a model, the same at every call."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    (folder / "plan.json").write_text(json.dumps(plan.to_json()))
    (folder / "weights.safetensors").write_bytes(weights_bytes(network_of(plan)))
    return folder
