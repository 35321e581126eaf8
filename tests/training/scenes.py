"""A bright ball in noise, and all that is needed to learn it in a moment."""

from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxhint.config import TrainConfig
from voxhint.core import LabelSet
from voxhint.prepare import Plan
from voxhint.training import Example, Progress, Result, Settings, VoxelTask, train

SIZE = 10
PATCH = (8, 8, 8)


class Interruption(Exception):  # noqa: N818
    """Somebody switched the machine off."""


def ball(name: str, seed: int) -> Example:
    """Return a case in which everything is known."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(4, SIZE - 5, 3)
    apart = np.linalg.norm(np.indices((SIZE,) * 3).T - middle, axis=-1).T
    inside = (apart < 3).astype(np.float32)
    image = 2 * inside[None] + rng.normal(0, 0.2, (1, SIZE, SIZE, SIZE)).astype(np.float32)
    known = np.stack([1 - inside, inside])
    return Example.of(name, image.astype(np.float32), np.stack([known, known]))


def balls(count: int, first: int = 0) -> list[Example]:
    """Return cases, each its own."""
    return [ball(f"c{seed}", seed) for seed in range(first, first + count)]


def plan() -> Plan:
    """Return a plan that fits the balls."""
    return Plan(
        channels=("CT",),
        optional_channels=(),
        labels=LabelSet(("background", "ball"), (0, 1)),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=PATCH,
        batch=2,
        strides=((1, 1, 1),),
        kernels=((3, 3, 3),),
        features=(4,),
        network="dynunet",
        intensity={},
    )


def small_net(seed: int = 0) -> nn.Module:
    """Return a network of two convolutions."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1))


def settings(folder: Path, *, steps: int, seed: int = 0) -> Settings:
    """Return settings whose files lie in a folder."""
    state = folder / "state.ckpt"
    return Settings(steps=steps, learning_rate=0.05, seed=seed, state=state)


def task(
    fit: list[Example], held_out: list[Example], config: TrainConfig | None = None
) -> VoxelTask:
    """Return the task of learning balls."""
    return VoxelTask.of(fit, held_out, plan(), config or TrainConfig())


def silent(done: int, total: int, note: str, /) -> None:
    """Tell nobody."""


def learn(
    how: Settings,
    *,
    held_out: int = 1,
    progress: Progress = silent,
    net: nn.Module | None = None,
    config: TrainConfig | None = None,
) -> Result:
    """Train a small network on two balls."""
    torch.set_num_threads(1)
    return train(
        Fabric(accelerator="cpu", devices=1),
        small_net() if net is None else net,
        task(balls(2), balls(held_out, first=10), config),
        settings=how,
        progress=progress,
    )


def same(first: Result, second: Result) -> bool:
    """Return whether two results hold bit-identical weights."""
    pairs: list[tuple[Tensor, Tensor]] = [
        (value, second.weights[name]) for name, value in first.weights.items()
    ]
    return all(torch.equal(one, two) for one, two in pairs)
