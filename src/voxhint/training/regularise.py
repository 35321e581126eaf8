"""What training expects of a mask where no hint lies: borders that are short and follow the image.

Each term is a mean over voxels, so that its weight does not depend on the size of the patch.
"""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

_Classes = Float[Tensor, "batch class i j k"]
_Images = Float[Tensor, "batch channel i j k"]
_Gate = Float[Tensor, "batch 1 i j k"]
_Scalar = Float[Tensor, ""]
_Millimetres = tuple[float, float, float]
_Shift = tuple[int, int, int]

_DIRECTIONS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
_DILATIONS = (1, 2, 4, 8)  # voxels
_FAR = 3  # standard deviations of distance from which a pair no longer counts


def gated_crf(
    q: _Classes,
    image: _Images,
    *,
    spacing_mm: _Millimetres,
    gate: _Gate,
    sigma_mm: float = 6.0,
    sigma_intensity: float = 0.4,
) -> _Scalar:
    """Charge pairs of voxels that are close and look alike for having different labels.

    A pair at offset o costs K (1 - <q_i, q_j>) g_i g_j, with
    K = exp(-|o|^2 / (2 sigma_mm^2) - |I_i - I_j|^2 / (2 sigma_intensity^2)). The 13 half-neighbour
    directions at steps of 1, 2, 4 and 8 voxels stand for a dense neighbourhood: 52 shifts of the
    volume, one after the other. Offsets longer than 3 `sigma_mm` are left out.

    Args:
        q: Probability of each class.
        image: The patch as the network sees it; gets no gradient.
        spacing_mm: Of the patch.
        gate: 1 where the term acts; 0 in padding and where a hint proves the label.
        sigma_mm: Distance at which voxels stop being neighbours.
        sigma_intensity: Contrast that counts as an edge, in the units of the image; the default is
            about a tenth of the range of an image with a standard deviation of 1.

    Returns:
        Mean over the shifts of the mean cost of a pair; from 0 to 1.

    Source:
        Obukhov et al. 2019, "Gated CRF loss for weakly supervised semantic image segmentation";
        there in 2D, in pixels and with a dense neighbourhood.
    """
    q, image, gate = q.contiguous(), image.contiguous(), gate.contiguous()
    shifts = _shifts((q.shape[2], q.shape[3], q.shape[4]), spacing_mm, _FAR * sigma_mm)
    total, messages = q.new_zeros(()), torch.zeros_like(q)
    with torch.no_grad():
        for shift, away_mm in shifts:
            here, there = _ends(shift)
            contrast = (image[here] - image[there]).square_().sum(1, keepdim=True)
            near = -0.5 * (away_mm / sigma_mm) ** 2
            pull = contrast.mul_(-0.5 / sigma_intensity**2).add_(near).exp_()
            pull.mul_(gate[here]).mul_(gate[there]).div_(pull.numel() * len(shifts))
            total += pull.sum()
            messages[here].addcmul_(pull, q[there])
            messages[there].addcmul_(pull, q[here])
    # agreement = <q, messages> / 2, but its gradient is the messages: no shift has to be remembered
    return total - (q * messages).sum() + 0.5 * (q.detach() * messages).sum()


def _shifts(size: _Shift, spacing_mm: _Millimetres, most_mm: float) -> list[tuple[_Shift, float]]:
    """Return the offsets that fit into a patch and are not too long, each with its length."""
    shifts = []
    for dilation, (i, j, k) in itertools.product(_DILATIONS, _DIRECTIONS):
        shift = (dilation * i, dilation * j, dilation * k)
        away_mm = math.hypot(*(n * step for n, step in zip(shift, spacing_mm, strict=True)))
        if away_mm <= most_mm and all(
            abs(n) < length for n, length in zip(shift, size, strict=True)
        ):
            shifts.append((shift, away_mm))
    return shifts


def _ends(shift: _Shift) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where the first and the second voxels of all pairs at an offset lie."""
    ahead = (slice(None), slice(None), *(slice(max(n, 0), min(n, 0) or None) for n in shift))
    behind = (slice(None), slice(None), *(slice(max(-n, 0), min(-n, 0) or None) for n in shift))
    return behind, ahead
