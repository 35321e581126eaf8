"""TinyViT as LiteMedSAM has it: its image encoder, with the names its public weights use.

Source:
    Wu et al. 2022, "TinyViT", arXiv:2207.10666; Ma et al. 2024, "Segment anything in medical
    images", Nature Communications 15, 654, whose light version embeds pixels one by one, shrinks
    twice instead of four times, and ends in SAM's neck.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_DIMS = (64, 128, 160, 320)
_DEPTHS = (2, 2, 6, 2)
_HEADS = (2, 4, 5, 10)
_WINDOWS = (7, 7, 14, 7)
_SHRINK = (2, 2, 1)  # after the first three stages
_RATIO = 4  # of hidden features, in convolutions as in attention blocks

_Maps = Float[Tensor, "picture feature a b"]
_Others = Float[Tensor, "picture other c d"]
"""Maps of another size."""


class TinyVit(nn.Module):
    """Turns pictures of three channels into 256 features, four pixels from place to place.

    The public network takes pictures of 256 x 256 pixels; windows of attention let it take any.
    """

    size = 256
    stride = 4
    features = 256
    span = (0.0, 1.0)
    """Range of the values it was trained on."""

    def __init__(self) -> None:
        """Build the network with fresh weights from torch's generator."""
        super().__init__()
        self.patch_embed = _Embedding(_DIMS[0])
        self.layers = nn.ModuleList(_stage(number) for number in range(len(_DIMS)))
        self.neck = nn.Sequential(
            nn.Conv2d(_DIMS[-1], self.features, 1, bias=False),
            _PlaceNorm(self.features),
            nn.Conv2d(self.features, self.features, 3, padding=1, bias=False),
            _PlaceNorm(self.features),
        )

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, pictures: Float[Tensor, "picture 3 i j"]
    ) -> _Maps:
        """Return the features of every place."""
        maps: Tensor = self.patch_embed(pictures)
        for stage in self.layers:
            maps = stage(maps)
        found: Tensor = self.neck(maps)
        return found


class _ConvNorm(nn.Sequential):
    """A convolution without constant, and batch normalisation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(OrderedDict(c=conv, bn=nn.BatchNorm2d(outputs)))


class _Embedding(nn.Module):
    """Lifts every pixel to the first features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        half = features // 2
        self.seq = nn.Sequential(_ConvNorm(3, half), nn.GELU(), _ConvNorm(half, features))

    def forward(self, pictures: _Maps) -> _Others:  # type: ignore[explicit-override]
        found: Tensor = self.seq(pictures)
        return found


class _ConvBlock(nn.Module):
    """A residual block of an inverted bottleneck."""

    def __init__(self, features: int) -> None:
        super().__init__()
        hidden = _RATIO * features
        self.conv1 = _ConvNorm(features, hidden)
        self.conv2 = _ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = _ConvNorm(hidden, features)

    def forward(self, maps: _Maps) -> _Maps:  # type: ignore[explicit-override]
        hidden = functional.gelu(self.conv1(maps))
        hidden = functional.gelu(self.conv2(hidden))
        return functional.gelu(self.conv3(hidden) + maps)


class _Shrink(nn.Module):
    """Goes on to the next stage: more features, and fewer places unless the stride is 1."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(inputs, outputs)
        self.conv2 = _ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = _ConvNorm(outputs, outputs)

    def forward(self, maps: _Maps) -> _Others:  # type: ignore[explicit-override]
        maps = functional.gelu(self.conv1(maps))
        found: Tensor = self.conv3(functional.gelu(self.conv2(maps)))
        return found


class _Attention(nn.Module):
    """Attention within a square window; how far apart two places lie adds to their affinity."""

    index: Tensor

    def __init__(self, features: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(features)
        self.qkv = nn.Linear(features, 3 * features)
        self.proj = nn.Linear(features, features)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window**2))
        row, column = torch.arange(window**2) // window, torch.arange(window**2) % window
        apart = (row[:, None] - row).abs() * window + (column[:, None] - column).abs()
        self.register_buffer("index", apart, persistent=False)

    def forward(  # type: ignore[explicit-override]
        self, tokens: Float[Tensor, "part token feature"]
    ) -> Float[Tensor, "part token feature"]:
        joined = self.qkv(self.norm(tokens)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        query, key, value = joined.chunk(3, dim=3)
        found = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self.attention_biases[:, self.index].to(query.dtype)
        )
        seen: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return seen


class _Mlp(nn.Module):
    """Two linear layers for each place."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.fc1 = nn.Linear(features, _RATIO * features)
        self.fc2 = nn.Linear(_RATIO * features, features)

    def forward(  # type: ignore[explicit-override]
        self, tokens: Float[Tensor, "picture a b feature"]
    ) -> Float[Tensor, "picture a b feature"]:
        found: Tensor = self.fc2(functional.gelu(self.fc1(self.norm(tokens))))
        return found


class _AttentionBlock(nn.Module):
    """Attention in windows, a depthwise convolution that joins them, and linear layers."""

    def __init__(self, features: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(features, heads, window)
        self.mlp = _Mlp(features)
        self.local_conv = _ConvNorm(features, features, 3, groups=features)

    def forward(self, maps: _Maps) -> _Maps:  # type: ignore[explicit-override]
        maps = self.local_conv(maps + self._attended(maps))
        added: Tensor = self.mlp(maps.permute(0, 2, 3, 1))
        return maps + added.permute(0, 3, 1, 2)

    def _attended(self, maps: _Maps) -> _Maps:
        """Return what attention adds; windows over the edge are filled with zeros."""
        count, features, a, b = maps.shape
        window = self.window
        maps = functional.pad(maps, (0, -b % window, 0, -a % window))
        rows, columns = maps.shape[2] // window, maps.shape[3] // window
        parts = maps.reshape(count, features, rows, window, columns, window)
        tokens = parts.permute(0, 2, 4, 3, 5, 1).reshape(-1, window**2, features)
        seen: Tensor = self.attn(tokens)
        seen = seen.view(count, rows, columns, window, window, features)
        joined = seen.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
        return joined[..., :a, :b]


class _PlaceNorm(nn.Module):
    """Normalises the features of each place."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, maps: _Maps) -> _Maps:  # type: ignore[explicit-override]
        last = maps.permute(0, 2, 3, 1)
        found = functional.layer_norm(last, self.weight.shape, self.weight, self.bias, eps=1e-6)
        return found.permute(0, 3, 1, 2)


class _Stage(nn.Sequential):
    """Blocks of one resolution, and the way on to the next."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        parts = {"blocks": nn.Sequential(*blocks)}
        super().__init__(OrderedDict({**parts, "downsample": downsample} if downsample else parts))


def _stage(number: int) -> _Stage:
    features, depth = _DIMS[number], _DEPTHS[number]
    blocks: list[nn.Module] = [
        _AttentionBlock(features, _HEADS[number], _WINDOWS[number])
        if number
        else _ConvBlock(features)
        for _ in range(depth)
    ]
    if number == len(_SHRINK):
        return _Stage(blocks, None)
    return _Stage(blocks, _Shrink(features, _DIMS[number + 1], _SHRINK[number]))
