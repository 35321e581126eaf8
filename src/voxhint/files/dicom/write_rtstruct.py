"""RT structure sets: masks as closed contours on the slices of their series."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from voxhint.core.colours import rgb_of
from voxhint.core.errors import BadFileError
from voxhint.files.atomic import replacing
from voxhint.files.dicom.contours import Ring, outlines
from voxhint.files.dicom.headers import Plane, quiet
from voxhint.files.dicom.source_series import Source
from voxhint.files.label_codes import Segment

_MAKER = "voxhint"
_SERIES_NUMBER = 901
_LONGEST_LABEL = 64
_PATIENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Taken from the series, as it is the same patient and study."""

_DECIMALS = 5  # of a millimetre; a number has 16 characters at most
_STUDY = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, which this reference must name


def write_rtstruct(
    path: Path,
    classes: UInt8[np.ndarray, "slice row column"],
    source: Source,
    segments: Sequence[Segment],
    *,
    hinted: bool,
) -> None:
    """Write masks as an RT structure set of the patient and study of their series.

    Corners lie midway between pixel centres, so each contour holds exactly the centres of its
    mask's pixels; a hole is a keyhole (see `contours.outlines`).

    Args:
        path: Ends in .dcm.
        classes: Class numbers, background 0.
        source: The series they lie on.
        segments: What the classes 1, 2, ... are; those without a voxel are left out.
        hinted: Whether a person's hints for this very image decided part of it.

    Raises:
        BadFileError: No segment has a voxel, or the series cannot be referred to.
    """
    present = [number for number in range(1, len(segments) + 1) if (classes == number).any()]
    if not present:
        msg = "the mask is empty, and a structure set holds one structure or more; leave it out"
        raise BadFileError(msg)
    with quiet():
        data = _bare(source)
        made = "SEMIAUTOMATIC" if hinted else "AUTOMATIC"
        for roi, number in enumerate(present, 1):
            segment = segments[number - 1]
            data.StructureSetROISequence.append(_roi(roi, segment, source, made))
            data.ROIContourSequence.append(_contours(roi, segment, classes == number, source))
            data.RTROIObservationsSequence.append(_observation(roi, segment))
        with replacing(path) as partial:
            data.save_as(partial, enforce_file_format=True)


def _bare(source: Source) -> FileDataset:
    """Return a structure set without structures."""
    header, now = source.headers[0], datetime.now(tz=UTC).astimezone()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian  # explicit values end at 64 KiB, contours not
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    for tag in _PATIENT:
        setattr(data, tag, header.get(tag))
    data.Modality, data.Manufacturer, data.ManufacturerModelName = "RTSTRUCT", _MAKER, _MAKER
    data.SoftwareVersions = version(_MAKER)
    data.SeriesInstanceUID, data.SeriesNumber = generate_uid(), _SERIES_NUMBER
    data.SeriesDescription, data.OperatorsName, data.InstanceNumber = f"{_MAKER} masks", "", 1
    data.StructureSetLabel = _MAKER
    data.StructureSetDate = data.InstanceCreationDate = now.strftime("%Y%m%d")
    data.StructureSetTime = data.InstanceCreationTime = now.strftime("%H%M%S")
    data.ApprovalStatus = "UNAPPROVED"
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = header.FrameOfReferenceUID, ""
    data.ReferencedFrameOfReferenceSequence = Items([_referred(source)])
    data.StructureSetROISequence, data.ROIContourSequence = Items(), Items()
    data.RTROIObservationsSequence = Items()
    return data


def _referred(source: Source) -> Dataset:
    """Return the frame of reference, study, series and slices that contours lie on."""
    header = source.headers[0]
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = header.SeriesInstanceUID
    slices = range(len(source.planes))
    series.ContourImageSequence = Items([_image(source, number) for number in slices])
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY, header.StudyInstanceUID
    study.RTReferencedSeriesSequence = Items([series])
    frame.FrameOfReferenceUID = header.FrameOfReferenceUID
    frame.RTReferencedStudySequence = Items([study])
    return frame


def _image(source: Source, number: int) -> Dataset:
    header, item = source.headers[number], Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if "NumberOfFrames" in header:
        item.ReferencedFrameNumber = source.planes[number].frame + 1
    return item


def _roi(number: int, segment: Segment, source: Source, made: str) -> Dataset:
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = source.headers[0].FrameOfReferenceUID
    item.ROIName = segment.label[:_LONGEST_LABEL]
    item.ROIGenerationAlgorithm = made
    return item


def _observation(number: int, segment: Segment) -> Dataset:
    item = Dataset()
    item.ObservationNumber, item.ReferencedROINumber = number, number
    item.ROIObservationLabel = segment.label[:16]
    item.RTROIInterpretedType, item.ROIInterpreter = "", ""
    return item


def _contours(number: int, segment: Segment, mask: np.ndarray, source: Source) -> Dataset:
    """Return the contours of a structure, slice by slice."""
    item = Dataset()
    item.ROIDisplayColor = list(rgb_of(segment.colour))
    item.ReferencedROINumber = number
    item.ContourSequence = Items(
        [
            _contour(ring, source, slice_)
            for slice_ in np.flatnonzero(mask.any(axis=(1, 2))).tolist()
            for ring in outlines(mask[slice_])
        ]
    )
    return item


def _contour(ring: Ring, source: Source, slice_: int) -> Dataset:
    item = Dataset()
    item.ContourImageSequence = Items([_image(source, slice_)])
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(ring)
    places = _places_mm(ring, source.planes[slice_])
    item.ContourData = [f"{value:.{_DECIMALS}f}" for value in places.ravel()]
    return item


def _places_mm(ring: Ring, plane: Plane) -> np.ndarray:
    """Return places on a slice in DICOM's LPS millimetres (PS3.3, equation C.7.6.2.1-1)."""
    across, down = plane.along * plane.spacing[:, None]
    return np.asarray(plane.position + ring[:, 1:] * across + ring[:, :1] * down)
