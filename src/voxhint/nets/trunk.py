"""The segmentation trunk: a network of MONAI's, shaped by the plan.

MONAI takes seconds to load, so each network loads it when it is built.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from voxhint.core.errors import BadRecipeError
from voxhint.nets.crossmodal import CrossModal
from voxhint.nets.norm import quicken

_Triple = tuple[int, int, int]

_LEVELS = 3  # DynUNet has no fewer
_GROUPS = 8  # of feature maps that SegResNet normalises together
_LEAST = 0.01  # share that a fresh network gives a class, however rare it is
_LEAST_TOGETHER = 0.1  # share of all labels, where there are so many of them


def build_trunk(  # noqa: PLR0913  # a network is its numbers
    network: str,
    *,
    channels: int,
    classes: int,
    strides: Sequence[_Triple],
    kernels: Sequence[_Triple],
    features: Sequence[int],
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the network of a plan, with fresh weights from torch's generator.

    Args:
        network: `dynunet`, `segresnet` or `crossmodal`.
        channels: Input channels.
        classes: Output classes, background included.
        strides: Down-sampling of each level, the first 1.
        kernels: Kernel of each level.
        features: Feature maps of each level.
        options: What this network alone wants to know.

    Returns:
        A module from (batch, channel, i, j, k) to logits of the same size.

    Raises:
        BadRecipeError: The name is unknown, or the network cannot have this width.
    """
    match network:
        case "dynunet":
            from monai.networks.nets.dynunet import DynUNet

            shape = (strides, kernels, features)
            return quicken(DynUNet(**dynunet_arguments(channels, classes, *shape)))
        case "segresnet":
            from monai.networks.nets.segresnet import SegResNet

            if features[0] % _GROUPS:
                msg = f"width {features[0]} is not for segresnet; use a multiple of {_GROUPS}"
                raise BadRecipeError(msg)
            levels = len(features)
            inner = SegResNet(
                spatial_dims=3,
                init_filters=features[0],
                in_channels=channels,
                out_channels=classes,
                blocks_down=(1,) * levels,
                blocks_up=(1,) * (levels - 1),
            )
            return _AnySize(inner, 2 ** (levels - 1))
        case "crossmodal":
            joined = CrossModal(
                modalities=channels,
                classes=classes,
                strides=strides,
                kernels=kernels,
                features=features,
                **(options or {}),
            )
            return quicken(joined)
        case _:
            msg = f"network '{network}' is unknown; use dynunet, segresnet or crossmodal"
            raise BadRecipeError(msg)


def dynunet_arguments(
    channels: int,
    classes: int,
    strides: Sequence[_Triple],
    kernels: Sequence[_Triple],
    features: Sequence[int],
) -> dict[str, Any]:
    """Return what MONAI's DynUNet of a plan is made with, as plain values.

    Args:
        channels: Input channels.
        classes: Output classes, background included.
        strides: Down-sampling of each level, the first 1.
        kernels: Kernel of each level.
        features: Feature maps of each level.
    """
    lacking = max(0, _LEVELS - len(strides))
    strides = [*strides, *[(1, 1, 1)] * lacking]
    kernels = [*kernels, *[kernels[-1]] * lacking]
    return {
        "spatial_dims": 3,
        "in_channels": channels,
        "out_channels": classes,
        "kernel_size": [list(k) for k in kernels],
        "strides": [list(s) for s in strides],
        "upsample_kernel_size": [list(s) for s in strides[1:]],
        "filters": [*features, *[features[-1]] * lacking],
        "norm_name": ("INSTANCE", {"affine": True}),
        "act_name": ("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
    }


def begin_with(net: nn.Module, shares: Float[Tensor, " class"]) -> None:
    """Set the last biases of a fresh network so that it says the shares of the classes everywhere.

    Where organs are a hundredth of an image, hundreds of steps else go by until the network knows
    that most of it is background. A label that is met once in ten thousand voxels begins as one in
    a hundred, because soft Dice teaches in proportion to what the network says already. A network
    that `build_trunk` does not make stays as it is.

    Args:
        net: With weights drawn around 0.
        shares: How often each class is met.

    Source:
        Lin et al. 2017, "Focal Loss for Dense Object Detection", section 4.1.
    """
    least = min(_LEAST, _LEAST_TOGETHER / max(1, len(shares) - 1))
    bias = shares.clamp(min=least).log()
    with torch.no_grad():
        for head in _heads(net):
            head.bias.copy_(bias - bias.mean())


def _heads(net: nn.Module) -> list[Any]:
    """Return the convolutions that say what a voxel is."""
    if isinstance(net, CrossModal):
        return list(net.heads)
    if isinstance(net, _AnySize):
        return [net.inner.get_submodule("conv_final.2.conv")]
    return [net.get_submodule("output_block.conv.conv")] if hasattr(net, "output_block") else []


class _AnySize(nn.Module):
    """A network that halves every axis alike, made to accept sizes that cannot be halved."""

    def __init__(self, inner: nn.Module, unit: int) -> None:
        super().__init__()
        self.inner = inner
        self._unit = unit

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, image: Float[Tensor, "batch channel i j k"]
    ) -> Float[Tensor, "batch class i j k"]:
        """Return the logits; the image is padded by its border and they are cut back."""
        i, j, k = image.shape[2:]
        pads = [pad for n in (k, j, i) for pad in (0, -n % self._unit)]
        logits: Tensor = self.inner(functional.pad(image, pads, mode="replicate"))
        return logits[..., :i, :j, :k]
