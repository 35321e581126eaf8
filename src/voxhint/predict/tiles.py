"""Cut an image into tiles, ask the network about each, and blend the answers."""

from collections.abc import Callable
from itertools import count
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor


@runtime_checkable
class Segmenter(Protocol):
    """A network from images to logits of the same size."""

    def __call__(
        self, image: Float[Tensor, "batch channel i j k"], /
    ) -> Float[Tensor, "batch class i j k"]:
        """Return the logits."""


def predict_tiles(
    segment: Segmenter,
    image: Float32[np.ndarray, "channel i j k"],
    *,
    patch: tuple[int, int, int],
    overlap: float,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> Float32[np.ndarray, "class i j k"]:
    """Return class probabilities for a prepared image of any size.

    Tiles overlap and are blended by a Gaussian that trusts their middles; an image smaller than a
    tile is padded by its border and cut back.

    Args:
        segment: The network, in evaluation mode.
        image: Prepared by the plan.
        patch: The tile.
        overlap: Share of a tile that its neighbour covers again.
        device: Where the network is; the blended result stays in main memory.
        progress: Hears the number of each tile.

    Returns:
        Probabilities that sum to 1.
    """
    from monai.inferers.utils import sliding_window_inference  # takes seconds to load

    number = count(1)

    def probabilities(tile: Tensor) -> Tensor:
        if progress is not None:
            progress(next(number))
        tile = tile.to(device).contiguous(memory_format=torch.channels_last_3d)
        return segment(tile).float().softmax(1)

    with torch.inference_mode():
        blended = sliding_window_inference(
            torch.from_numpy(image)[None],
            roi_size=patch,
            sw_batch_size=1,
            predictor=probabilities,
            overlap=overlap,
            mode="gaussian",
            padding_mode="replicate",
            sw_device=device,
            device=torch.device("cpu"),
        )
    result = np.asarray(blended[0].numpy(), np.float32)
    return np.asarray(result / result.sum(0, keepdims=True), np.float32)
