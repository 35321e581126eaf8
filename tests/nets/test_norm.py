"""The quick instance normalisation computes what PyTorch's does."""

import pytest
import torch
from torch import Tensor, nn

from voxhint.nets.norm import quicken


def passed(norm: nn.Module, maps: Tensor, slope: Tensor) -> list[Tensor]:
    """Return what a layer makes of feature maps, and its gradients."""
    leaf = maps.clone().requires_grad_()
    result = norm(leaf)
    result.backward(slope)
    return [result, *(one.grad for one in (leaf, *norm.parameters()) if one.grad is not None)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_results_and_gradients_are_those_of_pytorch(
    layout: torch.memory_format, dtype: torch.dtype, close: float
) -> None:
    torch.manual_seed(0)
    slow = nn.InstanceNorm3d(4, affine=True, dtype=dtype)
    nn.init.normal_(slow.weight), nn.init.normal_(slow.bias)
    quick = nn.InstanceNorm3d(4, affine=True, dtype=dtype)
    quick.load_state_dict(slow.state_dict())
    quicken(quick)
    maps = (3 + 5 * torch.randn(3, 4, 5, 6, 7, dtype=dtype)).contiguous(memory_format=layout)
    slope = torch.randn(3, 4, 5, 6, 7, dtype=dtype)
    for ours, theirs in zip(passed(quick, maps, slope), passed(slow, maps, slope), strict=True):
        assert torch.allclose(ours, theirs, rtol=close, atol=close)
    with torch.inference_mode():
        assert torch.allclose(quick(maps), slow(maps), rtol=close, atol=close)
    assert list(quick.state_dict()) == list(slow.state_dict())


def test_halved_numbers_are_normalised_in_full_ones() -> None:
    torch.manual_seed(0)
    quick = quicken(nn.InstanceNorm3d(2, affine=True))
    maps = 100 + torch.randn(1, 2, 9, 9, 9)
    halved = maps.bfloat16()
    assert halved.dtype == quick(halved).dtype
    exact = nn.functional.instance_norm(halved.float())
    assert float((quick(halved).float() - exact).detach().abs().max()) < 0.02
