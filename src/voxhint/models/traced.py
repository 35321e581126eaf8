"""A network for other runtimes: ONNX and TorchScript, from a patch to probabilities."""

import contextlib
import importlib.util
import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from voxhint.config import PredictConfig
from voxhint.core.errors import BadFileError, NotAvailableError
from voxhint.models.folder import Model, temperature_of

_OPSET = 17  # the first with all that the networks need; runtimes since 2022 know it


class _Probabilities(nn.Module):
    """A network and its temperature as one module."""

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, image: Float[Tensor, "batch channel i j k"]
    ) -> Float[Tensor, "batch class i j k"]:
        """Return the probability of each class."""
        logits: Tensor = self.net(image)
        return (logits.float() / self.temperature).softmax(1)


def onnx_bytes(model: Model) -> bytes:
    """Return a network as ONNX: input `image`, a patch; output `probabilities`.

    Args:
        model: Opened for prediction on the CPU.

    Returns:
        The content of a file.

    Raises:
        NotAvailableError: The package that torch writes ONNX with is not here.
        BadFileError: ONNX has no word for a part of the network.
    """
    if importlib.util.find_spec("onnx") is None:
        msg = 'writing ONNX needs an extra: pip install "voxhint[onnx]", or use --to torchscript'
        raise NotAvailableError(msg)
    file = io.BytesIO()
    with _quiet():
        try:
            # the older of torch's two exporters: it needs one package less
            torch.onnx.export(
                _module(model),
                (_patch(model),),
                file,  # type: ignore[arg-type]  # a path, it says, and takes a file
                dynamo=False,
                opset_version=_OPSET,
                input_names=["image"],
                output_names=["probabilities"],
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).partition("\n")[0]
            msg = f"ONNX cannot say this network ({reason}); use --to torchscript"
            raise BadFileError(msg) from None
    return file.getvalue()


def torchscript_bytes(model: Model) -> bytes:
    """Return a network as TorchScript, from a patch to probabilities.

    Args:
        model: Opened for prediction on the CPU.

    Returns:
        The content of a file, without the paths of this machine that torch writes for debugging.
    """
    whole, kept = io.BytesIO(), io.BytesIO()
    with _quiet(), torch.inference_mode():
        trace: Any = torch.jit.trace
        torch.jit.save(trace(_module(model), _patch(model), check_trace=False), whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(kept, "w") as clean:
        for item in archive.infolist():
            if not item.filename.endswith(".debug_pkl"):
                clean.writestr(item, archive.read(item))
    return kept.getvalue()


def _module(model: Model) -> nn.Module:
    return _Probabilities(model.net, temperature_of(model, PredictConfig())).eval()


def _patch(model: Model) -> Tensor:
    """Return a patch of noise, in which no channel is missing."""
    chance = torch.Generator().manual_seed(0)
    return torch.randn(1, len(model.plan.inputs), *model.plan.patch, generator=chance)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from a person what torch says of its own ways."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
