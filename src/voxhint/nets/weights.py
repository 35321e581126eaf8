"""Weights on disk: our own as safetensors, those that others trained read without running code."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from voxhint.core.errors import BadFileError


def weights_bytes(net: nn.Module) -> bytes:
    """Return the content of a safetensors file; what a network knows by two names is in it once."""
    return save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in named_weights(net).items()}
    )


def load_weights(net: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a file.

    Args:
        net: A network of the very shape that was saved.
        path: A safetensors file.

    Raises:
        BadFileError: The file is missing, is not safetensors, or holds another network.
    """
    try:
        weights = load_file(path)
        found = net.load_state_dict(weights, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    else:
        endless = sorted(name for name, tensor in weights.items() if not tensor.isfinite().all())
        if endless:
            msg = f"{path.name}: {len(endless)} weights are NaN or infinite, such as {endless[0]}; "
            raise BadFileError(msg + "train the model again")
        wrong = [*named_weights(net).keys() & set(found.missing_keys), *found.unexpected_keys]
        if not wrong:
            return
        reason = f"{len(wrong)} weights are missing or too many, such as {min(wrong)}"
    msg = f"{path.name}: no weights of this network ({reason}); train the model again"
    raise BadFileError(msg)


def named_weights(net: nn.Module) -> dict[str, Tensor]:
    """Return weights and kept buffers, each by its first name: DynUNet knows most by two."""
    kept = net.state_dict().keys()
    named = (*net.named_parameters(), *net.named_buffers())
    return {name: tensor for name, tensor in named if name in kept}


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
