"""DICOM series: one folder, one even stack of slices, or a refusal that says why."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float32, Float64

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.files.itk import affine_of
from voxhint.files.problems import reading

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_HEADER = [*_PLACE, "SeriesInstanceUID", "ImageType", "NumberOfFrames"]
# only these are ever decoded: nothing that names a patient can reach a message
_PIXELS = [
    *_HEADER,
    *("RescaleSlope", "RescaleIntercept", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
]
_NOTES = (".txt", ".md", ".xml", ".json", ".csv", ".html", ".pdf", ".png", ".jpg")
_ANGLE = 1e-3  # direction cosines are written with about 6 digits
_SAME_MM = 1e-2
_UNEVEN = 0.01  # of the median gap
_TILT_DEGREES = 0.5
_FEWEST = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """The place of one slice, in DICOM's LPS millimetres."""

    path: Path
    series: str
    localiser: bool
    size: tuple[int, int]
    """Columns and rows."""

    position: Float64[np.ndarray, "3"]
    along: Float64[np.ndarray, "2 3"]
    """Unit steps to the next column and to the next row."""

    spacing: Float64[np.ndarray, "2"]
    """Millimetres to the next column and to the next row."""


def _dataset(path: Path, *, pixels: bool) -> pydicom.Dataset:
    return pydicom.dcmread(
        path, stop_before_pixels=not pixels, specific_tags=list(_PIXELS if pixels else _HEADER)
    )


def _slice(path: Path) -> _Slice:
    """Return the place of one slice.

    Raises:
        BadFileError: It says not where it lies, or holds several frames.
    """
    with reading(path):
        header = _dataset(path, pixels=False)
        if int(header.get("NumberOfFrames") or 1) > 1:
            msg = f"{path.name}: is a multi-frame DICOM, not read yet; convert it to .nii.gz"
            raise BadFileError(msg)
        missing = [name for name in _PLACE if not header.get(name)]
        if missing:
            msg = f"{path.name}: has no {', '.join(missing)}; keep image slices of one series only"
            raise BadFileError(msg)
        down, across = (float(value) for value in header.PixelSpacing)
        return _Slice(
            path=path,
            series=str(header.get("SeriesInstanceUID", "")),
            localiser="LOCALIZER" in (header.get("ImageType") or []),
            size=(int(header.Columns), int(header.Rows)),
            position=np.array(header.ImagePositionPatient, dtype=np.float64),
            along=np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3),
            spacing=np.array([across, down]),
        )


def _members(folder: Path) -> list[_Slice]:
    """Return every slice in a folder; notes beside them are passed over.

    Raises:
        BadFileError: No slice, or a damaged one, is there.
    """
    slices = []
    for path in sorted(folder.iterdir()):
        beside = path.name.startswith(".") or path.name == "DICOMDIR"
        if beside or path.suffix.lower() in _NOTES or not path.is_file():
            continue
        try:
            slices.append(_slice(path))
        except BadFileError as error:
            msg = f"{folder.name}: {error}"
            raise BadFileError(msg) from error
    if len(slices) < _FEWEST:
        msg = f"{folder.name}: holds {len(slices)} DICOM slices; a series needs at least {_FEWEST}"
        raise BadFileError(msg)
    return slices


def _require_alike(folder: Path, slices: list[_Slice]) -> None:
    """Refuse slices that do not belong in one stack.

    Raises:
        BadFileError: Two of them differ in what a stack shares.
    """
    first = slices[0]
    series = Counter(item.series for item in slices)
    localisers = [item.path.name for item in slices if item.localiser]
    turned = max(float(np.abs(item.along - first.along).max()) for item in slices)
    zoomed = max(float(np.abs(item.spacing - first.spacing).max()) for item in slices)
    skew = float(np.abs(first.along @ first.along.T - np.eye(2)).max())
    if len(series) > 1:
        names = ", ".join(f"{uid} ({count} slices)" for uid, count in sorted(series.items()))
        finding = f"holds {len(series)} series: {names}; keep one series in the folder"
    elif localisers:
        finding = f"holds localisers ({', '.join(localisers[:3])}); keep the slices only"
    elif len({item.size for item in slices}) > 1:
        sizes = sorted({f"{item.size[0]} x {item.size[1]}" for item in slices})
        finding = f"slices differ in size ({', '.join(sizes)}); keep one series in the folder"
    elif turned > _ANGLE or zoomed > _ANGLE:
        finding = "slices differ in orientation or pixel spacing; keep one series in the folder"
    elif skew > _ANGLE or first.spacing.min() <= 0:
        finding = "rows and columns are no right-angled grid; repair the headers"
    else:
        return
    msg = f"{folder.name}: {finding}"
    raise BadFileError(msg)


def _uneven(gaps: Float64[np.ndarray, " gap"]) -> str:
    """Return what is odd about the gaps between slices, or nothing."""
    if gaps.min() < _SAME_MM:
        return f"{int((gaps < _SAME_MM).sum())} slices share their position with another"
    middle = float(np.median(gaps))
    if np.abs(gaps - middle).max() <= max(_SAME_MM, _UNEVEN * middle):
        return ""
    counts = sorted(Counter(f"{gap:.2f}" for gap in gaps).items(), key=lambda item: float(item[0]))
    told = ", ".join(f"{gap} mm ({count} times)" for gap, count in counts[:6])
    return f"gaps between slices are uneven: {told}{', ...' if len(counts) > 6 else ''}"


def _stack(folder: Path) -> tuple[list[_Slice], Grid]:
    """Return the slices in order along their normal, and the grid they make.

    Raises:
        BadFileError: They make no even, upright stack.

    Source:
        DICOM PS3.3, C.7.6.2.1.1, equation C.7.6.2.1-1: from pixel index to patient millimetres.
    """
    slices = _members(folder)
    _require_alike(folder, slices)
    first = slices[0]
    normal = np.cross(first.along[0], first.along[1])
    slices.sort(key=lambda item: float(item.position @ normal))
    steps = np.diff([item.position for item in slices], axis=0)
    heights = steps @ normal
    aside = np.linalg.norm(steps - heights[:, None] * normal, axis=1)
    tilt = float(np.degrees(np.arctan2(aside, np.abs(heights)))[heights >= _SAME_MM].max(initial=0))
    odd = (
        [f"slices are sheared by {tilt:.1f} degrees (gantry tilt)"] if tilt > _TILT_DEGREES else []
    )
    odd += [finding for finding in [_uneven(heights)] if finding]
    if odd:
        msg = f"{folder.name}: {' and '.join(odd)}; resample it to even, upright slices first"
        raise BadFileError(msg)
    depth = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    across, down = first.along * first.spacing[:, None]
    affine = affine_of(np.stack([across, down, depth], axis=1), slices[0].position)
    return slices, Grid((*first.size, len(slices)), affine)


def read_series_grid(folder: Path) -> Grid:
    """Return where a DICOM series lies, from its headers alone.

    Args:
        folder: Holds the slices of one series, one file each.

    Returns:
        The grid, slices in order along their normal.
    """
    with reading(folder):
        return _stack(folder)[1]


def _pixels(item: _Slice) -> Float32[np.ndarray, "i j"]:
    """Return the values of one slice, columns first, rescaled.

    Raises:
        BadFileError: They are in colour or inverted, or cannot be decoded.

    Source:
        DICOM PS3.3, C.11.1.1.2: value = RescaleSlope x stored + RescaleIntercept.
    """
    with reading(item.path):
        data = _dataset(item.path, pixels=True)
        if data.get("PhotometricInterpretation", "MONOCHROME2") != "MONOCHROME2":
            msg = f"{item.path.name}: is {data.PhotometricInterpretation}; export plain grey values"
            raise BadFileError(msg)
        slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
        stored = np.asarray(data.pixel_array, dtype=np.float32).T
        return stored * np.float32(1 if slope is None else slope) + np.float32(intercept or 0)


def read_series(folder: Path) -> tuple[Float32[np.ndarray, "i j k"], Grid]:
    """Read a DICOM series.

    Args:
        folder: Holds the slices of one series, one file each.

    Returns:
        The voxels in the stored unit after rescaling, and where they lie.
    """
    with reading(folder):
        slices, grid = _stack(folder)
        voxels = np.empty(grid.shape, dtype=np.float32)
        for number, item in enumerate(slices):
            voxels[:, :, number] = _pixels(item)
        return voxels, grid
