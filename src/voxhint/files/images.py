"""Images, masks and probabilities on disk, whatever their format."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped, UInt8, UInt16

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet
from voxhint.core.volume import STEPS, Volume, steps_of
from voxhint.files.channel_units import odd_values, unit_of
from voxhint.files.dicom.read_series import open_series, read_series, series_notes
from voxhint.files.formats.metaimage_nrrd import itk_warnings, read_itk, read_itk_grid
from voxhint.files.formats.nifti import (
    nifti_slope,
    nifti_warnings,
    read_nifti,
    read_nifti_grid,
    write_nifti,
)
from voxhint.files.formats.no_data_values import measured
from voxhint.files.header_limits import require_near
from voxhint.files.problems import reading

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd")
"""File names read as images; a folder is read as a DICOM series."""

_HIGHEST_ID = 255
_ROUNDING = 1e-3  # how far from a whole number a label id may be stored
_EXCESS = 1e-4  # how far rounding may carry a probability out of [0, 1]


def image_suffix(name: str) -> str | None:
    """Return the suffix of an image's name as written, or None if it is not one we read."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[-len(suffix) :]
    return None


def image_stem(path: Path) -> str:
    """Return the name without an image suffix; other names stay whole, dots and all."""
    return path.name.removesuffix(image_suffix(path.name) or "")


def _kind(path: Path) -> str:
    """Return ".nii", ".mha" or "folder".

    Raises:
        BadFileError: There is no reader for the suffix.
    """
    if path.is_dir():
        return "folder"
    suffix = image_suffix(path.name)
    if suffix is None:
        msg = f"{path.name}: no reader for this suffix; voxhint reads {', '.join(SUFFIXES)}"
        raise BadFileError(msg)
    with path.open("rb"):  # the format libraries say less clearly why a file cannot be opened
        return ".nii" if suffix.lower().startswith(".nii") else ".mha"


def read_grid(path: Path) -> Grid:
    """Return where an image lies, from its header alone.

    Args:
        path: An image file, or a folder holding one DICOM series.

    Returns:
        Its grid.
    """
    with reading(path):
        match _kind(path):
            case "folder":
                grid = open_series(path).grid
            case ".nii":
                grid = read_nifti_grid(path)
            case _:
                grid = read_itk_grid(path)
        require_near(path, grid)
        return grid


def image_warnings(path: Path) -> tuple[str, ...]:
    """Return what a person should know of how an image is read, from its headers.

    Args:
        path: An image file, or a folder holding one DICOM series.

    Returns:
        Each as "finding; advice".
    """
    with reading(path):
        match _kind(path):
            case "folder":
                return open_series(path).warnings
            case ".nii":
                return nifti_warnings(path)
            case _:
                return itk_warnings(path)


def read_channels(images: Mapping[str, Path]) -> dict[str, Volume]:
    """Return the images of a case by channel."""
    return {channel: read_volume(path, channel=channel) for channel, path in images.items()}


def read_volume(path: Path, *, channel: str = "") -> Volume:
    """Read an image.

    Args:
        path: An image file, or a folder holding one DICOM series.
        channel: Its name in the study, which tells the unit.

    Returns:
        The image with slope and intercept applied, no-data values replaced.

    Raises:
        BadFileError: It cannot be read, is not 3D, or holds hardly a measurement.
    """
    with reading(path):
        kind = _kind(path)
        if kind == "folder":
            voxels, grid = read_series(path)
        elif kind == ".nii":
            voxels, grid = read_nifti(path, single=True)
        else:
            voxels, grid = read_itk(path)
        require_near(path, grid)
        with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is no data
            single = np.asarray(voxels, dtype=np.float32)
        unit = unit_of(channel)
        filled, notes = measured(path, single, unit)
        told = series_notes(path, filled, channel=channel) if kind == "folder" else ()
        told = told if any("HU" in one for one in told) else (*told, *odd_values(filled, channel))
        notes = (*notes, *told)
        return Volume(filled, grid, unit, notes)


def _read_stored(path: Path) -> tuple[Shaped[np.ndarray, "i j k"], Grid]:
    if _kind(path) == "folder":
        msg = f"{path.name}: a folder where a mask file is expected; convert it to .nii.gz"
        raise BadFileError(msg)
    nifti = _kind(path) == ".nii"
    values, grid = read_nifti(path, single=False) if nifti else read_itk(path)
    require_near(path, grid)
    return values, grid


def read_ids(path: Path) -> tuple[UInt8[np.ndarray, "i j k"], Grid]:
    """Read a mask.

    Args:
        path: An image file of label ids, stored in whatever number type.

    Returns:
        The ids, and where they lie.

    Raises:
        BadFileError: It cannot be read, or a value is no whole number of 0 to 255, rounding aside.
    """
    with reading(path):
        values, grid = _read_stored(path)
        if values.dtype.kind == "f":
            values = _rounded(path, values)
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= _HIGHEST_ID):  # also True for NaN
            msg = (
                f"{path.name}: values from {low:g} to {high:g} are not whole label ids; "
                f"store ids of 0 to {_HIGHEST_ID}"
            )
            raise BadFileError(msg)
        return values.astype(np.uint8), grid


def _rounded(path: Path, values: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "i j k"]:
    """Return label ids stored as floats, or through a slope, as the whole numbers they stand for.

    Raises:
        BadFileError: They are further from whole numbers than rounding carries them.
    """
    slope = nifti_slope(path) if _kind(path) == ".nii" else 0.0
    room = max(_ROUNDING, slope / 2) if slope < 1 else _ROUNDING
    whole = np.rint(values)
    with np.errstate(invalid="ignore"):
        apart = np.abs(values - whole) > room
    if apart.any():
        first = float(values[apart][0])
        through = f" (stored through a slope of {slope:.6g})" if slope else ""
        msg = (
            f"{path.name}: {int(apart.sum())} voxels are not whole label ids, such as {first:.9g}"
            f"{through}; store ids of 0 to {_HIGHEST_ID}"
        )
        raise BadFileError(msg)
    return np.asarray(whole)


def read_probability(
    path: Path, *, gaps: bool = False
) -> tuple[Float32[np.ndarray, "i j k"], Grid]:
    """Read a probability per voxel.

    Args:
        path: An image file.
        gaps: Take NaN for a voxel of which nothing is said.

    Returns:
        Values in [0, 1], and where they lie.

    Raises:
        BadFileError: It cannot be read, or a value is not a probability.
    """
    with reading(path):
        values, grid = _read_stored(path)
        told = values[~np.isnan(values)] if gaps and values.dtype.kind == "f" else values
        low, high = (float(told.min()), float(told.max())) if told.size else (np.nan, np.nan)
        if not (low >= -_EXCESS and high <= 1 + _EXCESS):  # also True for NaN
            msg = f"{path.name}: values from {low:g} to {high:g} are no probabilities; use 0 to 1"
            raise BadFileError(msg)
        return np.clip(values, 0, 1).astype(np.float32), grid


def write_ids(
    path: Path, ids: UInt8[np.ndarray, "i j k"], grid: Grid, names: LabelSet | None = None
) -> None:
    """Write a mask as .nii.gz, whole or not at all; the same mask gives the same bytes.

    Args:
        path: Ends in .nii.gz.
        ids: Of labels.
        grid: Where they lie.
        names: Of the ids, if they are to travel in the file.
    """
    write_nifti(path, ids, grid, names=names)


def write_probability(
    path: Path, values: Float32[np.ndarray, "i j k"] | UInt16[np.ndarray, "i j k"], grid: Grid
) -> None:
    """Write probabilities as .nii.gz in steps of 2^-15: half the size of float32, 0 and 1 exact.

    Those with NaN, which no whole number says, stay 32-bit floats.

    Args:
        path: Ends in .nii.gz.
        values: In [0, 1], or whole numbers from `steps_of`.
        grid: Where they lie.
    """
    if values.dtype != np.uint16 and np.isnan(values).any():
        write_nifti(path, values, grid)
        return
    steps = values if values.dtype == np.uint16 else steps_of(values)
    write_nifti(path, steps, grid, slope=1 / float(STEPS))


def write_image(path: Path, volume: Volume) -> None:
    """Write an image as .nii.gz in float32, whole or not at all."""
    write_nifti(path, volume.voxels, volume.grid)
