"""What the headers of a DICOM file say of its slices: one plane for each frame."""

import hashlib
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float64
from pydicom.tag import Tag
from pydicom.uid import UID

from voxhint.core.errors import BadFileError
from voxhint.files.problems import reading

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
FREE = ("ContrastBolusAgent", "ProtocolName", "SeriesDescription", "StudyInstanceUID")
"""Those in which anything may be written that names somebody: kept as digests."""

_TRAITS = (
    *("ImageType", "ComplexImageComponent", "EchoTime", "EffectiveEchoTime", "EchoNumbers"),
    *("DiffusionBValue", "InversionTime", "TemporalPositionIdentifier", "TemporalPositionIndex"),
    *("TemporalPositionTimeOffset", "AcquisitionNumber", "FrameAcquisitionNumber", "StackID"),
    *("SequenceName", "FlipAngle", "RepetitionTime", "KVP", "ConvolutionKernel", "SliceThickness"),
    *("TriggerTime", "NominalCardiacTriggerDelayTime", "SeriesNumber", "SeriesTime"),
    *("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "FrameAcquisitionDateTime"),
    *("InstanceNumber", "PatientPosition", "PixelRepresentation", "RescaleType", *FREE),
)
"""Tags of what tells stacks of one series apart."""

_FRAME_TYPE = ("FrameType", "ComplexImageComponent")
_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": (
        *("FrameAcquisitionNumber", "FrameAcquisitionDateTime", "TemporalPositionIndex"),
        "StackID",
    ),
    "MRImageFrameTypeSequence": _FRAME_TYPE,
    "CTImageFrameTypeSequence": _FRAME_TYPE,
    "PETFrameTypeSequence": _FRAME_TYPE,
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "MRTimingAndRelatedParametersSequence": ("FlipAngle", "RepetitionTime"),
    "TemporalPositionSequence": ("TemporalPositionTimeOffset",),
    "CardiacSynchronizationSequence": ("NominalCardiacTriggerDelayTime",),
    "CTXRayDetailsSequence": ("KVP",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTAcquisitionDetailsSequence": ("GantryDetectorTilt",),
    "UnassignedSharedConvertedAttributesSequence": _TRAITS,
    "UnassignedPerFrameConvertedAttributesSequence": _TRAITS,
}
"""Where the standard keeps each tag of a frame; private groups hold others of the same name."""

_VALUES = ("RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "ModalityLUTSequence")
_FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_OBJECT = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "FrameOfReferenceUID"),
    "NumberOfFrames",
)
_WHO = ("PatientID", "PatientName", "PatientBirthDate")
"""Decoded to tell patients apart, and kept as a digest alone."""

_MOSAIC = 0x0019100A  # Siemens: number of images in mosaic
_OTHER = ("FrameType", "GantryDetectorTilt", "NominalScannedPixelSpacing", "BurnedInAnnotation")
# nothing else is decoded, so that nothing that names a patient can reach a message
_TAGS_OF_ALL = (*_OBJECT, *_PLACE, *_TRAITS, *_VALUES, *_OTHER, *_WHO)
_TAGS = (*_TAGS_OF_ALL, *_FRAMES)
_SKEW = 1e-3  # direction cosines are written with about 6 digits
_TYPES = ("ImageType", "FrameType")
_MASKS = ("SEG", "RTDOSE")
"""Modalities that have planes, and are no images."""

CAPTURE = "Secondary Capture"
"""A picture of whatever kind; some tools write series as such."""

_COPY = "export or copy it again, or remove it"

_SECTIONS = ("CT", "MR", "Positron Emission Tomography", "PET")
"""How kinds of image begin whose slices have a place; one without lost it."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One slice: where it lies in DICOM's LPS millimetres, and how its values are scaled."""

    path: Path
    name: str
    """What messages call the file."""

    frame: int
    """Its number in the file, from 0."""

    patient: str
    """A digest of who it is."""

    series: str
    instance: str
    """The SOP instance UID of its file; with the frame's number, that of the slice."""

    modality: str
    kind: str
    """The name of its SOP class."""

    size: tuple[int, int]
    """Columns and rows."""

    position: Float64[np.ndarray, "3"]
    along: Float64[np.ndarray, "2 3"]
    """Unit steps to the next column and to the next row."""

    spacing: Float64[np.ndarray, "2"]
    """Millimetres to the next column and to the next row."""

    rescale: tuple[float, float]
    """Slope and intercept."""

    rescaled: bool
    """Whether the header tells both; else they are 1 and 0."""

    photometric: str
    reference: str
    """The frame of reference; positions of two of them cannot be compared."""

    gantry_degrees: float
    """The tilt the header tells; 0 where it tells none."""

    burned: bool
    """Whether its header says that text is burnt into the pixels."""

    traits: Mapping[str, str]
    """Acquisition, time, echo and the like: what tells stacks in one place apart."""


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A DICOM file that holds no slice of a stack."""

    modality: str
    why: str
    mend: str = ""
    """What to do about it; empty where it is no slice by design, and may lie there."""


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


def read_tags(path: Path, tags: Iterable[str | int], *, pixels: bool = False) -> pydicom.Dataset:
    """Return some tags of a file, and no others.

    Args:
        path: A file that begins as DICOM does; pydicom's errors pass through.
        tags: Keywords, or numbers of private ones.
        pixels: Whether to read as far as the pixels.

    Returns:
        The tags that are there.
    """
    wanted = [Tag(tag) for tag in tags]
    return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=wanted, force=True)


def frame_facts(header: pydicom.Dataset) -> list[dict[str, Any]]:
    """Return what is said of each frame: by the file, for all frames, for this one.

    Returns:
        For each frame the values of the tags that are read here.

    Raises:
        ValueError: It tells of another number of frames than it holds.

    Source:
        DICOM PS3.3, C.7.6.16: shared and per-frame functional groups.
    """
    top = {tag: header[tag].value for tag in _TAGS_OF_ALL if tag in header}
    if "NominalScannedPixelSpacing" in top:  # as GDCM and ITK write
        top.setdefault("PixelSpacing", top["NominalScannedPixelSpacing"])
    frames = int(header.get("NumberOfFrames") or 1)
    if not header.get(_FRAMES[1]):
        return [top] * frames
    top.pop("ImagePositionPatient", None)  # of no frame in particular
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
        for group, tags in _GROUPS.items()
        if groups.get(group)
        for item in [groups[group].value[0]]
        for tag in tags
        if tag in item
    }


def read_planes(path: Path, name: str) -> tuple[Plane, ...] | RejectedFile:
    """Read the headers of a DICOM file.

    Args:
        path: A file that begins as DICOM does.
        name: What messages call it; its own name may name a patient.

    Returns:
        A plane for each frame; or why the file holds none.
    """
    with reading(Path(name)), quiet():
        header = read_tags(path, (*_TAGS, _MOSAIC))
        facts = frame_facts(header)
        modality, kind = str(header.get("Modality") or "OT"), _kind(header)
        if why := _no_slice(header, modality, kind, facts):
            return why
        patient = _digest(str(header.get(tag) or "").strip(" ^").casefold() for tag in _WHO)
        return tuple(
            _plane(_File(path, name, number, patient, modality, kind), said)
            for number, said in enumerate(facts)
        )


@dataclass(frozen=True, slots=True)
class _File:
    """What is known of a plane before its geometry."""

    path: Path
    name: str
    frame: int
    patient: str
    modality: str
    kind: str


def _kind(header: pydicom.Dataset) -> str:
    """Return the name of the SOP class, with nothing that a file could make up."""
    uid = UID(header.get("SOPClassUID") or "")
    return uid.name if uid.name != uid else ""


def _digest(said: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(said).encode(), digest_size=16).hexdigest()


def _no_slice(
    header: pydicom.Dataset, modality: str, kind: str, facts: Sequence[Mapping[str, Any]]
) -> RejectedFile | None:
    """Return why a file holds no slice of a stack, or None if it does."""
    if "Rows" not in header or modality in _MASKS:
        return _no_image(modality, kind)
    types = {str(word) for said in facts for tag in _TYPES for word in _words(said.get(tag))}
    if "LOCALIZER" in types:
        return RejectedFile(modality, "a localiser")
    if "MOSAIC" in types or _MOSAIC in header:
        why = "a Siemens mosaic, all slices tiled in one image"
        return RejectedFile(modality, why, "convert the series to NIfTI with dcm2niix")
    return _placeless(header, modality, kind, facts)


def _no_image(modality: str, kind: str) -> RejectedFile:
    """Return why a file holds no image: by its kind, or because it lost it."""
    if not kind or (kind.endswith(" Image Storage") and CAPTURE not in kind):
        return RejectedFile(
            modality, f"no slice ({kind or 'of unknown kind'}, without Rows)", _COPY
        )
    return RejectedFile(modality, f"no slice ({kind})")


def _placeless(
    header: pydicom.Dataset, modality: str, kind: str, facts: Sequence[Mapping[str, Any]]
) -> RejectedFile | None:
    """Return which tags of a place a file lacks, or None if it has all."""
    missing = [tag for tag in _PLACE if any(not said.get(tag) for said in facts)]
    if not missing and len(facts) > 1 and not header.get(_FRAMES[1]):
        missing = ["position for each frame"]
    if not missing:
        return None
    section = kind.removeprefix("Legacy Converted ").removeprefix("Enhanced ")
    told = f"without {', '.join(missing)}"
    if not kind or section.startswith(_SECTIONS):
        return RejectedFile(modality, told, _COPY)
    return RejectedFile(modality, f"no slice ({kind}), {told}")


def _words(value: object) -> list[str]:
    """Return the values of a tag as text, whether it has one or many."""
    if value is None or isinstance(value, str):
        return [value] if value else []
    return [str(word) for word in value] if isinstance(value, Iterable) else [str(value)]


def _plane(file: _File, said: Mapping[str, Any]) -> Plane:
    """Return one plane.

    Raises:
        BadFileError: Its rows and columns make no right-angled grid, or its values are in a table.
    """
    down, across = (float(value) for value in said["PixelSpacing"])
    along = np.array(said["ImageOrientationPatient"], dtype=np.float64).reshape(2, 3)
    position = np.array(said["ImagePositionPatient"], dtype=np.float64)
    rescale, rescaled = _rescale(file.name, said)
    skew = float(np.abs(along @ along.T - np.eye(2)).max())
    if not (skew <= _SKEW and min(down, across) > 0 and np.isfinite(position).all()):
        msg = f"{file.name}: rows and columns are no right-angled grid; repair the headers"
        raise BadFileError(msg)
    return Plane(
        path=file.path,
        name=file.name,
        frame=file.frame,
        patient=file.patient,
        series=str(said.get("SeriesInstanceUID") or file.path.parent),
        instance=str(said.get("SOPInstanceUID") or ""),
        modality=file.modality,
        kind=file.kind,
        size=(int(said["Columns"]), int(said["Rows"])),
        position=position,
        along=along,
        spacing=np.array([across, down]),
        rescale=rescale,
        rescaled=rescaled,
        photometric=str(said.get("PhotometricInterpretation", "MONOCHROME2")),
        reference=str(said.get("FrameOfReferenceUID", "")),
        gantry_degrees=float(said.get("GantryDetectorTilt") or 0),
        burned=str(said.get("BurnedInAnnotation", "")).upper() == "YES",
        traits=_traits(said),
    )


def _rescale(name: str, said: Mapping[str, Any]) -> tuple[tuple[float, float], bool]:
    """Return slope and intercept, and whether the header tells both.

    Raises:
        BadFileError: Values are in a table.
    """
    slope, intercept = said.get("RescaleSlope"), said.get("RescaleIntercept")
    rescale = (1.0 if slope is None else float(slope), float(intercept or 0))
    if said.get("ModalityLUTSequence") or not rescale[0] or not np.isfinite(rescale).all():
        msg = f"{name}: values are scaled by a table, or by no number; export plain values"
        raise BadFileError(msg)
    return rescale, slope is not None and intercept is not None


def _traits(said: Mapping[str, Any]) -> dict[str, str]:
    """Return what a header tells of a slice's contrast and time."""
    types = said.get("FrameType") or said.get("ImageType")
    told = {tag: "\\".join(_words(said.get(tag))) for tag in _TRAITS}
    free = {tag: _digest([told[tag]]) for tag in FREE if told[tag]}
    return {**told, "ImageType": "\\".join(_words(types)), **free}
