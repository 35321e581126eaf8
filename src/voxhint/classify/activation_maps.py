"""Class activation maps: which places of the last features speak for a label."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxhint.classify.saliency_request import Method, Question


def _cam(asked: Question) -> Float[Tensor, "a b c"]:
    """Return the evidence map itself.

    Source:
        Zhou et al. 2016, "Learning Deep Features for Discriminative Localization".
    """
    return asked.net.evidence(asked.net.features(asked.image))[0, asked.label]


def _features_and_slopes(
    asked: Question,
) -> tuple[Float[Tensor, "feature a b c"], Float[Tensor, "feature a b c"]]:
    """Return the last feature maps and the gradient of the label's logit by them."""
    seen = asked.net.features(asked.image).requires_grad_()
    with torch.enable_grad():
        logit = asked.net.pool(asked.net.evidence(seen))[0, asked.label]
    (slopes,) = torch.autograd.grad(logit, seen)
    return seen.detach()[0], slopes[0]


def _grad_cam(asked: Question) -> Float[Tensor, "a b c"]:
    """Return the features, each weighted by its gradient summed over places.

    The paper takes the mean, a constant factor within one image. The sum makes the unit logits,
    whatever the size of the image.

    Source:
        Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
        Localization".
    """
    seen, slopes = _features_and_slopes(asked)
    weights = slopes.sum((1, 2, 3), keepdim=True)
    return (weights * seen).sum(0).relu()


def _grad_cam_pp(asked: Question) -> Float[Tensor, "a b c"]:
    """Return the features, each weighted by its rising gradients, less where many places rise.

    The paper's g^2 / (2 g^2 + g^3 sum A) is written after division by g^2. Its factor exp(logit) of
    all weights is left out, since it would make images incomparable.

    Source:
        Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-based Visual Explanations for
        Deep Convolutional Networks".
    """
    seen, slopes = _features_and_slopes(asked)
    rise = slopes.relu()
    # features below zero, which the paper does not have, must not turn the denominator over
    total = seen.sum((1, 2, 3), keepdim=True).relu()
    weights = (rise / (2 + rise * total)).sum((1, 2, 3), keepdim=True)
    return (weights * seen).sum(0).relu()


def _layer_cam(asked: Question) -> Float[Tensor, "a b c"]:
    """Return the features, each place weighted by its own rising gradient.

    Source:
        Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for
        Localization".
    """
    seen, slopes = _features_and_slopes(asked)
    return (slopes.relu() * seen).sum(0).relu()


def _hires_cam(asked: Question) -> Float[Tensor, "a b c"]:
    """Return the features, each place weighted by its own gradient.

    Source:
        Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of
        convolutional neural networks".
    """
    seen, slopes = _features_and_slopes(asked)
    return (slopes * seen).sum(0)


def _score_cam(asked: Question) -> Float[Tensor, "a b c"]:
    """Return the features, each weighted by the logit it wins back if only its places are shown.

    The rest shows the reference. The paper's softmax over weights is left out, as in its authors'
    code: it would trust features that win nothing back.

    Source:
        Wang et al. 2020, "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
        Networks".
    """
    seen = asked.net.features(asked.image)[0]
    hidden = asked.reference()
    wins = []
    for first in range(0, len(seen), asked.settings.batch):
        some = seen[first : first + asked.settings.batch].cpu().numpy()
        shown = np.stack([asked.over_voxels(one) for one in some])
        shares = _from_0_to_1(torch.from_numpy(shown).to(asked.image))[:, None]
        wins.append(asked.logits(hidden + shares * (asked.image - hidden)))
    weights = torch.cat(wins) - asked.logits(hidden)
    return (weights[:, None, None, None] * seen).sum(0).relu()


def _from_0_to_1(maps: Float[Tensor, "feature i j k"]) -> Float[Tensor, "feature i j k"]:
    """Return each map stretched from 0 to 1; 0 if it is constant."""
    low = maps.amin((1, 2, 3), keepdim=True)
    span = maps.amax((1, 2, 3), keepdim=True) - low
    return torch.where(span > 0, (maps - low) / span, 0.0)


PLACE_MAPS: Mapping[str, Method] = {
    "cam": Method(_cam, "logit of the place"),
    "grad-cam": Method(_grad_cam, "logit of the place, without the head's constant"),
    "grad-cam++": Method(_grad_cam_pp, "logit of the place, damped"),
    "layer-cam": Method(_layer_cam, "logit that the place adds to the image's"),
    "hires-cam": Method(_hires_cam, "logit that the place adds to the image's"),
    "score-cam": Method(_score_cam, "logit won back, times the feature"),
}
"""Methods whose map has a value for each place of the last features."""
