"""An image-level classifier: which labels does this image hold, and which places say so?"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from voxhint.core.errors import BadRecipeError

_Triple = tuple[int, int, int]
_Pooling = Literal["lse", "max", "mean", "attention"]

_SHARP = 5.0  # of log-sum-exp: near the maximum, yet every place gets a gradient
_ASIDE = -1e4  # logit of a place that does not count
_QUERY = 16  # features that attention looks at


class ClassifierNet(nn.Module):
    """Scores every place of a body's feature maps, and pools the places.

    Source:
        Log-sum-exp pooling of places: Wang et al. 2017, "ChestX-ray8", section 4.2; attention:
        Ilse et al. 2018, "Attention-based deep multiple instance learning".
    """

    def __init__(
        self, body: nn.Module, *, features: int, labels: int, strides: _Triple, pooling: str = "lse"
    ) -> None:
        """Put fresh heads on a body.

        Args:
            body: Turns images (batch, channel, i, j, k) into maps (batch, feature, a, b, c).
            features: Feature maps of the body.
            labels: Foreground labels, each with its own logit.
            strides: Voxels from one place of the body's maps to the next.
            pooling: How the scores of places become one: lse, max, mean or attention.

        Raises:
            BadRecipeError: The pooling is unknown.
        """
        super().__init__()
        if pooling not in get_args(_Pooling):
            msg = f"pooling '{pooling}' is unknown; use {', '.join(get_args(_Pooling))}"
            raise BadRecipeError(msg)
        self.pooling = pooling
        self.strides = strides
        self.body = body
        self.score = nn.Conv3d(features, labels, 1)
        self.query = nn.Sequential(
            nn.Conv3d(features, _QUERY, 1), nn.Tanh(), nn.Conv3d(_QUERY, labels, 1)
        )

    def features(
        self, image: Float[Tensor, "batch channel i j k"]
    ) -> Float[Tensor, "batch feature a b c"]:
        """Return the features of every place."""
        found: Tensor = self.body(image)
        return found

    def score_map(
        self, features: Float[Tensor, "batch feature a b c"]
    ) -> Float[Tensor, "batch label a b c"]:
        """Return a logit of each label for each place."""
        scores: Tensor = self.score(features)
        if self.pooling == "attention":  # as the pooled logit counts it: places average to it
            weight = self.query(features).flatten(2).softmax(2)
            scores = scores * weight.view_as(scores) * weight.shape[2]
        return scores

    def pool(
        self,
        scores: Float[Tensor, "batch label a b c"],
        counts: Float[Tensor, "batch label a b c"] | None = None,
        *,
        among_all: bool = False,
    ) -> Float[Tensor, "batch label"]:
        """Return one logit for each image and label.

        Args:
            scores: Logits of places.
            counts: 1 where a place belongs to the bag, 0 where not; None counts all.
            among_all: What the bag says is one voice among all places, so that a small bag says
                less; if not, it is an image of its own.
        """
        flat = scores.flatten(2)
        inside = torch.ones_like(flat) if counts is None else counts.flatten(2)
        places = inside.sum(2).clamp(min=1)
        if among_all:
            places = torch.full_like(places, flat.shape[2])
        if self.pooling in ("mean", "attention"):
            return (flat * inside).sum(2) / places
        flat = torch.where(inside > 0, flat, _ASIDE)
        if self.pooling == "max":
            return flat.amax(2)
        return (torch.logsumexp(_SHARP * flat, 2) - places.log()) / _SHARP

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self,
        image: Float[Tensor, "batch channel i j k"],
        inside: Float[Tensor, "batch label i j k"] | None = None,
        *,
        among_all: bool = False,
    ) -> Float[Tensor, "batch label"]:
        """Return one logit for each image and label.

        Args:
            image: Prepared images.
            inside: 1 where a voxel belongs to the bag of a label; None counts all.
            among_all: As for `pool`.
        """
        scores = self.score_map(self.features(image))
        if inside is None:
            return self.pool(scores)
        counts = functional.max_pool3d(inside, self.strides, ceil_mode=True)
        return self.pool(scores, counts, among_all=among_all)


def short_classifier(  # noqa: PLR0913  # a network is its numbers
    *,
    channels: int,
    labels: int,
    stride: _Triple,
    kernel: _Triple,
    width: int,
    pooling: str = "lse",
    two_and_half_d: bool = False,
) -> ClassifierNet:
    """Build a network that scores every place by what lies a centimetre or so around it.

    A short network on purpose: a place that sees far learns the training windows by heart, and its
    score no longer says where. Batch normalisation, because a small bright thing must stay bright
    beside images without one; each image scaled by itself would look like any other.

    Args:
        channels: Input channels.
        labels: Foreground labels, each with its own logit.
        stride: Voxels from one place to the next.
        kernel: Of every convolution.
        width: Features after the first convolution; the later ones have twice as many.
        pooling: How the scores of places become one: lse, max, mean or attention.
        two_and_half_d: See slice by slice after a first look at the neighbouring slices.

    Returns:
        The network with fresh weights from torch's generator.
    """
    inner = (*kernel[:2], 1) if two_and_half_d else kernel
    first = (*kernel[:2], 3) if two_and_half_d else kernel
    strides = (*stride[:2], 1) if two_and_half_d else stride
    body = nn.Sequential(
        _conv(channels, width, first, strides),
        _conv(width, width, inner),
        _conv(width, 2 * width, (1, 1, 1)),
        _conv(2 * width, 2 * width, inner),
        _conv(2 * width, 2 * width, inner),
    )
    return ClassifierNet(body, features=2 * width, labels=labels, strides=strides, pooling=pooling)


def _conv(inputs: int, outputs: int, kernel: _Triple, stride: _Triple = (1, 1, 1)) -> nn.Sequential:
    pad = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, stride, pad, bias=False),
        nn.BatchNorm3d(outputs),
        nn.LeakyReLU(0.01, inplace=True),
    )
