"""Weights on disk: safetensors, never pickle."""

from pathlib import Path

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
