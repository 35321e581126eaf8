"""The segmentation trunk: a network of MONAI's, shaped by the plan."""

from collections.abc import Sequence

from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from torch import nn

from voxhint.core.errors import BadRecipeError

Triple = tuple[int, int, int]


def build_trunk(
    network: str,
    *,
    channels: int,
    classes: int,
    strides: Sequence[Triple],
    kernels: Sequence[Triple],
    features: Sequence[int],
) -> nn.Module:
    """Build the network of a plan, with fresh weights from torch's generator.

    Args:
        network: `dynunet` or `segresnet`.
        channels: Input channels.
        classes: Output classes, background included.
        strides: Down-sampling of each level, the first 1.
        kernels: Kernel of each level.
        features: Feature maps of each level.

    Returns:
        A module from (batch, channel, i, j, k) to logits of the same size.

    Raises:
        BadRecipeError: The name is unknown.
    """
    match network:
        case "dynunet":
            return DynUNet(
                spatial_dims=3,
                in_channels=channels,
                out_channels=classes,
                kernel_size=[list(k) for k in kernels],
                strides=[list(s) for s in strides],
                upsample_kernel_size=[list(s) for s in strides[1:]],
                filters=list(features),
                norm_name=("INSTANCE", {"affine": True}),
                act_name=("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
            )
        case "segresnet":
            levels = len(features)
            return SegResNet(
                spatial_dims=3,
                init_filters=features[0],
                in_channels=channels,
                out_channels=classes,
                blocks_down=(1,) * levels,
                blocks_up=(1,) * (levels - 1),
            )
        case _:
            msg = f"network '{network}' is unknown; use dynunet or segresnet"
            raise BadRecipeError(msg)
