"""The unit of a channel: taken from its name, and doubted where values or headers disagree."""

import re
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from voxhint.core.volume import Unit

_FLAT_HU = 50.0  # between water and soft tissue alone: no scan of a body spans less
_AIR_HU = (-1100.0, -900.0)
_LEAST_AIR = 0.05  # share of voxels
_METAL_HU = 32_768.0
_FILLER_HU = -3100.0  # some scanners write the corners outside their field as -3024 or -2048


def unit_of(channel: str) -> Unit:
    """Return the unit of a channel: Hounsfield where its name says CT, otherwise arbitrary."""
    words = re.split("[^a-z]+", channel.lower())
    return "HU" if "ct" in words or "CT" in channel.replace("SPECT", "") else "a.u."


def odd_values(voxels: Float32[np.ndarray, "i j k"], channel: str) -> Iterator[str]:
    """Yield how values speak against the unit that the name of their channel tells.

    Args:
        voxels: Without those that are no data.
        channel: Its name in the study; of one without a name nothing is told.
    """
    low, high = float(voxels.min()), float(voxels.max())
    if not channel or low == high:
        return
    if unit_of(channel) == "HU" and (low >= 0 or high - low < _FLAT_HU):
        yield (
            f"values from {low:g} to {high:g} are read in HU, as the channel is called "
            f"'{channel}', and air is -1000 HU; export it with its rescale applied, or call the "
            "channel otherwise"
        )
    elif unit_of(channel) != "HU" and _looks_like_ct(voxels, low, high):
        yield (
            f"values from {low:g} to {high:g} look like HU, and are read as of no unit, as the "
            f"channel is called '{channel}'; if it is CT, say so in its name"
        )


def _looks_like_ct(voxels: Float32[np.ndarray, "i j k"], low: float, high: float) -> bool:
    """Return whether values reach from air to something in the body, and much is air."""
    if not _FILLER_HU <= low <= _AIR_HU[1] or not 0 < high <= _METAL_HU:
        return False
    air = float(np.mean((voxels >= _AIR_HU[0]) & (voxels <= _AIR_HU[1])))
    return air >= _LEAST_AIR


def odd_header(modality: str, rescaled_to: str, channel: str) -> Iterator[str]:
    """Yield how a DICOM header speaks against the unit that the name of a channel tells.

    Args:
        modality: Such as CT.
        rescaled_to: What values are after rescaling, as HU or US (unspecified); often not told.
        channel: Its name in the study; of one without a name nothing is told.
    """
    if not channel:
        return
    if unit_of(channel) == "HU":
        if rescaled_to not in ("", "HU", "US"):
            yield (
                f"headers say that values are {rescaled_to}, and they are read in HU, as the "
                f"channel is called '{channel}'; call it otherwise"
            )
    elif modality == "CT" and rescaled_to in ("", "HU"):
        yield (
            f"headers say CT, and values are read as of no unit, as the channel is called "
            f"'{channel}'; call it CT"
        )
