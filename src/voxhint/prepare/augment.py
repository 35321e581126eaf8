"""Vary patches as patients and scanners vary: pose, size, brightness, contrast, noise."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from voxhint.core.grid import thick_axis

_Patches = Float[Tensor, "batch channel i j k"]
_Bounds = Float[Tensor, "batch class i j k"]

_TURN = 0.15  # radians, standard deviation for each axis
_TURN_FLAT = 0.3  # the same within thick slices
_THICK = 3.0  # times the other steps, from which slices are moved only within themselves
_ZOOM = 0.10  # log scale
_SHIFT = 0.05  # of the patch


def augment(
    image: _Patches,
    belief: _Bounds,
    plausible: _Bounds,
    rng: np.random.Generator,
    *,
    spacing_mm: tuple[float, float, float],
    mirror: bool,
) -> tuple[_Patches, _Bounds, _Bounds]:
    """Vary a batch at random; image and claims move together.

    Args:
        image: Prepared images.
        belief: Belief of each class; 0 is what lies beyond the patch.
        plausible: Plausibility of each class; 1 is what lies beyond.
        rng: Source of chance: the same generator state gives the same batch.
        spacing_mm: Of the patches; turns happen in millimetres.
        mirror: Flip axes at random too.

    Returns:
        New tensors of the same shapes.
    """
    places = _places(image, rng, spacing_mm, mirror=mirror)
    image = _sample(image, places, border=True)
    belief = _sample(belief, places)
    plausible = 1 - _sample(1 - plausible, places)
    return torch.stack([_recolour(x, rng) for x in image]), belief, plausible


def _sample(field: _Patches, places: Tensor, *, border: bool = False) -> _Patches:
    padding = "border" if border else "zeros"
    return functional.grid_sample(field, places, padding_mode=padding, align_corners=False)


def _places(
    image: _Patches,
    rng: np.random.Generator,
    spacing_mm: tuple[float, float, float],
    *,
    mirror: bool,
) -> Tensor:
    """Return where to sample: a turn and zoom in millimetres and a shift for each patch.

    Thick slices are only moved within themselves: what lies between two of them is not known.
    """
    # grid_sample orders axes k, j, i and measures the patch as -1 to 1
    size = np.array(image.shape[:1:-1], np.float64) * spacing_mm[::-1]
    thick = thick_axis(spacing_mm[::-1], _THICK)
    free = np.ones(3) if thick is None else (np.arange(3) != thick).astype(float)
    turns = np.full(3, _TURN) if thick is None else _TURN_FLAT * (1 - free)
    maps = []
    for _ in range(image.shape[0]):
        flips = np.where((rng.random(3) < 0.5) & mirror, -1.0, 1.0)
        zoom = flips * np.exp(free * rng.normal(0, _ZOOM, 3))
        turn = _rotation(turns * rng.normal(0, 1, 3)) @ np.diag(zoom)
        linear = np.diag(1 / size) @ turn @ np.diag(size)
        maps.append(np.column_stack([linear, free * rng.uniform(-2 * _SHIFT, 2 * _SHIFT, 3)]))
    theta = torch.from_numpy(np.stack(maps).astype(np.float32)).to(image.device)
    return functional.affine_grid(theta, list(image.shape), align_corners=False)


def _rotation(angles: np.ndarray) -> np.ndarray:
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[[one, two], [one, two]] = np.cos(angle)
        step[one, two], step[two, one] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    return turn


def _recolour(
    image: Float[Tensor, "channel i j k"], rng: np.random.Generator
) -> Float[Tensor, "channel i j k"]:
    channels = []
    for channel in image:
        value = channel
        if rng.random() < 0.3:
            low, high = value.min(), value.max()
            span = (high - low).clamp(min=1e-6)
            value = ((value - low) / span) ** float(np.exp(rng.normal(0, 0.25))) * span + low
        value = value * float(np.exp(rng.normal(0, 0.15))) + float(rng.normal(0, 0.1))
        if rng.random() < 0.3:
            noise = rng.standard_normal(tuple(value.shape), np.float32)
            value = value + abs(float(rng.normal(0, 0.1))) * torch.from_numpy(noise).to(
                value.device
            )
        channels.append(value)
    return torch.stack(channels)


def restyle(image: _Patches, rng: np.random.Generator) -> _Patches:
    """Repaint patches: what was seen stays where it was, but looks otherwise.

    Args:
        image: Patches of one or several channels, each repainted on its own.
        rng: Draws a small kernel for each, and how far the image is mixed with what it makes.

    Returns:
        Tensors of the same shape, mean and standard deviation.

    Source:
        Xu et al. 2021, "Robust and generalizable visual representation learning via random
        convolutions", section 3.2 (mixed with the image); there in 2D.
    """
    flat = image.reshape(1, -1, *image.shape[2:])
    count = flat.shape[1]
    kernels = rng.standard_normal((count, 1, 3, 3, 3), np.float32)
    padded = functional.pad(flat, (1,) * 6, mode="replicate")
    painted = functional.conv3d(padded, torch.from_numpy(kernels).to(image), groups=count)
    share = torch.from_numpy(rng.random((1, count, 1, 1, 1), np.float32)).to(image)
    mixed = share * _standard(flat) + (1 - share) * _standard(painted)
    over = (2, 3, 4)
    middle = flat.mean(over, keepdim=True)
    return (_standard(mixed) * flat.std(over, keepdim=True) + middle).reshape(image.shape)


def _standard(image: _Patches) -> _Patches:
    middle = image.mean((2, 3, 4), keepdim=True)
    return (image - middle) / image.std((2, 3, 4), keepdim=True).clamp(min=1e-6)
