"""Image-level classifiers so small that their maps can be told beforehand."""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Triple = tuple[int, int, int]
Pool = Literal["mean", "max", "lse"]


class Tiny(nn.Module):
    """Convolutions of kernel 3 and padding 1, a linear head for two labels, and a pool."""

    def __init__(
        self,
        strides: Sequence[Triple] = ((1, 2, 2), (2, 2, 2)),
        *,
        channels: int = 1,
        features: int = 6,
        pool: Pool = "lse",
        linear: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [channels, *[features] * len(strides)]
        self.convs = [
            nn.Conv3d(before, after, 3, stride, padding=1, bias=not linear)
            for (before, after), stride in zip(pairwise(widths), strides, strict=True)
        ]
        layers = [(conv, nn.Identity() if linear else nn.ReLU()) for conv in self.convs]
        self.body = nn.Sequential(*chain(*layers), nn.Dropout(dropout))
        self.head = nn.Conv3d(features, 2, 1)
        self.kind = pool
        i, j, k = (int(n) for n in torch.tensor(strides).prod(0))
        self.strides = (i, j, k)
        draw = torch.Generator().manual_seed(0)
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.3, generator=draw)

    def features(
        self, image: Float[Tensor, "batch channel i j k"]
    ) -> Float[Tensor, "batch feature a b c"]:
        found: Tensor = self.body(image)
        return found

    def score_map(
        self, features: Float[Tensor, "batch feature a b c"]
    ) -> Float[Tensor, "batch label a b c"]:
        found: Tensor = self.head(features)
        return found

    def pool(self, scores: Float[Tensor, "batch label a b c"]) -> Float[Tensor, "batch label"]:
        places = scores.flatten(2)
        match self.kind:
            case "mean":
                return places.mean(2)
            case "max":
                return places.amax(2)
            case "lse":
                return (4 * places).logsumexp(2) / 4

    def forward(  # type: ignore[explicit-override]
        self, image: Float[Tensor, "batch channel i j k"]
    ) -> Float[Tensor, "batch label"]:
        return self.pool(self.score_map(self.features(image)))


@torch.no_grad()
def made_positive(net: Tiny) -> Tiny:
    """Return the network with no weight below zero and no bias: bright places speak for labels."""
    for name, weight in net.named_parameters():
        weight.copy_(torch.zeros_like(weight) if name.endswith("bias") else weight.abs())
    return net


@torch.no_grad()
def made_even(net: Tiny) -> Tiny:
    """Return the network with kernels that are the same when read backwards along any axis."""
    for part in net.modules():
        if isinstance(part, nn.Conv3d):
            for axis in (2, 3, 4):
                part.weight.copy_((part.weight + part.weight.flip(axis)) / 2)
    return net


def noise_image(shape: Triple = (9, 13, 17), *, channels: int = 1, seed: int = 0) -> Tensor:
    """Return an image of white noise."""
    return torch.randn(channels, *shape, generator=torch.Generator().manual_seed(seed))


def blob_image(shape: Triple, centre: Triple, *, width: float = 1.5) -> Tensor:
    """Return an image of one Gaussian blob on nothing."""
    axes = [torch.arange(n) - place for n, place in zip(shape, centre, strict=True)]
    bells = [torch.exp(-((axis / width) ** 2) / 2) for axis in axes]
    return torch.einsum("i,j,k->ijk", *bells)[None]
