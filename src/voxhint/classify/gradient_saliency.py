"""Saliency maps of an image-level classifier: which voxels and places raise a label's logit."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy import ndimage
from torch import Tensor, nn

from voxhint.core.errors import BadRecipeError


@runtime_checkable
class _Network(Protocol):
    """A network that tells which labels an image holds, and which places say so.

    Its logits are pool(score_map(features(image))), each image of a batch on its own.
    """

    @property
    def strides(self) -> tuple[int, int, int]:
        """Voxels from one place to the next.

        Place o of the features looks at voxel strides * o, and n voxels give ceil(n / stride)
        places: so it is with odd kernels padded by half their width.
        """

    def __call__(
        self, image: Float[Tensor, "batch channel i j k"], /
    ) -> Float[Tensor, "batch label"]:
        """Return the logit of each label."""

    def features(
        self, image: Float[Tensor, "batch channel i j k"], /
    ) -> Float[Tensor, "batch feature a b c"]:
        """Return the last feature maps."""

    def score_map(
        self, features: Float[Tensor, "batch feature a b c"], /
    ) -> Float[Tensor, "batch label a b c"]:
        """Return the logit of each label at each place."""

    def pool(self, scores: Float[Tensor, "batch label a b c"], /) -> Float[Tensor, "batch label"]:
        """Return one logit per label from those of all places."""

    def modules(self) -> Iterator[nn.Module]:
        """Return the network and all its parts."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the maps are made."""

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the prepared image."""

    samples: int = 16
    """Noisy copies, for SmoothGrad."""

    noise: float = 0.15
    """Standard deviation of their noise, as a share of each channel's range."""

    smooth_mm: float = 0.0
    """Standard deviation of a last blur, for maps that are made voxel by voxel."""

    batch: int = 4
    """Images that go through the network at a time: what bounds the memory."""


@dataclass(frozen=True, slots=True)
class _Request:
    """Where in this image does this network see this label?"""

    net: _Network
    image: Float[Tensor, "1 channel i j k"]
    label: int
    rng: np.random.Generator | None
    settings: Settings


@dataclass(frozen=True, slots=True)
class _Method:
    """One kind of saliency map."""

    compute: Callable[[_Request], Tensor]
    unit: str
    """What a value of the map means."""

    per_place: bool
    """Whether it has a value for each place of the last features, rather than for each voxel."""


def saliency_map(
    method: str,
    net: _Network,
    image: Float[Tensor, "channel i j k"],
    label: int,
    *,
    rng: np.random.Generator | None = None,
    settings: Settings | None = None,
) -> Float32[np.ndarray, "i j k"]:
    """Map what in an image speaks for a label.

    The map is in the unit of its method (`METHODS[method].unit`) and never scaled to the image, so
    that one threshold holds for all images. The network is left as it was.

    Args:
        method: A name of `METHODS`.
        net: Tells which labels an image holds.
        image: A prepared image, on the network's device; a window, if gradients of the whole image
            would not fit in memory.
        label: Which of the network's labels.
        rng: Draws the noise of SmoothGrad; Grad-CAM++ needs none.
        settings: How the map is made; the defaults if None.

    Returns:
        Saliency of each voxel, larger for more.

    Raises:
        BadRecipeError: There is no method of this name.
    """
    if method not in METHODS:
        msg = f"saliency method '{method}' is unknown; use one of {', '.join(METHODS)}"
        raise BadRecipeError(msg)
    request = _Request(net, image.detach()[None], label, rng, settings or Settings())
    with _at_rest(net), torch.no_grad():
        values = METHODS[method].compute(request).float().cpu().numpy()
    if METHODS[method].per_place:
        return _over_voxels(values, tuple(image.shape[1:]), net.strides)
    width = request.settings.smooth_mm / np.array(request.settings.spacing_mm)
    return np.asarray(ndimage.gaussian_filter(values, width), np.float32)


def _smooth_grad(request: _Request) -> Float[Tensor, "i j k"]:
    """Return the gradient by the image, averaged over noisy copies, without its sign.

    The steepest channel counts.

    Raises:
        ValueError: There is no generator to draw the noise.

    Source:
        Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise".
    """
    if request.rng is None:
        msg = "smooth-grad draws noise; give it a generator"
        raise ValueError(msg)
    image, settings = request.image, request.settings
    channels = image.flatten(2)
    width = settings.noise * (channels.amax(2) - channels.amin(2))[..., None, None, None]
    total = torch.zeros_like(image)
    for first in range(0, settings.samples, settings.batch):
        size = min(settings.batch, settings.samples - first)
        noise = request.rng.standard_normal((size, *image.shape[1:]), np.float32)
        noisy = image + width * torch.from_numpy(noise).to(image)
        total += _gradient(request, noisy).sum(0, keepdim=True)
    return (total / settings.samples)[0].abs().amax(0)


def _gradient(
    request: _Request, images: Float[Tensor, "batch channel i j k"]
) -> Float[Tensor, "batch channel i j k"]:
    """Return the gradient of the label's logit by each voxel of each image."""
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        total = request.net(leaf)[:, request.label].sum()
    (slopes,) = torch.autograd.grad(total, leaf)
    return slopes


def _grad_cam_pp(request: _Request) -> Float[Tensor, "a b c"]:
    """Return the features, each weighted by its rising gradients, less where many places rise.

    The paper's g^2 / (2 g^2 + g^3 sum A) is written after division by g^2. Its factor exp(logit) of
    all weights is left out, since it would make images incomparable.

    Source:
        Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-based Visual Explanations for
        Deep Convolutional Networks".
    """
    features = request.net.features(request.image).requires_grad_()
    with torch.enable_grad():
        logit = request.net.pool(request.net.score_map(features))[0, request.label]
    (slopes,) = torch.autograd.grad(logit, features)
    features = features.detach()[0]
    rise = slopes[0].relu()
    # features below zero, which the paper does not have, must not turn the denominator over
    total = features.sum((1, 2, 3), keepdim=True).relu()
    weights = (rise / (2 + rise * total)).sum((1, 2, 3), keepdim=True)
    return (weights * features).sum(0).relu()


METHODS: Mapping[str, _Method] = {
    "smooth-grad": _Method(_smooth_grad, "logit per unit of prepared intensity", per_place=False),
    "grad-cam++": _Method(_grad_cam_pp, "logit of the place, damped", per_place=True),
}
"""The maps by name."""


def _over_voxels(
    places: Float32[np.ndarray, "a b c"],
    shape: tuple[int, ...],
    strides: tuple[int, int, int],
) -> Float32[np.ndarray, "i j k"]:
    """Carry a map of places to voxels.

    Args:
        places: A value for each place of the network's features.
        shape: Voxels of the image.
        strides: Voxels from one place to the next.

    Returns:
        Linear between the places' centres, constant beyond the outermost.

    Raises:
        ValueError: The network has other strides than it says.
    """
    expected = tuple(-(-n // stride) for n, stride in zip(shape, strides, strict=True))
    if places.shape != expected:
        msg = f"{shape} voxels gave {places.shape} places; strides {strides} give {expected}"
        raise ValueError(msg)
    spread = ndimage.affine_transform(
        places, 1 / np.array(strides), output_shape=shape, order=1, mode="nearest"
    )
    return np.asarray(spread, np.float32)


@contextmanager
def _at_rest(net: _Network) -> Iterator[None]:
    """Switch off what only training does, such as dropout, and set each part back afterwards."""
    modes = [(part, part.training) for part in net.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training
