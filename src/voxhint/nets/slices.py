"""Slices of an image as pictures: how networks trained on pictures look at volumes (2.5D)."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_AT_ONCE = 8  # pictures that go through the network together: what bounds the memory


@runtime_checkable
class _Backbone(Protocol):
    """A network that turns pictures into features, and what it expects of them."""

    size: int
    """Pixels along the edge of the pictures it was trained on."""

    stride: int
    """Pixels from one place to the next; place o looks at pixel stride * o."""

    features: int
    span: tuple[float, float]
    """Range of the values it was trained on."""

    def __call__(
        self, pictures: Float[Tensor, "picture 3 i j"], /
    ) -> Float[Tensor, "picture feature a b"]:
        """Return the features of every place."""


class Slices(nn.Module):
    """Shows a backbone every slice with its two neighbours as the three channels of a picture.

    Pictures are enlarged by a whole number, the same for all images, so that a voxel lies on a
    pixel, a place on a voxel, and a lesion has one size. Values are scaled by one range for all
    images: scaled slice by slice, a small bright thing would look like any other.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        patch: tuple[int, int, int],
        window: tuple[float, float],
        tune: bool,
    ) -> None:
        """Wrap a backbone.

        Args:
            backbone: A `_Backbone` with its weights.
            patch: Voxels of a usual image; decides how much it is enlarged.
            window: Values of the image that become the ends of the backbone's range.
            tune: Let the backbone learn too. Its normalisation stays as it was trained, so that
                pictures never mix.

        Raises:
            TypeError: The network does not say what it expects.
        """
        super().__init__()
        if not isinstance(backbone, _Backbone):
            msg = f"{type(backbone).__name__} is no backbone"
            raise TypeError(msg)
        self.zoom = _zoom(backbone, max(patch[:2]))
        self.features = backbone.features
        self.strides = (backbone.stride // self.zoom, backbone.stride // self.zoom, 1)
        self.window = window
        self.span = backbone.span
        self.backbone = backbone.requires_grad_(tune).eval()

    def train(self, mode: bool = True) -> "Slices":  # type: ignore[explicit-override]  # noqa: FBT001, FBT002
        """Set the mode; the backbone never leaves evaluation.

        Returns:
            Itself.
        """
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(  # type: ignore[explicit-override]
        self, image: Float[Tensor, "batch 1 i j k"]
    ) -> Float[Tensor, "batch feature a b k"]:
        """Return the features of every place of every slice."""
        pictures = self._enlarged(self._scaled(_neighbours(image)))
        parts = torch.split(pictures, _AT_ONCE)
        found = torch.cat([self._seen(some) for some in parts])
        return found.view(len(image), -1, *found.shape[1:]).permute(0, 2, 3, 4, 1)

    def _scaled(self, pictures: Float[Tensor, "picture 3 i j"]) -> Float[Tensor, "picture 3 i j"]:
        low, high = self.window
        share = ((pictures - low) / (high - low)).clamp(0, 1)
        return self.span[0] + share * (self.span[1] - self.span[0])

    def _enlarged(self, pictures: Float[Tensor, "picture 3 i j"]) -> Float[Tensor, "picture 3 x y"]:
        """Return pictures whose pixel zoom * v is voxel v, linear between voxels."""
        sizes = [self.zoom * (n - 1) + 1 for n in pictures.shape[2:]]
        large = functional.interpolate(pictures, sizes, mode="bilinear", align_corners=True)
        return functional.pad(large, (0, self.zoom - 1, 0, self.zoom - 1), mode="replicate")

    def _seen(self, pictures: Float[Tensor, "some 3 x y"]) -> Float[Tensor, "some feature a b"]:
        learns = any(weight.requires_grad for weight in self.backbone.parameters())
        if torch.is_grad_enabled() and (learns or pictures.requires_grad):
            found: Tensor = checkpoint(self.backbone, pictures, use_reentrant=False)
        else:
            found = self.backbone(pictures)
        return found


def _zoom(backbone: _Backbone, edge: int) -> int:
    """Return the largest power of two that keeps pictures within those the backbone knows."""
    zoom = 1
    while 2 * zoom * edge <= backbone.size and 2 * zoom <= backbone.stride:
        zoom *= 2
    return zoom


def _neighbours(image: Float[Tensor, "batch 1 i j k"]) -> Float[Tensor, "picture 3 i j"]:
    """Return slices k - 1, k and k + 1 for every k; the outermost have themselves beside them."""
    stack = image[:, 0].permute(0, 3, 1, 2)
    stack = torch.cat([stack[:, :1], stack, stack[:, -1:]], dim=1)
    return torch.stack([stack[:, :-2], stack[:, 1:-1], stack[:, 2:]], dim=2).flatten(0, 1)
