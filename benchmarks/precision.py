"""How much faster a training step of the trunk is in bfloat16 than in float32, on this CPU."""

import time
from typing import Literal

import torch

from voxhint.config import Machine
from voxhint.models.device import open_fabric
from voxhint.nets import build_trunk

ROUNDS = 10


def seconds(precision: Literal["float32", "bfloat16"]) -> float:
    """Return the seconds of the fastest of some steps with one thread."""
    fabric = open_fabric(Machine(device="cpu", threads=1, precision=precision))
    torch.manual_seed(0)
    net = build_trunk(
        "dynunet",
        channels=1,
        classes=3,
        strides=[(1, 1, 1), *[(2, 2, 2)] * 3],
        kernels=[(3, 3, 3)] * 4,
        features=[16, 32, 64, 128],
    )
    model, optimizer = fabric.setup(net, torch.optim.AdamW(net.parameters()))
    image = torch.randn(2, 1, 40, 56, 40).contiguous(memory_format=torch.channels_last_3d)
    spent = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        optimizer.zero_grad()
        fabric.backward(model(image).float().logsumexp(1).mean())
        optimizer.step()
        spent.append(time.perf_counter() - began)
    return min(spent)


def main() -> None:
    """Print seconds a step and their ratio."""
    whole, half = seconds("float32"), seconds("bfloat16")
    print(f"float32 {whole:.3f} s, bfloat16 {half:.3f} s a step: {whole / half:.2f} times faster")


if __name__ == "__main__":
    main()
