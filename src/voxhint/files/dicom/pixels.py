"""The values of DICOM slices: decoded, rescaled, padding lifted to air."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float32
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
from voxhint.files.dicom.pixel_padding import PADDING, lift_padding, padding_of
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
_TAGS = (*_STORED, *_SHAPE, *PADDING, "PixelData")
_WHOLE_BYTES = (8, 16, 32)
_GREY = ("MONOCHROME2", "MONOCHROME1")
PHYSICAL = ("CT", "PT")
"""Modalities whose values are a physical quantity, however they are shown."""

_DECODED = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian),
    *(DeflatedExplicitVRLittleEndian, RLELossless, *JPEGTransferSyntaxes),
    *(*JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes),
)


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
            lift_padding(values, padding_of(stored, data), ct=plane.modality == "CT")
            yield number, values.T.astype(np.float32)
