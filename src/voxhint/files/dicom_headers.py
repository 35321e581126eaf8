"""What the headers of a DICOM file say of its slices: one plane for each frame."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float64
from pydicom.uid import UID

from voxhint.core.errors import BadFileError
from voxhint.files.problems import reading

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_TRAITS = (
    *("AcquisitionNumber", "FrameAcquisitionNumber", "TemporalPositionIdentifier"),
    *("TemporalPositionIndex", "StackID", "EchoNumbers", "EffectiveEchoTime", "DiffusionBValue"),
    *("ImageType", "FrameType", "TriggerTime", "AcquisitionTime"),
)
_VALUES = ("RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "ModalityLUTSequence")
_FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_OBJECT = ("SOPClassUID", "Modality", "SeriesInstanceUID", "FrameOfReferenceUID", "NumberOfFrames")
# nothing else is decoded, so that nothing that names a patient can reach a message
_TAGS = (*_OBJECT, *_PLACE, *_TRAITS, *_VALUES, *_FRAMES, "GantryDetectorTilt")
_SKEW = 1e-3  # direction cosines are written with about 6 digits
_TYPES = ("ImageType", "FrameType")
_MASKS = ("SEG", "RTDOSE")
"""Modalities that have planes, and are no images."""

_BARE = b"\x08\x00"
"""How a file begins that lacks the preamble of later DICOM: with group 0008."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One slice: where it lies in DICOM's LPS millimetres, and how its values are scaled."""

    path: Path
    name: str
    """What messages call the file."""

    frame: int
    """Its number in the file, from 0."""

    series: str
    modality: str
    size: tuple[int, int]
    """Columns and rows."""

    position: Float64[np.ndarray, "3"]
    along: Float64[np.ndarray, "2 3"]
    """Unit steps to the next column and to the next row."""

    spacing: Float64[np.ndarray, "2"]
    """Millimetres to the next column and to the next row."""

    rescale: tuple[float, float]
    """Slope and intercept."""

    photometric: str
    reference: str
    """The frame of reference; positions of two of them cannot be compared."""

    gantry_degrees: float
    """The tilt the header tells; 0 where it tells none."""

    traits: tuple[str, ...]
    """Acquisition, time, echo and the like: what tells stacks in one place apart."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A DICOM file that holds no slice of a stack."""

    series: str
    modality: str
    why: str
    harmless: bool
    """Whether it is no slice by design, and not one whose place is lost."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from quoting odd header values in warnings and logs."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM does, whatever its name."""
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or head.startswith(_BARE)


def read_tags(path: Path, tags: tuple[str, ...], *, pixels: bool = False) -> pydicom.Dataset:
    """Return some tags of a file, and no others.

    Args:
        path: The file; pydicom's errors pass through.
        tags: Keywords.
        pixels: Whether to read as far as the pixels.

    Returns:
        The tags that are there.
    """
    return pydicom.dcmread(
        path, stop_before_pixels=not pixels, specific_tags=list(tags), force=is_dicom(path)
    )


def _frame_facts(header: pydicom.Dataset) -> list[dict[str, Any]]:
    """Return what is said of each frame: by the file, for all frames, for this one.

    Raises:
        ValueError: It tells of another number of frames than it holds.

    Source:
        DICOM PS3.3, C.7.6.16: shared and per-frame functional groups.
    """
    top = {tag: header[tag].value for tag in _TAGS if tag in header and tag not in _FRAMES}
    frames = int(header.get("NumberOfFrames") or 1)
    if not header.get(_FRAMES[1]):
        return [top] * frames
    shared = _flat(header[_FRAMES[0]].value[0]) if header.get(_FRAMES[0]) else {}
    each = header[_FRAMES[1]].value
    if len(each) != frames:
        msg = f"headers of {len(each)} frames where it holds {frames}"
        raise ValueError(msg)
    return [{**top, **shared, **_flat(frame)} for frame in each]


def _flat(groups: pydicom.Dataset) -> dict[str, Any]:
    """Return the tags we read of all functional groups of a frame."""
    return {
        tag: item[tag].value
        for group in groups
        if group.VR == "SQ" and group.value
        for item in [group.value[0]]
        for tag in _TAGS
        if tag in item
    }


def read_planes(path: Path, name: str) -> tuple[Plane, ...] | Aside:
    """Read the headers of a DICOM file.

    Args:
        path: The file.
        name: What messages call it; its own name may name a patient.

    Returns:
        A plane for each frame; or why the file holds none.
    """
    with reading(Path(name)), quiet():
        header = read_tags(path, _TAGS)
        modality, series = str(header.get("Modality", "")), str(header.get("SeriesInstanceUID", ""))
        kind = UID(header.get("SOPClassUID") or "").name
        if "Rows" not in header or modality in _MASKS or "Secondary Capture" in kind:
            lost = kind.endswith(" Image Storage") and "Secondary Capture" not in kind
            why = f"no slice ({kind or 'of unknown kind'})"
            return Aside(series, modality, why, harmless=bool(kind) and not lost)
        facts = _frame_facts(header)
        if any("LOCALIZER" in (said.get(tag) or ()) for said in facts for tag in _TYPES):
            return Aside(series, modality, "a localiser", harmless=True)
        missing = [tag for tag in _PLACE if any(not said.get(tag) for said in facts)]
        if not missing and len(facts) > 1 and not header.get(_FRAMES[1]):
            missing = ["position for each frame"]
        if missing:
            return Aside(series, modality, f"without {', '.join(missing)}", harmless=False)
        return tuple(
            _plane(path, name, number, series or str(path.parent), said)
            for number, said in enumerate(facts)
        )


def _plane(path: Path, name: str, frame: int, series: str, said: Mapping[str, Any]) -> Plane:
    """Return one plane.

    Raises:
        BadFileError: Its rows and columns make no right-angled grid, or its values are in a table.
    """
    down, across = (float(value) for value in said["PixelSpacing"])
    along = np.array(said["ImageOrientationPatient"], dtype=np.float64).reshape(2, 3)
    position = np.array(said["ImagePositionPatient"], dtype=np.float64)
    slope, intercept = said.get("RescaleSlope"), said.get("RescaleIntercept")
    rescale = (1.0 if slope is None else float(slope), float(intercept or 0))
    skew = float(np.abs(along @ along.T - np.eye(2)).max())
    finding = ""
    if not (skew <= _SKEW and min(down, across) > 0 and np.isfinite(position).all()):
        finding = "rows and columns are no right-angled grid; repair the headers"
    elif said.get("ModalityLUTSequence") or not rescale[0] or not np.isfinite(rescale).all():
        finding = "values are scaled by a table, or by no number; export plain values"
    if finding:
        msg = f"{name}: {finding}"
        raise BadFileError(msg)
    return Plane(
        path=path,
        name=name,
        frame=frame,
        series=series,
        modality=str(said.get("Modality", "")),
        size=(int(said["Columns"]), int(said["Rows"])),
        position=position,
        along=along,
        spacing=np.array([across, down]),
        rescale=rescale,
        photometric=str(said.get("PhotometricInterpretation", "MONOCHROME2")),
        reference=str(said.get("FrameOfReferenceUID", "")),
        gantry_degrees=float(said.get("GantryDetectorTilt") or 0),
        traits=tuple(str(said.get(tag, "")) for tag in _TRAITS),
    )
