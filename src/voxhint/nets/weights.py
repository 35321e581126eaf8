"""Weights on disk: safetensors, never pickle."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from voxhint.core.errors import BadFileError


def weights_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """Return the content of a safetensors file."""
    # cloned, because DynUNet knows some weights by two names and safetensors wants them apart
    return save({n: tensor.detach().cpu().contiguous().clone() for n, tensor in weights.items()})


def load_weights(net: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a file.

    Args:
        net: A network of the very shape that was saved.
        path: A safetensors file.

    Raises:
        BadFileError: The file is missing, is not safetensors, or holds another network.
    """
    try:
        net.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        msg = f"{path.name}: no weights of this network ({reason}); train the model again"
        raise BadFileError(msg) from None
