"""Where an image-level predictor saw a label: the baselines that turn tags into maps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy import ndimage
from torch import Tensor

from voxhint.classify.activation_maps import PLACE_MAPS
from voxhint.classify.gradient_maps import VOXEL_MAPS
from voxhint.classify.saliency_request import Method, Predictor, Question, Settings
from voxhint.core.errors import BadRecipeError

__all__ = ["METHODS", "Predictor", "Settings", "attribute"]

METHODS: Mapping[str, Method] = {**PLACE_MAPS, **VOXEL_MAPS}
"""The maps by name, each with the unit of its values."""


def attribute(
    method: str,
    net: Predictor,
    image: Float[Tensor, "channel i j k"],
    label: int,
    *,
    rng: np.random.Generator | None = None,
    settings: Settings | None = None,
) -> Float32[np.ndarray, "i j k"]:
    """Map the evidence for a label in an image.

    The map is in the unit of its method (`METHODS[method].unit`) and never scaled to the image, so
    that one threshold can be told for all images. The network is left as it was.

    Args:
        method: A name of `METHODS`.
        net: Tells which labels an image holds.
        image: A prepared image, on the network's device; a window, if gradients of the whole image
            would not fit in memory.
        label: Which of the network's labels.
        rng: Draws the noise of SmoothGrad; the other methods need none.
        settings: How the map is made; the defaults if None.

    Returns:
        Evidence at each voxel, larger for more.

    Raises:
        BadRecipeError: There is no method of this name.
    """
    if method not in METHODS:
        msg = f"attribution method '{method}' is unknown; use one of {', '.join(METHODS)}"
        raise BadRecipeError(msg)
    asked = Question(net, image.detach()[None], label, rng, settings or Settings())
    with _at_rest(net), torch.no_grad():
        found = METHODS[method].ask(asked).float().cpu().numpy()
    if method in PLACE_MAPS:
        return asked.over_voxels(found)
    width = asked.settings.smooth_mm / np.array(asked.settings.spacing_mm)
    return np.asarray(ndimage.gaussian_filter(found, width), np.float32)


@contextmanager
def _at_rest(net: Predictor) -> Iterator[None]:
    """Switch off what only training does, such as dropout, and set each part back afterwards."""
    modes = [(part, part.training) for part in net.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training
