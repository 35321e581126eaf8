"""A velocity of a rectified flow for patches of images, told which labels they hold."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

_Triple = tuple[int, int, int]

ABSENT, PRESENT, UNKNOWN = 0, 1, 2
"""States of a label, as the network hears of them."""

_STATES = 3
_SHARP = 5.0  # of log-sum-exp: near the maximum, yet every place gets a gradient
_WAVES = 32  # that tell the noise level
_DETAIL = 0.3  # standard deviation of what noise hides first: the fine detail of an image


class _FlowOutput(NamedTuple):
    """What the network says of points between images and noise."""

    velocity: Float[Tensor, "batch channel i j k"]
    """The mean of image minus noise, given the tags."""

    label_logits: Float[Tensor, "batch label"]
    """Logit of each label, from the points alone: the tags are not heard."""


class FlowUNet(nn.Module):
    """Answers the mean of image minus noise, given a point between them and the tags of the image.

    The half that looks is not told the tags, and says itself which labels it sees through the
    noise; the half that answers is told them, and what was seen shows it where to change.

    It works on small blocks of voxels, the size of the first stride of the plan. What it answers
    is mostly the image itself, which blocks can hold; the noise, which they cannot, is taken from
    the input. Every voxel is normalised over its own features: statistics of a whole crop would
    change with its size, and a lesion would change all voxels around it.

    Source:
        The answer as an image: Li and He 2025, "Back to basics: let denoising generative models
        denoise", arXiv:2511.13720; weights of input and answer: Karras et al. 2022, "EDM",
        arXiv:2206.00364, section 5.
    """

    def __init__(
        self,
        *,
        channels: int,
        labels: int,
        strides: Sequence[_Triple],
        kernels: Sequence[_Triple],
        features: Sequence[int],
    ) -> None:
        """Build the network with fresh weights from torch's generator.

        Args:
            channels: Of the images.
            labels: Foreground labels whose states it hears.
            strides: Down-sampling of each level of the plan, the first 1; blocks take the second.
            kernels: Kernel of each level.
            features: Feature maps of each level; the first are not used where there are blocks.
        """
        super().__init__()
        self.block, *deeper = strides[1:] or strides
        kernels, features = kernels[-len(deeper) - 1 :], features[-len(deeper) - 1 :]
        self.unit = tuple(math.prod(axis) for axis in zip(self.block, *deeper, strict=True))
        known = 4 * features[0]
        self.time = nn.Sequential(nn.Linear(2 * _WAVES, known), nn.SiLU(), nn.Linear(known, known))
        self.states = nn.Parameter(torch.zeros(labels, _STATES, known))
        size, edge = _overlapping(self.block)
        self.stem = nn.Conv3d(channels, features[0], size, self.block, edge)
        self.down = nn.ModuleList(
            _Block(width, width, kernel, known)
            for width, kernel in zip(features, kernels, strict=True)
        )
        self.middle = _Block(features[-1], features[-1], kernels[-1], known)
        self.coarser = nn.ModuleList(
            nn.Conv3d(fine, coarse, stride, stride)
            for (fine, coarse), stride in zip(pairwise(features), deeper, strict=True)
        )
        self.finer = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, stride, stride)
            for (fine, coarse), stride in zip(pairwise(features), deeper, strict=True)
        )
        self.up = nn.ModuleList(
            _Block(2 * width, width, kernel, known)
            for width, kernel in zip(features, kernels, strict=True)
        )
        self.score = nn.ModuleList(nn.Conv3d(width, labels, 1) for width in features)
        self.head = nn.ConvTranspose3d(features[0], channels, size, self.block, edge)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(_there(self.head.bias))

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self,
        z: Float[Tensor, "batch channel i j k"],
        s: Float[Tensor, " batch"],
        tags: Int64[Tensor, "batch label"],
    ) -> _FlowOutput:
        """Return the velocity, image minus noise, and the labels seen.

        Args:
            z: Points (1 - s) image + s noise, of any size.
            s: Noise level of each.
            tags: State of each label: ABSENT, PRESENT or UNKNOWN.
        """
        level = s[:, None, None, None, None]
        spread = ((1 - level) * _DETAIL) ** 2 + level**2
        padded, size = self._whole(z / torch.sqrt((1 - level) ** 2 + level**2)), z.shape[2:]
        time = self._time(s)
        kept = self._look(padded, time)
        which = torch.arange(tags.shape[1], device=tags.device)
        answer = self._answer(kept, time + self.states[which, tags].sum(1))
        answer = answer[..., : size[0], : size[1], : size[2]]
        velocity = ((1 - level) * _DETAIL**2 - level) / spread * z + answer.to(z.dtype)
        seen = [_pooled(score(x)) for score, x in zip(self.score, kept, strict=True)]
        return _FlowOutput(velocity, torch.stack(seen).mean(0))

    def _time(self, s: Float[Tensor, " batch"]) -> Float[Tensor, "batch known"]:
        """Return what the noise level of each sample says."""
        pitch = torch.exp(torch.linspace(0, math.log(200), _WAVES, device=s.device))
        angle = s[:, None].float() * pitch
        time: Tensor = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        return time

    def _whole(
        self, z: Float[Tensor, "batch channel i j k"]
    ) -> Float[Tensor, "batch channel a b c"]:
        """Return the field with its border repeated until every level is whole."""
        sizes = zip(reversed(z.shape[2:]), reversed(self.unit), strict=True)
        pads = [pad for size, unit in sizes for pad in (0, -size % unit)]
        return functional.pad(z, pads, mode="replicate") if any(pads) else z

    def _look(
        self, z: Float[Tensor, "batch channel i j k"], time: Float[Tensor, "batch known"]
    ) -> list[Tensor]:
        """Return the features of every level."""
        x, kept = self.stem(z), []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else self.coarser[number - 1](x), time)
            kept.append(x)
        return kept

    def _answer(
        self, kept: Sequence[Tensor], known: Float[Tensor, "batch known"]
    ) -> Float[Tensor, "batch channel i j k"]:
        """Return the image, as far as the point itself does not hold it."""
        x = self.middle(kept[-1], known)
        for number in reversed(range(len(self.up))):
            x = self.up[number](torch.cat([x, kept[number]], 1), known)
            x = x if number == 0 else self.finer[number - 1](x)
        answer: Tensor = self.head(functional.silu(_normal(x)))
        return answer


class _Block(nn.Module):
    """Two convolutions beside a shortcut; what is known scales and shifts the features between."""

    def __init__(self, inputs: int, outputs: int, kernel: _Triple, known: int) -> None:
        super().__init__()
        pad = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.first = nn.Conv3d(inputs, outputs, kernel, padding=pad)
        self.second = nn.Conv3d(outputs, outputs, kernel, padding=pad)
        self.film = nn.Linear(known, 2 * outputs)
        self.shortcut = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, x: Float[Tensor, "batch feature i j k"], known: Float[Tensor, "batch known"]
    ) -> Float[Tensor, "batch out i j k"]:
        """Return the features, changed by what is known."""
        told = self.film(functional.silu(known))[:, :, None, None, None]
        scale, shift = told.chunk(2, dim=1)
        inner = self.first(functional.silu(_normal(x)))
        inner = _normal(inner) * (1 + scale) + shift
        answer: Tensor = self.shortcut(x) + self.second(functional.silu(inner))
        return answer


def _normal(x: Float[Tensor, "batch feature i j k"]) -> Float[Tensor, "batch feature i j k"]:
    """Return every voxel with mean 0 and variance 1 over its own features."""
    last = x.movedim(1, -1)
    return functional.layer_norm(last, last.shape[-1:]).movedim(-1, 1)


def _pooled(scores: Float[Tensor, "batch label i j k"]) -> Float[Tensor, "batch label"]:
    """Return the log-sum-exp of the places of each label, as image-level classifiers pool them."""
    places = scores.float().flatten(2)
    return (torch.logsumexp(_SHARP * places, 2) - math.log(places.shape[2])) / _SHARP


def _overlapping(stride: _Triple) -> tuple[_Triple, _Triple]:
    """Return kernel and padding of a convolution whose blocks overlap."""
    i, j, k = (n if n % 2 else 2 * n for n in stride)
    edge_i, edge_j, edge_k = (0 if n % 2 else n // 2 for n in stride)
    return (i, j, k), (edge_i, edge_j, edge_k)


def _there(bias: Tensor | None) -> Tensor:
    assert bias is not None  # noqa: S101  # the convolution was built with one
    return bias
