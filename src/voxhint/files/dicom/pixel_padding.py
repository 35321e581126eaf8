"""Stored values that only fill a slice up around what was scanned."""

import numpy as np
import pydicom
from jaxtyping import Bool, Float64, Shaped

PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
"""Tags that tell which."""

_AIR_HU = -1024.0


def padding_of(
    stored: Shaped[np.ndarray, "row column"], data: pydicom.Dataset
) -> Bool[np.ndarray, "row column"]:
    """Return which stored values only fill the image up.

    Source:
        DICOM PS3.3, C.7.5.1.1.2: Pixel Padding Value and Pixel Padding Range Limit.
    """
    first = data.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=bool)
    last = data.get("PixelPaddingRangeLimit")
    # some writers sign it unlike the pixels, so it is wrapped into their type
    ends = np.array([first, first if last is None else last], dtype=np.int64).astype(stored.dtype)
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))


def lift_padding(
    values: Float64[np.ndarray, "row column"], padded: Bool[np.ndarray, "row column"], *, ct: bool
) -> None:
    """Lift padding to the value of air, so that it does not pass for something measured."""
    if not padded.any():
        return
    real = values[~padded]
    air = _AIR_HU if ct else min(0.0, float(real.min(initial=np.inf)))
    highest = real.max(initial=air)
    fill = values[padded]
    values[padded] = np.where(fill > highest, air, np.maximum(fill, air))
