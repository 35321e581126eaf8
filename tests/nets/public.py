"""Weights of public networks as their files have them, with values that a formula gives."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

LAYOUTS = Path(__file__).parent / "layouts"


def layout(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a public checkpoint by name, as recorded from its authors' code."""
    lines = (LAYOUTS / f"{name}.txt").read_text().splitlines()
    return {key: tuple(map(int, shape)) for key, *shape in map(str.split, lines)}


def made(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return weights of these shapes that any implementation can make again."""
    return {
        name: _values(number, name, shape) for number, (name, shape) in enumerate(shapes.items())
    }


def _values(number: int, name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    wave = torch.cos(torch.arange(torch.Size(shape).numel()) * 0.7 + number).view(shape)
    if name.endswith("running_var"):
        return 1 + wave / 2
    fans = torch.Size(shape[1:]).numel()
    return wave * (2 / fans) ** 0.5 if len(shape) > 1 else 0.1 * wave + ("weight" in name)


def picture(edge: int) -> Tensor:
    """Return a picture that any implementation can make again."""
    return (torch.sin(torch.arange(3 * edge * edge) * 0.31).view(1, 3, edge, edge) + 1) / 2
