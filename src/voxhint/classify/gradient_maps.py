"""Maps made at the input: how a label's logit follows each voxel of the image."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.classify.saliency_request import Method, Question


def _slopes(
    asked: Question, images: Float[Tensor, "batch channel i j k"]
) -> Float[Tensor, "batch channel i j k"]:
    """Return the gradient of the label's logit by each voxel of each image."""
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        total = asked.logits(leaf).sum()
    (slopes,) = torch.autograd.grad(total, leaf)
    return slopes


def _gradient(asked: Question) -> Float[Tensor, "i j k"]:
    """Return how steeply the logit follows each voxel, up or down, in the steepest channel.

    Source:
        Simonyan, Vedaldi and Zisserman 2014, "Deep Inside Convolutional Networks: Visualising Image
        Classification Models and Saliency Maps".
    """
    return _slopes(asked, asked.image)[0].abs().amax(0)


def _smooth_grad(asked: Question) -> Float[Tensor, "i j k"]:
    """Return the gradient averaged over noisy copies of the image, its sign dropped afterwards.

    Raises:
        ValueError: There is no generator to draw the noise.

    Source:
        Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise".
    """
    if asked.rng is None:
        msg = "smooth-grad draws noise; give it a generator"
        raise ValueError(msg)
    image, settings = asked.image, asked.settings
    channels = image.flatten(2)
    width = settings.noise * (channels.amax(2) - channels.amin(2))[..., None, None, None]
    total = torch.zeros_like(image)
    for first in range(0, settings.samples, settings.batch):
        size = min(settings.batch, settings.samples - first)
        noise = asked.rng.standard_normal((size, *image.shape[1:]), np.float32)
        noisy = image + width * torch.from_numpy(noise).to(image)
        total += _slopes(asked, noisy).sum(0, keepdim=True)
    return (total / settings.samples)[0].abs().amax(0)


def _input_x_gradient(asked: Question) -> Float[Tensor, "i j k"]:
    """Return the gradient times what sets the image apart from its reference.

    Source:
        Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through
        Propagating Activation Differences"; there the reference is zero.
    """
    apart = asked.image - asked.reference()
    return (_slopes(asked, asked.image) * apart)[0].sum(0)


def _integrated_gradients(asked: Question) -> Float[Tensor, "i j k"]:
    """Return each voxel's share of the logit that the image has more than its reference.

    Source:
        Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks".
    """
    from captum.attr import IntegratedGradients

    shares: Tensor = IntegratedGradients(asked.net).attribute(
        asked.image,
        baselines=asked.reference(),
        target=asked.label,
        n_steps=asked.settings.steps,
        internal_batch_size=asked.settings.batch,
    )
    return shares[0].sum(0)


def _occlusion(asked: Question) -> Float[Tensor, "i j k"]:
    """Return how much logit is lost when the reference hides a box: the mean of a voxel's boxes.

    Source:
        Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks".
    """
    from captum.attr import Occlusion

    channels, *shape = asked.image.shape[1:]
    edges = [
        min(n, max(1, round(asked.settings.box_mm / mm)))
        for n, mm in zip(shape, asked.settings.spacing_mm, strict=True)
    ]
    lost: Tensor = Occlusion(asked.net).attribute(
        asked.image,
        sliding_window_shapes=(channels, *edges),
        strides=(channels, *(max(1, edge // 2) for edge in edges)),
        baselines=asked.reference(),
        target=asked.label,
        perturbations_per_eval=asked.settings.batch,
    )
    return lost[0, 0]  # all channels are hidden at once, so each has the same


VOXEL_MAPS: Mapping[str, Method] = {
    "gradient": Method(_gradient, "logit per unit of prepared intensity"),
    "smooth-grad": Method(_smooth_grad, "logit per unit of prepared intensity"),
    "input-x-gradient": Method(_input_x_gradient, "logit that the voxel adds to the image's"),
    "integrated-gradients": Method(
        _integrated_gradients, "logit that the voxel adds to the image's"
    ),
    "occlusion": Method(_occlusion, "logit lost without the box around the voxel"),
}
"""Methods whose map has a value for each voxel."""
