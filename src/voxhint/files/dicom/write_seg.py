"""DICOM segmentation objects: masks that lie on the slices of their series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from jaxtyping import Float32, Shaped, UInt8
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import format_number_as_ds

from voxhint.core.colours import rgb_of
from voxhint.core.errors import BadFileError
from voxhint.files.atomic import replacing
from voxhint.files.dicom.headers import quiet
from voxhint.files.dicom.source_series import Source
from voxhint.files.label_codes import Code, Concept, Segment, require_codes

Kind = Literal["binary", "fractional", "labelmap"]
"""How a mask is stored: bits, probabilities in steps of 1/255, or one number a voxel."""

_MAKER = "voxhint"
_SERIES_NUMBER = 900
"""Far from those that scanners give."""

_STEPS = 255
_LONGEST_LABEL = 64
_UTF_8 = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class Origin:
    """How masks came to be."""

    hinted: bool
    """Whether a person's hints for this very image decided part of it."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    """What tells the model: its hash, its seed."""


def write_seg(
    path: Path,
    values: UInt8[np.ndarray, "slice row column"] | Float32[np.ndarray, "class slice row column"],
    source: Source,
    segments: Sequence[Segment],
    *,
    kind: Kind,
    origin: Origin,
) -> None:
    """Write masks as a DICOM segmentation object of the patient and study of their series.

    Args:
        path: Ends in .dcm.
        values: Class numbers, background 0; for `fractional` the probability of each segment.
        source: The series they lie on.
        segments: What the classes 1, 2, ... are; those without a voxel are left out.
        kind: How to store them.
        origin: How they came to be.

    Raises:
        BadFileError: No segment has a voxel, or the series cannot be referred to.
    """
    require_codes(segments)
    stored, present = _numbered(values, len(segments), kind)
    if not present:
        msg = "the mask is empty, and a segmentation object holds one segment or more; leave it out"
        raise BadFileError(msg)
    described = [(segments[number - 1], segments[number - 1].code) for number in present]
    with quiet():
        images, placed = _in_files(source, stored)
        try:
            made = Segmentation(
                source_images=images,
                pixel_array=placed,
                segmentation_type=kind.upper(),
                segment_descriptions=[
                    _description(number, segment, code, origin)
                    for number, (segment, code) in enumerate(described, 1)
                    if code is not None
                ],
                series_instance_uid=UID(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=UID(),
                instance_number=1,
                manufacturer=_MAKER,
                manufacturer_model_name=_MAKER,
                software_versions=version(_MAKER),
                device_serial_number=version(_MAKER),
                max_fractional_value=_STEPS,
                content_description=f"Masks of {_MAKER}",
                content_label="SEGMENTATION",
                **_charset(segments),
            )
        except (AttributeError, KeyError, ValueError, TypeError) as error:  # it quotes headers
            msg = f"its headers are no good to refer to ({type(error).__name__}); export it again"
            raise BadFileError(msg) from None
        made.SeriesDescription = f"{_MAKER} masks"
        items = {int(item.SegmentNumber): item for item in made.SegmentSequence}
        for number, (_, code) in enumerate(described, 1):  # a label map describes background too
            _add_side(items[number], code)
        with replacing(path) as partial:
            made.save_as(partial)


def _numbered(
    values: Shaped[np.ndarray, "..."], count: int, kind: Kind
) -> tuple[Shaped[np.ndarray, "..."], list[int]]:
    """Return what is stored, in which segments are numbered without gaps, and which are there."""
    if kind == "fractional":
        steps = np.rint(values * _STEPS).astype(np.uint8)
        present = [number for number in range(1, count + 1) if steps[number - 1].any()]
        kept = steps[[number - 1 for number in present]]
        return np.moveaxis(kept, 0, -1).astype(np.float32) / _STEPS, present
    present = [number for number in range(1, count + 1) if (values == number).any()]
    numbers = np.zeros(count + 1, np.uint8)
    numbers[present] = np.arange(1, len(present) + 1)
    return numbers[values], present


def _charset(segments: Sequence[Segment]) -> dict[str, Any]:
    """Return how text is encoded: as in the series, unless a label needs more."""
    plain = all(segment.label.isascii() for segment in segments)
    return {} if plain else {"specific_character_set": _UTF_8}


def _in_files(
    source: Source, values: Shaped[np.ndarray, "slice ..."]
) -> tuple[list[Dataset], Shaped[np.ndarray, "frame ..."]]:
    """Return the files of a series, and values in the order of their frames.

    Raises:
        BadFileError: Frames lie in several files of many.
    """
    headers, place = list(source.headers), _shared_place(source)
    if "NumberOfFrames" not in headers[0]:
        for header in headers:
            header.ImageOrientationPatient = place.ImageOrientationPatient
            header.SliceThickness = place.SliceThickness
        return headers, values
    if len({plane.path for plane in source.planes}) > 1:
        msg = "the series is several files of many frames; export it as one, or as single slices"
        raise BadFileError(msg)
    if not headers[0].get("SharedFunctionalGroupsSequence"):
        headers[0].SharedFunctionalGroupsSequence = pydicom.Sequence([Dataset()])
    shared = headers[0].SharedFunctionalGroupsSequence
    facing, measures = Dataset(), Dataset()
    facing.ImageOrientationPatient = place.ImageOrientationPatient
    measures.SliceThickness, measures.PixelSpacing = place.SliceThickness, place.PixelSpacing
    shared[0].PlaneOrientationSequence = pydicom.Sequence([facing])
    shared[0].PixelMeasuresSequence = pydicom.Sequence([measures])
    frames = np.zeros((int(headers[0].NumberOfFrames), *values.shape[1:]), values.dtype)
    frames[[plane.frame for plane in source.planes]] = values
    return headers[:1], frames


def _shared_place(source: Source) -> Dataset:
    """Return what all slices share; headers may lack it, round it or say it for each frame."""
    first, last = source.planes[0], source.planes[-1]
    normal = np.cross(first.along[0], first.along[1])
    gap = float((last.position - first.position) @ normal) / (len(source.planes) - 1)
    thickness = first.traits["SliceThickness"] or gap
    place = Dataset()
    place.ImageOrientationPatient = [format_number_as_ds(float(x)) for x in first.along.ravel()]
    place.PixelSpacing = [format_number_as_ds(float(step)) for step in first.spacing[::-1]]
    place.SliceThickness = format_number_as_ds(float(thickness))
    return place


def _concept(word: Concept) -> CodedConcept:
    """Return a coded word as DICOM objects hold it."""
    return CodedConcept(word.value, word.scheme, word.meaning)


def _description(number: int, segment: Segment, code: Code, origin: Origin) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=segment.label[:_LONGEST_LABEL],
        segmented_property_category=_concept(code.category),
        segmented_property_type=_concept(code.type),
        algorithm_type="SEMIAUTOMATIC" if origin.hinted else "AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=_MAKER,
            family=codes.DCM.ArtificialIntelligence,
            version=version(_MAKER),
            parameters=dict(origin.parameters) or None,
        ),
        tracking_uid=UID(),
        tracking_id=segment.label[:_LONGEST_LABEL],
        display_color=CIELabColor.from_rgb(*rgb_of(segment.colour)),
    )


def _add_side(item: Dataset, code: Code | None) -> None:
    """Say of which side a paired organ is."""
    if code is not None and code.side is not None:
        modifier: Any = _concept(code.side)
        item.SegmentedPropertyTypeModifierCodeSequence = pydicom.Sequence([modifier])
