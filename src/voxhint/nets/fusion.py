"""Joining the features of several modalities, whichever are there.

Every join treats the modalities alike but for weights of their own, and gives those that are
missing a weight of exactly 0; without any it returns what it makes of nothing.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

_Triple = tuple[int, int, int]
_Features = Float[Tensor, "batch feature i j k"]
_Own = Float[Tensor, "batch own i j k"]
"""Features as wide as the network of a modality."""

_Present = Bool[Tensor, "batch modality"]

_SQUEEZED = 4  # times fewer features in the gate
_ASIDE = -1e4  # score of a modality that is missing
_TOKENS = 12  # a side of what attention looks at, at most
_HEAD = 16  # features of an attention head, at least


class _Join(nn.Module):
    """What all joins begin with: a point-wise convolution of each modality to the joint width."""

    def __init__(self, modalities: int, own: int, width: int) -> None:
        super().__init__()
        # a convolution of the modalities side by side is a sum with a part for each of them
        self.looks = nn.ModuleList(nn.Conv3d(own, width, 1) for _ in range(modalities))

    def seen(self, features: Sequence[_Own]) -> list[_Features]:
        """Return the features of each modality at the joint width."""
        return [look(one) for look, one in zip(self.looks, features, strict=True)]


class Sum(_Join):
    """One point-wise convolution over all modalities, and a norm: the cheapest way to join."""

    def __init__(self, modalities: int, own: int, width: int) -> None:
        super().__init__(modalities, own, width)
        self.norm = nn.InstanceNorm3d(width, affine=True)

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, features: Sequence[_Own], present: _Present
    ) -> _Features:
        """Return features of the joint width."""
        return functional.leaky_relu(self.norm(_mean(self.seen(features), present)), 0.01)


class Squeeze(_Join):
    """A convolution over all modalities, gated feature by feature, beside what it looks at.

    Source:
        The gate: Hu et al. 2018, "Squeeze-and-excitation networks".
    """

    def __init__(self, modalities: int, own: int, width: int, kernel: _Triple) -> None:
        super().__init__(modalities, own, width)
        pad = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.join = nn.Sequential(
            nn.Conv3d(width, width, kernel, padding=pad, bias=False),
            nn.InstanceNorm3d(width, affine=True),
            nn.LeakyReLU(0.01),
        )
        inner = max(4, width // _SQUEEZED)
        self.gate = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))

    def forward(  # type: ignore[explicit-override]
        self, features: Sequence[_Own], present: _Present
    ) -> _Features:
        """Return features of the joint width."""
        seen = _mean(self.seen(features), present)
        joined: Tensor = self.join(seen)
        gate: Tensor = self.gate(joined.mean((2, 3, 4))).sigmoid()[:, :, None, None, None]
        return joined * gate + seen


class GatedSum(_Join):
    """A mean of the modalities that trusts one here and another there."""

    def __init__(self, modalities: int, own: int, width: int) -> None:
        super().__init__(modalities, own, width)
        self.scores = nn.ModuleList(nn.Conv3d(own, 1, 1) for _ in range(modalities))

    def forward(  # type: ignore[explicit-override]
        self, features: Sequence[_Own], present: _Present
    ) -> _Features:
        """Return features of the joint width."""
        scores = torch.cat([s(one) for s, one in zip(self.scores, features, strict=True)], 1)
        there = present[:, :, None, None, None]
        weights = scores.masked_fill(~there, _ASIDE).softmax(1) * there
        return _sum([weights[:, m : m + 1] * one for m, one in enumerate(self.seen(features))])


class Attention(_Join):
    """Every place asks every place of every modality; meant for the coarsest level.

    Source:
        Vaswani et al. 2017, "Attention is all you need", section 3.2.
    """

    def __init__(self, modalities: int, own: int, width: int) -> None:
        super().__init__(modalities, own, width)
        heads = next(n for n in range(max(1, width // _HEAD), 0, -1) if width % n == 0)
        self.norm = nn.LayerNorm(width)
        self.ask = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(  # type: ignore[explicit-override]
        self, features: Sequence[_Own], present: _Present
    ) -> _Features:
        """Return features of the joint width."""
        seen = self.seen(features)
        mean = _mean(seen, present)
        i, j, k = (min(_TOKENS, n) for n in mean.shape[2:])
        tokens = [
            self.norm(_tokens(functional.adaptive_avg_pool3d(one, (i, j, k)))) for one in seen
        ]
        each = tokens[0].shape[1]
        # without any modality the answer is dropped below
        aside = ~present.repeat_interleave(each, 1) & present.any(1, keepdim=True)
        known = torch.cat(tokens, 1)
        told, _ = self.ask(
            self.norm(_tokens(mean)), known, known, key_padding_mask=aside, need_weights=False
        )
        answer: Tensor = told.transpose(1, 2).reshape(mean.shape)
        return mean + answer * present.any(1)[:, None, None, None, None]


def _tokens(features: _Features) -> Float[Tensor, "batch token feature"]:
    return features.flatten(2).transpose(1, 2)


def _sum(parts: Sequence[_Features]) -> _Features:
    return torch.stack(list(parts)).sum(0)


def _mean(features: Sequence[_Features], present: _Present) -> _Features:
    """Return the mean of those present; 0 if none is."""
    there = present.to(features[0].dtype)
    shares = there / there.sum(1, keepdim=True).clamp(min=1)
    return _sum([shares[:, m, None, None, None, None] * one for m, one in enumerate(features)])
