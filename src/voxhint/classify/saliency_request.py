"""What a map of evidence is asked for: a network, an image, a label, and how to look."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy import ndimage
from torch import Tensor, nn


@runtime_checkable
class Predictor(Protocol):
    """A network that tells which labels an image holds, and which places say so.

    Its logits are pool(evidence(features(image))), each image of a batch on its own.
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

    def evidence(
        self, features: Float[Tensor, "batch feature a b c"], /
    ) -> Float[Tensor, "batch label a b c"]:
        """Return the logit of each label at each place."""

    def pool(self, evidence: Float[Tensor, "batch label a b c"], /) -> Float[Tensor, "batch label"]:
        """Return one logit per label from those of all places."""

    def modules(self) -> Iterator[nn.Module]:
        """Return the network and all its parts."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the maps are made."""

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the prepared image."""

    reference_mm: float = 10.0
    """Standard deviation of the blur that makes the reference an image is compared with."""

    steps: int = 32
    """Points on the way from the reference to the image, for Integrated Gradients."""

    samples: int = 16
    """Noisy copies, for SmoothGrad."""

    noise: float = 0.15
    """Standard deviation of their noise, as a share of each channel's range."""

    box_mm: float = 8.0
    """Edge of the box that is hidden, for occlusion; it moves by half its edge."""

    smooth_mm: float = 0.0
    """Standard deviation of a last blur, for the maps that are made voxel by voxel."""

    batch: int = 4
    """Images that go through the network at a time: what bounds the memory."""


@dataclass(frozen=True, slots=True)
class Question:
    """Where in this image does this network see this label?"""

    net: Predictor
    image: Float[Tensor, "1 channel i j k"]
    label: int
    rng: np.random.Generator | None
    settings: Settings

    def logits(self, images: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, " batch"]:
        """Return the label's logit of each image."""
        return self.net(images)[:, self.label]

    def reference(self) -> Float[Tensor, "1 channel i j k"]:
        """Return the image without what is small: a heavy blur.

        A lesion melts into its surroundings while large anatomy stays, so the difference is what a
        focal label is about. A constant would make every organ a difference. What is wider than
        the blur stays in its own reference: widen the blur for it.
        """
        width = self.settings.reference_mm / np.array(self.settings.spacing_mm)
        channels = self.image[0].cpu().numpy()
        blurred = [ndimage.gaussian_filter(channel, width) for channel in channels]
        return torch.from_numpy(np.stack(blurred)).to(self.image)[None]

    def over_voxels(self, places: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "i j k"]:
        """Carry a map of places to voxels.

        Args:
            places: A value for each place of the network's features.

        Returns:
            Linear between the places' centres, constant beyond the outermost.

        Raises:
            ValueError: The network has other strides than it says.
        """
        shape, strides = tuple(self.image.shape[2:]), self.net.strides
        expected = tuple(-(-n // stride) for n, stride in zip(shape, strides, strict=True))
        if places.shape != expected:
            msg = f"{shape} voxels gave {places.shape} places; strides {strides} give {expected}"
            raise ValueError(msg)
        found = ndimage.affine_transform(
            places, 1 / np.array(strides), output_shape=shape, order=1, mode="nearest"
        )
        return np.asarray(found, np.float32)


@dataclass(frozen=True, slots=True)
class Method:
    """One way to answer."""

    ask: Callable[[Question], Tensor]
    unit: str
    """What a value of the map means."""
