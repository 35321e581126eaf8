"""Weights that others trained: read without running any code, fitted by name and shape."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from voxhint.core.errors import BadFileError


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a checkpoint onto the CPU.

    Only tensors and plain values are read: a pickle that would run code is refused.

    Args:
        path: A file of `torch.save`, or of safetensors if its name ends so.

    Returns:
        What the file holds by name.

    Raises:
        BadFileError: The file is missing, damaged, or holds more than weights.
    """
    try:
        if path.suffix == ".safetensors":
            found: object = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        msg = f"{path.name}: holds more than weights, or is damaged; save its tensors alone"
        raise BadFileError(msg) from None
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, LookupError) as error:
        reason = getattr(error, "strerror", None) or "damaged, or cut short"
        msg = f"{path.name}: cannot be read ({reason}); fetch it again, see `voxhint models`"
        raise BadFileError(msg) from None
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        msg = f"{path.name}: holds a {type(found).__name__}, expected weights by name"
        raise BadFileError(msg)
    return found


def fill(net: nn.Module, state: Mapping[str, Any], path: Path, what: str) -> None:
    """Fill a network with weights by name; names it does not know are left aside.

    Args:
        net: The network.
        state: Weights by name.
        path: Where they come from.
        what: Name of the network, for the error.

    Raises:
        BadFileError: A weight is missing, or has another shape.
    """
    wanted = net.state_dict()
    for name, own in wanted.items():
        given = state.get(name)
        if not isinstance(given, Tensor):
            msg = f"{path.name}: no weights of {what} ('{name}' is missing)"
            raise BadFileError(msg)
        if given.shape != own.shape:
            shapes = f"'{name}' is {tuple(given.shape)}, expected {tuple(own.shape)}"
            msg = f"{path.name}: no weights of {what} ({shapes})"
            raise BadFileError(msg)
    net.load_state_dict({name: state[name] for name in wanted})
