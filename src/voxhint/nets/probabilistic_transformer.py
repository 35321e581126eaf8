"""A transformer with random attention between the levels of a U-Net."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from voxhint.core.errors import BadRecipeError
from voxhint.nets.probabilistic_attention import ProbabilisticAttention

_Triple = tuple[int, int, int]
_Images = Float[Tensor, "batch channel i j k"]
_Logits = Float[Tensor, "batch class i j k"]
_Scalar = Float[Tensor, ""]

_LAYERS = 12
_HEADS = 12
_HIDDEN = 48  # features of a token for each feature map at full resolution: 768 for 16
_MLP = 4  # times the features of a token


class ProbabilisticTransformer(nn.Module):
    """UNETR with random attention.

    A token covers the product of the plan's strides, so it has about the same size in millimetres
    along each axis. Twelve layers of attention look at all tokens; their states after equal parts
    of the way are the skips of a U-Net decoder. In training the attention is drawn once. In
    evaluation one pass takes its mean, more passes draw it and are averaged.

    Source:
        "PW4MedSeg", arXiv 2403.02566, on the network of Hatamizadeh et al. 2022, "UNETR". With
        `additive` attention passes average logits as published, else probabilities.
    """

    def __init__(  # noqa: PLR0913  # a network is its numbers
        self,
        *,
        channels: int,
        classes: int,
        patch: _Triple,
        strides: Sequence[_Triple],
        kernels: Sequence[_Triple],
        features: Sequence[int],
        attention: str = "bilinear",
    ) -> None:
        """Build the network with fresh weights from torch's generator.

        Args:
            channels: Input channels.
            classes: Output classes, background included.
            patch: Size of every image the network will see, a multiple of the token.
            strides: Down-sampling of each level, the first 1.
            kernels: Kernel of each level.
            features: Feature maps of each level; the first decides the width of the tokens.
            attention: `bilinear` or `additive`.

        Raises:
            BadRecipeError: The attention is unknown, or the patch is too small for tokens.
        """
        from monai.networks.blocks.dynunet_block import UnetOutBlock
        from monai.networks.blocks.patchembedding import PatchEmbeddingBlock
        from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock

        super().__init__()
        if len(strides) == 1:
            msg = "patches are too small for the probabilistic network; allow more patch-voxels"
            raise BadRecipeError(msg)
        self.passes = 1
        self.chance: Generator | None = None
        """Draws the attention; None is torch's own generator."""
        self._average_logits = attention == "additive"
        self._divergence: Tensor | None = None
        hidden, deepest = _HIDDEN * features[0], len(strides) - 1
        token = tuple(int(n) for n in np.prod(strides, axis=0))
        self._grid = tuple(p // t for p, t in zip(patch, token, strict=True))
        widths = [*features[:deepest], hidden]
        self.embed = PatchEmbeddingBlock(channels, patch, token, hidden, _HEADS)
        self.layers = nn.ModuleList(_Layer(hidden, attention) for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(hidden)
        self.skip_image = UnetrBasicBlock(
            3, channels, features[0], kernels[0], stride=1, norm_name="instance", res_block=True
        )
        self.skip_tokens = nn.ModuleList(
            _climb(hidden, features[n], strides[n + 1 :], kernels[n]) for n in range(1, deepest)
        )
        self.ups = nn.ModuleList(
            UnetrUpBlock(3, deep, flat, kernel, stride, norm_name="instance", res_block=True)
            for deep, flat, kernel, stride in zip(
                widths[1:], widths[:-1], kernels[:deepest], strides[1:], strict=True
            )
        )
        self.out = UnetOutBlock(3, features[0], classes)

    def forward(self, image: _Images) -> _Logits:  # type: ignore[explicit-override]
        """Return the logits, those of several passes averaged; training remembers a penalty."""
        if self.training:
            logits, self._divergence = self._once(image, sample=True)
            return logits
        if self.passes == 1:
            return self._once(image, sample=False)[0]
        passes = range(self.passes)
        drawn = torch.stack([self._once(image, sample=True)[0].float() for _ in passes])
        if self._average_logits:
            return drawn.mean(0)
        mean = drawn.softmax(2).mean(0)
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()

    def penalty(self) -> _Scalar:
        """Return the divergence of the last pass in training, summed over the layers, once.

        Raises:
            RuntimeError: There was no such pass since it was asked for last.
        """
        divergence, self._divergence = self._divergence, None
        if divergence is None:
            msg = "no pass in training since the last penalty"
            raise RuntimeError(msg)
        return divergence

    def _once(self, image: _Images, *, sample: bool) -> tuple[_Logits, _Scalar]:
        tokens, states, divergences = self.embed(image), [], []
        for layer in self.layers:
            tokens, divergence = layer(tokens, sample=sample, chance=self.chance)
            states.append(tokens)
            divergences.append(divergence)
        levels = len(self.ups)
        skips = [self.skip_image(image)] + [
            climb(self._placed(states[_LAYERS * level // levels - 1]))
            for level, climb in enumerate(self.skip_tokens, start=1)
        ]
        features = self._placed(self.norm(tokens))
        for up, skip in zip(reversed(self.ups), reversed(skips), strict=True):
            features = up(features, skip)
        logits: Tensor = self.out(features)
        return logits, torch.stack(divergences).sum()

    def _placed(self, tokens: Float[Tensor, "batch token hidden"]) -> _Images:
        """Return tokens as an image of the deepest level."""
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *self._grid)


class _Layer(nn.Module):
    """Attention and a perceptron, each beside its input."""

    def __init__(self, hidden: int, attention: str) -> None:
        from monai.networks.blocks.mlp import MLPBlock

        super().__init__()
        self.before_attention = nn.LayerNorm(hidden)
        self.attention = ProbabilisticAttention(hidden, _HEADS, attention)
        self.before_mlp = nn.LayerNorm(hidden)
        self.mlp = MLPBlock(hidden, _MLP * hidden)

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self,
        tokens: Float[Tensor, "batch token hidden"],
        *,
        sample: bool,
        chance: Generator | None,
    ) -> tuple[Float[Tensor, "batch token hidden"], _Scalar]:
        taken, divergence = self.attention(
            self.before_attention(tokens), sample=sample, chance=chance
        )
        tokens = tokens + taken
        return tokens + self.mlp(self.before_mlp(tokens)), divergence


def _climb(
    hidden: int, features: int, strides: Sequence[_Triple], kernel: _Triple
) -> nn.Sequential:
    """Return the way of tokens up to a level: a step of each stride, the deepest first."""
    from monai.networks.blocks.dynunet_block import UnetResBlock

    deepest, *others = reversed(strides)
    steps = [_widen(hidden, features, deepest)]
    for stride in others:
        steps.append(_widen(features, features, stride))
        steps.append(UnetResBlock(3, features, features, kernel, stride=1, norm_name="instance"))
    return nn.Sequential(*steps)


def _widen(inputs: int, outputs: int, stride: _Triple) -> nn.Module:
    from monai.networks.blocks.dynunet_block import get_conv_layer

    step: nn.Module = get_conv_layer(
        3, inputs, outputs, kernel_size=stride, stride=stride, conv_only=True, is_transposed=True
    )
    return step
