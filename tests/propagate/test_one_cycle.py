"""The steps are those of PyTorch's AdamW along its one cycle of rates."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from voxhint.propagate.one_cycle import OneCycle


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 2)), torch.randn(50, 4)


@pytest.mark.parametrize("steps", [1, 2, 5, 60])
def test_steps_are_those_of_pytorch(steps: int) -> None:
    (one, points), (two, _) = network(), network()
    own = OneCycle([*one.parameters()], 0.01, steps)
    optimiser = torch.optim.AdamW(two.parameters(), weight_decay=1e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=max(2, steps))
    for _ in range(steps):
        own.step((one(points) ** 2).mean())
        optimiser.zero_grad()
        (two(points) ** 2).mean().backward()
        optimiser.step()
        pace.step()
    for found, known in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-7)


def test_no_compiler_is_loaded() -> None:
    program = (
        "import sys, torch; from voxhint.propagate.one_cycle import OneCycle; "
        "one = torch.ones(3, requires_grad=True); OneCycle([one], 0.1, 5).step((one**2).sum()); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
