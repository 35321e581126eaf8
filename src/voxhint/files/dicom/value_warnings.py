"""What is odd about the values of a stack: scale, empty slices, slices of two scans in turn."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from voxhint.files.dicom.headers import Plane
from voxhint.files.dicom.pixels import PHYSICAL

_NAMED = 3
_SPARSE = 4  # voxels of which one is looked at
_FEW = 6  # slices, of which no pattern can be told
_ALTERNATING = 1.5


def scale_doubts(planes: Sequence[Plane]) -> list[str]:
    """Return what is odd about the scale of values.

    Returns:
        Each as "finding; advice".
    """
    first, scales = planes[0], Counter(plane.rescale for plane in planes)
    if first.modality in PHYSICAL and not first.rescaled:
        unit = "Hounsfield" if first.modality == "CT" else "as wanted"
        return [
            f"{first.modality} without RescaleSlope and RescaleIntercept; stored values are taken "
            f"as they are, check that they are {unit}"
        ]
    if first.modality == "CT" and len(scales) > 1:
        told = [f"{slope:g} and {shift:g} in {n}" for (slope, shift), n in scales.most_common()]
        return [
            f"slices differ in RescaleSlope and RescaleIntercept ({', '.join(told[:_NAMED])}); "
            "each is scaled by its own, check its values"
        ]
    return []


def odd_slices(voxels: Float32[np.ndarray, "i j k"]) -> tuple[str, ...]:
    """Return which slices hold one value alone, and whether slices are of two scans in turn.

    Args:
        voxels: The values of a stack.

    Returns:
        Each as "finding; advice".
    """
    told = []
    blank = np.flatnonzero(np.ptp(voxels, axis=(0, 1)) == 0)
    if 0 < len(blank) < voxels.shape[2]:
        named = ", ".join(str(number + 1) for number in blank[:_NAMED])
        more = ", ..." if len(blank) > _NAMED else ""
        told.append(
            f"{len(blank)} of {voxels.shape[2]} slices hold one value alone (slice {named}{more}: "
            f"{voxels[0, 0, blank[0]]:g}); they may be damaged, export the series again or leave "
            "it so"
        )
    some = voxels[::_SPARSE, ::_SPARSE]
    if voxels.shape[2] < _FEW:
        return tuple(told)
    next_, second = (
        np.median(np.abs(some[:, :, step:] - some[:, :, :-step]).mean(axis=(0, 1)))
        for step in (1, 2)
    )
    if next_ > _ALTERNATING * second:
        told.append(
            f"every second slice is alike and neighbours differ (by {next_:.3g} against "
            f"{second:.3g} on average); check that they are of one scan"
        )
    return tuple(told)
