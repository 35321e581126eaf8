"""Instance normalisation that leaves voxels where convolutions on a CPU want them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_Maps = Float[Tensor, "batch channel i j k"]

_LAYOUT = torch.channels_last_3d
_TRAINING = True  # statistics are those of the image, not of images seen before


def quicken(net: nn.Module) -> nn.Module:
    """Return a network whose instance normalisation is quick on a CPU.

    PyTorch's copies feature maps into another order of axes, and the next convolution copies them
    back: a third of a prediction and a tenth of a training step. Names and values of weights stay.
    """
    for module in net.modules():
        if type(module) is nn.InstanceNorm3d and module.affine:
            module.__class__ = _InstanceNorm
    return net


class _InstanceNorm(nn.InstanceNorm3d):
    def forward(self, maps: _Maps) -> _Maps:  # type: ignore[explicit-override]
        traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if maps.is_cuda or traced or torch.compiler.is_compiling():
            return super().forward(maps)  # what a GPU is quick with, and other programs know
        values = (maps, self.weight, self.bias, self.eps)
        if torch.is_grad_enabled():
            normalised: _Maps = _Normalised.apply(*values)  # type: ignore[no-untyped-call]
            return normalised
        return _normalised(*values)[0]


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *values: Any) -> _Maps:  # type: ignore[explicit-override]  # noqa: ANN401
        result, maps, known = _normalised(*values)
        ctx.save_for_backward(maps, values[1], *known)
        ctx.eps = values[3]
        return result

    @staticmethod
    def backward(ctx: Any, slope: _Maps) -> tuple[Tensor | None, ...]:  # type: ignore[explicit-override]  # noqa: ANN401
        maps, weight, *known = ctx.saved_tensors
        slope = slope.contiguous(memory_format=_LAYOUT)
        result = torch.empty_like(maps)
        found = [weight.new_empty(0) for _ in range(2 * len(maps))]
        for i in range(len(maps)):
            torch.ops.aten.native_batch_norm_backward(
                *(part[i : i + 1] for part in (slope, maps)),
                weight,
                None,
                None,
                *known[2 * i : 2 * i + 2],
                _TRAINING,
                ctx.eps,
                [True] * 3,
                out0=result[i : i + 1],
                out1=found[2 * i],
                out2=found[2 * i + 1],
            )
        return result, torch.stack(found[::2]).sum(0), torch.stack(found[1::2]).sum(0), None


def _normalised(
    maps: _Maps, weight: Tensor, bias: Tensor, eps: float
) -> tuple[_Maps, _Maps, list[Tensor]]:
    """Normalise one image after the other as a batch of its own, which is PyTorch's quick way.

    Returns:
        The result, the maps in its layout, and the mean and the deviation of every image.
    """
    maps = maps.contiguous(memory_format=_LAYOUT)
    result = torch.empty_like(maps)
    known = [weight.new_empty(0) for _ in range(2 * len(maps))]
    for i in range(len(maps)):
        out = (result[i : i + 1], *known[2 * i : 2 * i + 2])
        torch.native_batch_norm(
            maps[i : i + 1], weight, bias, None, None, _TRAINING, 0.0, eps, out=out
        )
    return result, maps, known
