"""What tells slices of one series apart: contrast, scan and time."""

from collections.abc import Sequence

import numpy as np

from voxhint.files.dicom.headers import FREE, Plane

_CONTRAST = (
    *("ImageType", "ComplexImageComponent", "EchoTime", "EffectiveEchoTime", "EchoNumbers"),
    "DiffusionBValue",
)
"""Slices of MR that differ in one of these never make one image."""

SCAN = (
    *_CONTRAST,
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "TemporalPositionTimeOffset"),
    *("AcquisitionNumber", "FrameAcquisitionNumber", "StackID", "SequenceName", "InversionTime"),
    *("FlipAngle", "RepetitionTime", "KVP", "ConvolutionKernel", "SliceThickness"),
    *("SeriesNumber", "PatientPosition", "PixelRepresentation", "RescaleType", *FREE),
)
"""Slices that differ in one of these are of two scans where they lie among one another."""

_CLOCK = (
    *("SeriesTime", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime"),
    "FrameAcquisitionDateTime",
)
_HIDDEN = (*_CLOCK, *FREE)
"""When a patient was there, and what people wrote: compared, and never told."""

TIME = ("TriggerTime", "NominalCardiacTriggerDelayTime", *_CLOCK, "InstanceNumber")
"""What differs between scans, and may differ between the slices of one."""

_MEASURED = (
    *("EchoTime", "EffectiveEchoTime", "DiffusionBValue", "InversionTime", "FlipAngle"),
    *("RepetitionTime", "SliceThickness"),
)
_NEAR = 0.01  # of what is measured: values that differ by less are one, as some scanners round them
_TOLD = 4


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _classes(values: Sequence[str]) -> dict[str, str]:
    """Return for each value the first of those that are the same but for rounding."""
    numbers = {value: number for value in values if (number := _number(value)) is not None}
    classes = {value: value for value in values}
    first, last = "", 0.0
    for value, number in sorted(numbers.items(), key=lambda item: item[1]):
        if not first or abs(number - last) > _NEAR * max(abs(number), abs(last)):
            first = value
        classes[value], last = first, number
    return classes


def value_of(plane: Plane, trait: str) -> str:
    """Return a trait; of an image type, what says more than original and primary."""
    value = plane.traits[trait]
    return "\\".join(value.split("\\")[2:]) if trait == "ImageType" else value


def by_trait(planes: Sequence[Plane], trait: str) -> list[list[Plane]]:
    """Return slices by the value of a trait, in the order of the first of each.

    Returns:
        Groups; measured values that differ by rounding are one.
    """
    if trait == "InstanceNumber":
        return _passes(planes)
    values = [value_of(plane, trait) for plane in planes]
    classes = _classes(values) if trait in _MEASURED else {value: value for value in values}
    groups: dict[str, list[Plane]] = {}
    for plane, value in zip(planes, values, strict=True):
        groups.setdefault(classes[value], []).append(plane)
    return list(groups.values())


def _passes(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return the passes through the stack in which slices were numbered."""
    numbers = [_number(plane.traits["InstanceNumber"]) for plane in planes]
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(planes):
        return [list(planes)]
    order = sorted(range(len(planes)), key=lambda index: known[index])
    normal = np.cross(*planes[0].along)
    steps = np.diff([float(planes[index].position @ normal) for index in order])
    steps *= np.sign(np.median(np.sign(steps)))
    begins = np.cumsum([0, *(steps <= 0)])
    passes: dict[int, list[Plane]] = {}
    for index, begin in zip(order, begins, strict=True):
        passes.setdefault(int(begin), []).append(planes[index])
    return list(passes.values())


def split_contrast(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return slices by their contrast: magnitude and phase, echoes, b-values.

    Returns:
        Groups that share all of it.
    """
    groups = [list(planes)]
    # CT may tell with the image type how many rows were added up, from block to block of one scan
    for trait in _CONTRAST if planes[0].modality != "CT" else ():
        groups = [part for group in groups for part in by_trait(group, trait)]
    return groups


def numbered(values: Sequence[str]) -> list[str]:
    """Return for each value, which may not be told, which of the different ones it is."""
    order = list(dict.fromkeys(values))
    return [f"no. {order.index(value) + 1}" for value in values]


def told_of_each(planes: Sequence[Plane], trait: str) -> list[str]:
    """Return the values of a trait as they may be told.

    Returns:
        A text for each.
    """
    values = [value_of(plane, trait) for plane in planes]
    return numbered(values) if trait in _HIDDEN else [value or "none" for value in values]


def told_values(groups: Sequence[Sequence[Plane]], trait: str) -> str:
    """Return the values of a trait and how many slices have each, as text."""
    if trait == "InstanceNumber":
        return f"{len(groups)} passes"
    values = told_of_each([group[0] for group in groups], trait)
    told = [f"{value} in {len(group)}" for value, group in zip(values, groups, strict=True)]
    return ", ".join(told[:_TOLD]) + (", ..." if len(told) > _TOLD else "")
