"""MAISI-v2 (rflow-ct): a rectified flow of whole CT scans in a latent space, by MONAI's networks.

Its weights are not ours and not with us: see `voxhint models`.

Source:
    Guo et al. 2025, "MAISI", arXiv:2409.11169; Zhao et al. 2026, "MAISI-v2", arXiv:2508.05772.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.inferers.utils import sliding_window_inference
from torch import Tensor, nn
from torch.nn import functional

from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.nets.weights import fill, read_checkpoint

_FACTOR = 4
"""Voxels to one latent place, along each axis."""

CLASSES: Mapping[str, int] = {"unknown": 0, "ct": 1, "ct-plain": 2, "ct-contrast": 3}
"""What the flow can be told of an image; plain is without contrast agent."""

_LATENTS = 4  # channels
_WHOLE = 8  # latent places that the flow's three halvings need along each axis
_AIR, _SPAN = -1000.0, 2000.0  # HU that become 0, and that become 1 above it
_NARROWEST_MM = 256.0  # its authors refuse less across the body, and advise 384
_OVERLAP = 0.5  # of tiles
_WEIGHTS = "unet_state_dict"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaisiShape:
    """Sizes of the networks; the defaults are those of the public weights."""

    autoencoder: tuple[int, ...] = (64, 128, 256)
    flow: tuple[int, ...] = (64, 128, 256, 512)
    head: int = 32
    """Features of an attention head."""

    groups: int = 32
    """Of group normalisation."""


class Maisi(nn.Module):
    """The autoencoder and the flow, in evaluation and without gradients of their weights."""

    scale: Tensor

    def __init__(self, shape: MaisiShape, scale: float, tile: int | None = None) -> None:
        """Build the networks with fresh weights.

        Args:
            shape: Sizes of the networks.
            scale: Of the latents, so that the flow sees a standard deviation near 1.
            tile: Latent places along each axis that go through the autoencoder at a time, an even
                number; None takes the whole image. Tiles need less memory; as its normalisation
                follows the tile, they give slightly other values.

        Raises:
            BadRecipeError: The tiles are odd.
        """
        super().__init__()
        if tile is not None and (tile < 2 or tile % 2):  # half a tile overlaps, in whole places
            msg = f"tiles of {tile} latent places; use an even number, such as 64"
            raise BadRecipeError(msg)
        self.autoencoder: AutoencoderKlMaisi = _autoencoder(shape)
        self.flow: DiffusionModelUNetMaisi = _flow(shape)
        self.register_buffer("scale", torch.tensor(scale))
        self.tile = tile
        self.eval().requires_grad_(requires_grad=False)

    def encode(self, hu: Float[Tensor, "batch 1 i j k"]) -> Float[Tensor, "batch 4 a b c"]:
        """Return the mean latents of CT scans, scaled for the flow.

        Args:
            hu: Scans in RAS+; made up to multiples of 32 voxels with air at the far ends, and
                clipped to -1000 to 1000 HU.
        """
        step = _FACTOR * _WHOLE
        ends = [end for size in reversed(hu.shape[2:]) for end in (0, -size % step)]
        image = ((functional.pad(hu, ends, value=_AIR) - _AIR) / _SPAN).clamp(0, 1)
        # the mean: what the authors' own call for latents gives is a random draw
        return self.scale * self._tiled(image, _FACTOR, lambda x: self.autoencoder.encode(x)[0])

    def decode(
        self, latents: Float[Tensor, "batch 4 a b c"], shape: tuple[int, int, int]
    ) -> Float[Tensor, "batch 1 i j k"]:
        """Return the scans of latents, in HU.

        Args:
            latents: What `encode` gives, or the end of the flow.
            shape: Voxels of the scans; what `encode` made up is cut off.
        """
        image = self._tiled(latents / self.scale, 1, self.autoencoder.decode)
        i, j, k = shape
        return _AIR + _SPAN * image[..., :i, :j, :k].clamp(0, 1)

    def velocity(self, spacing_mm: tuple[float, float, float], kind: str = "ct") -> "MaisiVelocity":
        """Return the flow for scans of one voxel size and one kind.

        Args:
            spacing_mm: Voxel size of the scans, not of the latents.
            kind: A name of `CLASSES`.

        Returns:
            A velocity as `voxhint.flow` follows it.

        Raises:
            BadRecipeError: There is no such kind.
        """
        if kind not in CLASSES:
            msg = f"MAISI knows no kind '{kind}' of scan; use {', '.join(CLASSES)}"
            raise BadRecipeError(msg)
        return MaisiVelocity(self.flow, spacing_mm, CLASSES[kind])

    def _tiled(
        self, values: Tensor, unit: int, run: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "batch channel a b c"]:
        """Return what a part of the autoencoder gives, tile by tile if there are to be tiles."""
        if self.tile is None or max(values.shape[2:]) <= unit * self.tile:
            return run(values)
        size = [min(unit * self.tile, n) for n in values.shape[2:]]
        found = sliding_window_inference(values, size, 1, run, overlap=_OVERLAP, mode="gaussian")
        return cast("Tensor", found)


@dataclass(frozen=True, slots=True, eq=False)
class MaisiVelocity:
    """The mean of image minus noise in latent space, asked with s = 0 image and s = 1 noise."""

    net: nn.Module
    spacing_mm: tuple[float, float, float]
    number: int
    """Of the kind of scan."""

    def __call__(
        self, z: Float[Tensor, "batch 4 a b c"], s: Float[Tensor, " batch"], /
    ) -> Float[Tensor, "batch 4 a b c"]:
        """Return the velocity at z, one noise level per sample.

        Raises:
            BadRecipeError: The field of view is too small for a flow of whole scans.
        """
        across = [_FACTOR * n * mm for n, mm in zip(z.shape[2:4], self.spacing_mm[:2], strict=True)]
        if min(across) < _NARROWEST_MM:
            msg = (
                f"MAISI knows whole scans, and this is {across[0]:.0f} x {across[1]:.0f} mm across;"
                f" use at least {_NARROWEST_MM:.0f} mm (384 advised), or a flow of your windows"
            )
            raise BadRecipeError(msg)
        kind = next(self.net.parameters()).dtype
        spacing = torch.tensor(self.spacing_mm, device=z.device, dtype=kind) * 100
        found: Tensor = self.net(
            x=z.to(kind),
            timesteps=1000 * s.to(torch.promote_types(s.dtype, torch.float32)),
            class_labels=torch.full((len(z),), self.number, device=z.device),
            spacing_tensor=spacing.expand(len(z), 3),
        )
        return found


def load_maisi(
    autoencoder: Path, flow: Path, *, shape: MaisiShape | None = None, tile: int | None = None
) -> Maisi:
    """Open the public weights of MAISI-v2.

    Args:
        autoencoder: `autoencoder_v1.pt`.
        flow: `diff_unet_3d_rflow-ct.pt`, which also holds the scale of the latents.
        shape: Sizes of the networks; those of the public weights if None.
        tile: See `Maisi`.

    Returns:
        The model on the CPU, in float32.

    Raises:
        BadFileError: A file is no part of the model.
    """
    first, second = read_checkpoint(autoencoder), read_checkpoint(flow)
    if not isinstance(second.get(_WEIGHTS), Mapping) or "scale_factor" not in second:
        msg = f"{flow.name}: no flow of MAISI (expected {_WEIGHTS} and scale_factor)"
        raise BadFileError(msg)
    model = Maisi(shape or MaisiShape(), float(second["scale_factor"]), tile)
    fill(model.autoencoder, _inner(first), autoencoder, "MAISI's autoencoder")
    fill(model.flow, _inner(second), flow, "MAISI's flow")
    return model


def _inner(found: Mapping[str, Any]) -> Mapping[str, Any]:
    inner: Mapping[str, Any] = found.get(_WEIGHTS, found)
    return inner


def _autoencoder(shape: MaisiShape) -> AutoencoderKlMaisi:
    return AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        latent_channels=_LATENTS,
        num_channels=shape.autoencoder,
        num_res_blocks=[2] * len(shape.autoencoder),
        norm_num_groups=shape.groups,
        norm_eps=1e-6,
        attention_levels=[False] * len(shape.autoencoder),
        num_splits=1,
        norm_float16=False,  # half precision breaks CPUs, and makes gradients coarse
        save_mem=False,  # emptying the cache at every norm costs more time than it saves memory
    )


def _flow(shape: MaisiShape) -> DiffusionModelUNetMaisi:
    return DiffusionModelUNetMaisi(
        spatial_dims=3,
        in_channels=_LATENTS,
        out_channels=_LATENTS,
        num_channels=shape.flow,
        attention_levels=[False, False, True, True],
        num_head_channels=[0, 0, shape.head, shape.head],
        num_res_blocks=2,
        norm_num_groups=shape.groups,
        use_flash_attention=False,  # raises without a GPU; the weights are the same
        include_spacing_input=True,
        num_class_embeds=128,
        resblock_updown=True,
        include_fc=True,
    )
