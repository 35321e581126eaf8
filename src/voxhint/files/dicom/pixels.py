"""The values of DICOM slices: decoded, rescaled, padding turned to air."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Bool, Float32, Float64, Shaped
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from voxhint.core.errors import BadFileError
from voxhint.files.dicom.headers import Plane, quiet, read_tags
from voxhint.files.problems import reading

_STORED = ("BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel")
_SHAPE = (
    "HighBit",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PlanarConfiguration",
)
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_TAGS = (*_STORED, *_SHAPE, *_PADDING, "PixelData")
_WHOLE_BYTES = (8, 16, 32)
_GREY = ("MONOCHROME2", "MONOCHROME1")
PHYSICAL = ("CT", "PT")
"""Modalities whose values are a physical quantity, however they are shown."""

_DECODED = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian),
    *(DeflatedExplicitVRLittleEndian, RLELossless, *JPEGTransferSyntaxes),
    *(*JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes),
)
_AIR_HU = -1024.0


def _flaw(data: pydicom.Dataset, plane: Plane) -> str:
    """Return why the pixels would not be read rightly, or nothing."""
    allocated, stored = int(data.BitsAllocated), int(data.BitsStored)
    syntax = data.file_meta.TransferSyntaxUID
    inverted = plane.photometric == "MONOCHROME1" and plane.modality not in PHYSICAL
    if inverted or plane.photometric not in _GREY:
        return f"is {plane.photometric}"
    if allocated not in _WHOLE_BYTES or int(data.get("HighBit", stored - 1)) != stored - 1:
        return f"packs {stored} bits into {allocated}"
    if "PixelData" not in data:
        return "holds no pixels"
    if syntax not in _DECODED or not get_decoder(syntax).is_available:
        return f"is compressed as {syntax.name}"
    return ""


def _open(plane: Plane) -> pydicom.Dataset:
    """Return the file of a plane.

    Raises:
        BadFileError: Its pixels would not be read rightly.
    """
    data = read_tags(plane.path, _TAGS, pixels=True)
    if "TransferSyntaxUID" not in data.file_meta:  # as in files of the time before preambles
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    missing = [tag for tag in (*_STORED, "Rows", "Columns") if data.get(tag) is None]
    if flaw := f"lacks {', '.join(missing)}" if missing else _flaw(data, plane):
        msg = f"{plane.name}: {flaw}, and cannot be read; export plain grey values"
        raise BadFileError(msg)
    return data


def _padded(
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


def _to_air(
    values: Float64[np.ndarray, "row column"], padded: Bool[np.ndarray, "row column"], *, ct: bool
) -> None:
    """Lift padding to the value of air, so that it does not pass for something measured."""
    real = values[~padded]
    air = _AIR_HU if ct else min(0.0, float(real.min(initial=np.inf)))
    highest = real.max(initial=air)
    fill = values[padded]
    values[padded] = np.where(fill > highest, air, np.maximum(fill, air))


def plane_values(
    planes: Iterable[Plane],
) -> Iterator[tuple[int, Float32[np.ndarray, "column row"]]]:
    """Read the values of slices, each file once where its frames follow one another.

    Yields:
        The number of a slice among those given, and its values.

    Raises:
        BadFileError: A slice is in colour or cannot be decoded.

    Source:
        DICOM PS3.3, C.11.1.1.2: value = RescaleSlope x stored + RescaleIntercept.
    """
    path, data, frames = None, pydicom.Dataset(), np.empty((0, 0, 0))
    for number, plane in sorted(enumerate(planes), key=lambda item: str(item[1].path)):
        with reading(Path(plane.name)), quiet():
            if plane.path != path:
                path, data = plane.path, _open(plane)
                frames = data.pixel_array.reshape(-1, plane.size[1], plane.size[0])
            stored = frames[plane.frame]
            values = stored * np.float64(plane.rescale[0]) + plane.rescale[1]
            padded = _padded(stored, data)
            if padded.any():
                _to_air(values, padded, ct=plane.modality == "CT")
            yield number, values.T.astype(np.float32)
