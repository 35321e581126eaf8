"""A network for each modality, and one that joins what they see: any of them may be missing."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from voxhint.core.errors import BadRecipeError

_Features = Float[Tensor, "batch feature i j k"]
_Own = Float[Tensor, "batch own i j k"]
"""Features as wide as the network of a modality."""


_Triple = tuple[int, int, int]
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


class _Sum(_Join):
    """One point-wise convolution over all modalities, and a norm: the cheapest way to join."""

    def __init__(self, modalities: int, own: int, width: int) -> None:
        super().__init__(modalities, own, width)
        self.norm = nn.InstanceNorm3d(width, affine=True)

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, features: Sequence[_Own], present: _Present
    ) -> _Features:
        """Return features of the joint width."""
        return functional.leaky_relu(self.norm(_mean_present(self.seen(features), present)), 0.01)


class _Squeeze(_Join):
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
        seen = _mean_present(self.seen(features), present)
        joined: Tensor = self.join(seen)
        gate: Tensor = self.gate(joined.mean((2, 3, 4))).sigmoid()[:, :, None, None, None]
        return joined * gate + seen


class _GatedSum(_Join):
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


class _Attention(_Join):
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
        mean = _mean_present(seen, present)
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


def _mean_present(features: Sequence[_Features], present: _Present) -> _Features:
    """Return the mean of those present; 0 if none is."""
    there = present.to(features[0].dtype)
    shares = there / there.sum(1, keepdim=True).clamp(min=1)
    return _sum([shares[:, m, None, None, None, None] * one for m, one in enumerate(features)])


_Level = tuple[_Triple, _Triple, int]
"""Stride, kernel and feature maps."""

_Fusion = Literal["sum", "squeeze", "gated", "attention"]
_Output = Literal["joint", "mean"]
_Images = Float[Tensor, "batch modality i j k"]

_THINNEST = 4  # feature maps of a branch
_NORM = ("INSTANCE", {"affine": True})
_ACT = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class Branches(NamedTuple):
    """What every branch says: the modalities in their order, then the joint one."""

    logits: Float[Tensor, "branch batch class i j k"]
    features: Sequence[Float[Tensor, "batch feature i j k"]]
    """What the logits are made of."""


class CrossModal(nn.Module):
    """Modality-specific U-Nets, and a decoder that reads their encoders joined at every level.

    A modality that is missing has no say in what is joined. Nobody needs to name it: a channel
    that is 0 throughout is missing, as `prepare` writes it.

    Source:
        The three parts (modality-specific networks, a cross-modal network, hybrid supervision) are
        those of CmFNet (2025, arXiv 2506.18042); the layers are a reconstruction of our own.
    """

    def __init__(  # noqa: PLR0913  # a network is its numbers
        self,
        *,
        modalities: int,
        classes: int,
        strides: Sequence[_Triple],
        kernels: Sequence[_Triple],
        features: Sequence[int],
        fusion: str = "squeeze",
        shared: bool = False,
        branch_width: float = 1.0,
        output: str = "joint",
    ) -> None:
        """Build the network with fresh weights from torch's generator.

        Args:
            modalities: Input channels, each a modality of its own.
            classes: Output classes, background included.
            strides: Down-sampling of each level, the first 1.
            kernels: Kernel of each level.
            features: Feature maps of each level.
            fusion: How levels are joined: sum, squeeze (and excite), gated (sum), or attention
                (squeeze, and cross-attention at the coarsest level).
            shared: Give all modalities the same convolutions; each keeps its own norms.
            branch_width: Feature maps of a modality's own network, as a share of the joint ones.
            output: What a prediction is: the joint branch, or the mean of all branches.

        Raises:
            BadRecipeError: A word is unknown.
        """
        from monai.networks.nets.dynunet import DynUNet

        super().__init__()
        _require_known("fusion", fusion, get_args(_Fusion))
        _require_known("output", output, get_args(_Output))
        self.output = output
        shape = list(zip(strides, kernels, features, strict=True))
        thin = [max(_THINNEST, round(branch_width * width)) for width in features]
        own = list(zip(strides, kernels, thin, strict=True))
        self.encoders = nn.ModuleList(_Encoder(own) for _ in range(modalities))
        # the last decoder and the last head are those of the joint branch
        shapes = [*[own] * modalities, shape]
        self.decoders = nn.ModuleList(_Decoder(one) for one in shapes)
        self.heads = nn.ModuleList(nn.Conv3d(one[0][2], classes, 1) for one in shapes)
        if shared:
            for encoder, decoder in zip(self.encoders, self.decoders[:-1], strict=True):
                _share(encoder, self.encoders[0])
                _share(decoder, self.decoders[0])
        fusions = [fusion] * len(shape)
        if fusion == "attention":  # at the coarsest level alone
            fusions[:-1] = ["squeeze"] * (len(shape) - 1)
        levels = zip(fusions, kernels, features, thin, strict=True)
        self.joins = nn.ModuleList(
            _join(how, modalities, few, width, kernel) for how, kernel, width, few in levels
        )
        self.apply(DynUNet.initialize_weights)

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, image: _Images, present: _Present | None = None, *, every: bool = False
    ) -> Float[Tensor, "batch class i j k"] | Branches:
        """Return the logits of a prediction, or what every branch says.

        Args:
            image: Prepared images, one modality a channel.
            present: Which modalities are joined; those with a voxel other than 0 if None.
            every: Return all branches. A branch always looks at its own channel, `present` or not.
        """
        joined = shown(image) if present is None else present
        ones = torch.split(image, 1, dim=1)
        levels = [encode(one) for encode, one in zip(self.encoders, ones, strict=True)]
        fused = [
            join(list(level), joined)
            for join, level in zip(self.joins, zip(*levels, strict=True), strict=True)
        ]
        joint = self.decoders[-1](fused)
        if not every and self.output == "joint":
            logits: Tensor = self.heads[-1](joint)
            return logits
        features = [
            *(decode(level) for decode, level in zip(self.decoders[:-1], levels, strict=True)),
            joint,
        ]
        told = torch.stack([head(one) for head, one in zip(self.heads, features, strict=True)])
        return Branches(told, features) if every else _mean(told, joined)


class _Encoder(nn.Module):
    """From one modality to features of every level."""

    def __init__(self, shape: Sequence[_Level]) -> None:
        from monai.networks.blocks.dynunet_block import UnetBasicBlock

        super().__init__()
        inputs = (1, *(width for _, _, width in shape))
        self.blocks = nn.ModuleList(
            UnetBasicBlock(3, above, width, kernel, stride, _NORM, _ACT)
            for above, (stride, kernel, width) in zip(inputs, shape, strict=False)
        )

    def forward(  # type: ignore[explicit-override]
        self, image: Float[Tensor, "batch 1 i j k"]
    ) -> list[Tensor]:
        """Return the features of every level."""
        levels: list[Tensor] = []
        for block in self.blocks:
            levels.append(block(levels[-1] if levels else image))
        return levels


class _Decoder(nn.Module):
    """From features of every level to features of the first."""

    def __init__(self, shape: Sequence[_Level]) -> None:
        from monai.networks.blocks.dynunet_block import UnetUpBlock

        super().__init__()
        self.ups = nn.ModuleList(
            UnetUpBlock(3, below, width, kernel, 1, stride, _NORM, _ACT)
            for (_, kernel, width), (stride, _, below) in pairwise(shape)
        )

    def forward(  # type: ignore[explicit-override]
        self, levels: Sequence[Float[Tensor, "batch _ _ _ _"]]
    ) -> Float[Tensor, "batch feature i j k"]:
        """Return the features of the first level."""
        found = levels[-1]
        for up, skip in zip(reversed(self.ups), reversed(levels[:-1]), strict=True):
            found = up(found, skip)
        return found


def shown(image: _Images) -> _Present:
    """Return which modalities hold a voxel other than 0."""
    return image.flatten(2).ne(0).any(2)


def _require_known(knob: str, word: str, known: Sequence[str]) -> None:
    """Refuse a word that is none of the known ones.

    Raises:
        BadRecipeError: It is not.
    """
    if word not in known:
        msg = f"{knob} '{word}' is unknown; use {', '.join(known)}"
        raise BadRecipeError(msg)


def _join(fusion: str, modalities: int, few: int, width: int, kernel: _Triple) -> nn.Module:
    """Return what joins the feature maps of the modalities at one level."""
    if fusion == "sum":
        return _Sum(modalities, few, width)
    if fusion == "gated":
        return _GatedSum(modalities, few, width)
    if fusion == "attention":
        return _Attention(modalities, few, width)
    return _Squeeze(modalities, few, width, kernel)


def _share(own: nn.Module, first: nn.Module) -> None:
    """Give a network the convolutions of another; its norms stay its own."""
    for name, part in first.named_modules():
        if isinstance(part, nn.Conv3d | nn.ConvTranspose3d):
            parent, _, child = name.rpartition(".")
            setattr(own.get_submodule(parent), child, part)


def _mean(
    logits: Float[Tensor, "branch batch class i j k"], present: _Present
) -> Float[Tensor, "batch class i j k"]:
    """Return the logarithm of the mean probability of the joint branch and those present."""
    counts = functional.pad(present.to(logits.dtype), (0, 1), value=1.0)
    shares = (counts / counts.sum(1, keepdim=True)).T[:, :, None, None, None, None]
    tiny = torch.finfo(logits.dtype).tiny
    return (logits.softmax(2) * shares).sum(0).clamp(min=tiny).log()
