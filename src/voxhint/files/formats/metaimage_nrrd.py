"""MetaImage and NRRD files, turned from ITK's LPS and k, j, i into our RAS+ and i, j, k."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid, reordered
from voxhint.files.formats.metaimage_nrrd_data import (
    Header,
    Voxels,
    data_files,
    read_header,
    read_voxels,
    voxels_of,
)
from voxhint.files.header_limits import spatial_shape

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns patient coordinates of DICOM and ITK (left, posterior, superior) into ours; and back."""
_LONGEST_HEADER = 2**20
_LONGEST_LINE = 900  # of NRRD's header: from about 1000 on, a line it does not know crashes ITK
_AXES = re.compile(rb"^\s*NDims\s*[=:]([^\n]*)", re.MULTILINE)
_SUFFIXES = (".mha", ".mhd", ".nrrd")
_UNITS = ("spaceunits", "units", "distanceunits")
_MILLIMETRES = (
    "mm",
    "millimeter",
    "millimeters",
    "millimetre",
    "millimetres",
    "none",
    "???",
    "n/a",
)
_PATIENT = re.compile("[lr][ap]s(t)?|(left|right)-(anterior|posterior)-superior(-time)?")


def itk() -> Any:  # noqa: ANN401  # untyped throughout
    """Return SimpleITK, which takes 90 MB of memory: not before it is needed."""
    import SimpleITK

    return SimpleITK


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST_HEADER)


def _require_harmless(path: Path) -> None:
    """Refuse a header that ends not in an error of ITK's but in the end of the process.

    Raises:
        BadFileError: A line or a number in it is beyond what ITK checks.
    """
    head = _head(path)
    if path.suffix.lower() == ".nrrd":
        lines = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0].split(b"\n")
        # comments and free keys may be as long as they like
        fields = [line for line in lines if not line.startswith(b"#") and b":=" not in line]
        if max(map(len, fields), default=0) > _LONGEST_LINE:
            msg = f"{path.name}: header has a line of more than {_LONGEST_LINE} bytes; export again"
            raise BadFileError(msg)
        return
    for axes in _AXES.findall(head):
        if axes.strip() not in (b"2", b"3", b"4", b"5"):
            msg = f"{path.name}: header says NDims = {axes[:20].decode('latin-1')!r}; export again"
            raise BadFileError(msg)


def _require_millimetres(header: Header) -> None:
    """Refuse a header that counts in anything but millimetres.

    Raises:
        BadFileError: It does.
    """
    said = " ".join(header.fields.get(name, "") for name in _UNITS).lower()
    for unit in re.findall(r"[^\s\"]+", said):
        if unit not in _MILLIMETRES:
            msg = f"{header.path.name}: header counts in {unit}; write it in millimetres"
            raise BadFileError(msg)


def _open(path: Path, *, layers: bool = False) -> Any:  # noqa: ANN401
    _require_harmless(path)
    reader = itk().ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() != 1 and not layers:
        msg = f"{path.name}: voxels of {reader.GetNumberOfComponents()} values; give one file each"
        raise BadFileError(msg)
    spatial_shape(path, tuple(reader.GetSize()))
    _require_millimetres(read_header(path))
    if min(reader.GetSpacing()) <= 0:
        steps = " x ".join(f"{step:g}" for step in reader.GetSpacing())
        msg = f"{path.name}: header has a spacing of {steps} mm; every step must be above 0"
        raise BadFileError(msg)
    return reader


def _voxels(path: Path, reader: Any) -> Voxels:  # noqa: ANN401
    kind = itk().GetArrayFromImage(itk().Image([1, 1, 1], reader.GetPixelID())).dtype
    layers = reader.GetNumberOfComponents()
    shape = tuple(int(count) for count in reader.GetSize())
    return voxels_of(path, shape if layers == 1 else (layers, *shape), kind)


def _grid(path: Path, reader: Any) -> Grid:  # noqa: ANN401
    axes = len(reader.GetSize())
    direction = np.array(reader.GetDirection(), dtype=np.float64).reshape(axes, axes)[:3, :3]
    return Grid(
        spatial_shape(path, tuple(reader.GetSize())),
        affine_of(direction * np.array(reader.GetSpacing()[:3]), np.array(reader.GetOrigin()[:3])),
    )


def affine_of(
    steps_lps: Float64[np.ndarray, "3 3"], origin_lps: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "4 4"]:
    """Return our affine for steps (one column per axis) and a first voxel given in LPS."""
    affine = np.eye(4)
    affine[:3, :3] = steps_lps
    affine[:3, 3] = origin_lps
    return np.asarray(LPS_TO_RAS @ affine, dtype=np.float64)


def read_itk_grid(path: Path) -> Grid:
    """Return the grid of a .mha, .mhd or .nrrd file from its header.

    Args:
        path: The file; SimpleITK's errors pass through.

    Returns:
        The grid, in RAS+.
    """
    reader = _open(path)
    _voxels(path, reader)
    return _grid(path, reader)


def itk_warnings(path: Path) -> tuple[str, ...]:
    """Return what a header leaves unsaid of where its voxels lie.

    Args:
        path: A .mha, .mhd or .nrrd file.

    Returns:
        Each as "finding; advice".
    """
    header = read_header(path)
    if not header.nrrd:
        unsaid = not any(name in header.fields for name in ("elementspacing", "elementsize"))
        return ("says no spacing, so 1 mm is taken; write its ElementSpacing",) if unsaid else ()
    space = header.fields.get("space", "")
    if "spacedirections" not in header.fields:
        steps = "" if "spacings" in header.fields else " nor spacings, so steps of 1 mm"
        return (
            f"says no directions{steps}, and axes are taken to run left, posterior and superior; "
            "export it with its orientation",
        )
    if not _PATIENT.fullmatch(space.lower()):
        said = f"space {space!r} is none of a patient" if space else "says no space"
        return (f"{said}, so LPS is taken (left, posterior, superior); export it with its space",)
    return ()


def data_names(path: Path) -> frozenset[str]:
    """Return the names of the files beside a header that hold its voxels.

    Returns:
        Names of files in the same folder; none if it is no .mha, .mhd or .nrrd that can be read.
    """
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return frozenset()
    try:
        files = data_files(read_header(path))
    except (BadFileError, OSError):
        return frozenset()
    return frozenset(file.name for file in files if file.parent == path.parent and file != path)


def read_itk(path: Path) -> tuple[Shaped[np.ndarray, "i j k"], Grid]:
    """Return the voxels of a .mha, .mhd or .nrrd file and their grid.

    Args:
        path: The file; SimpleITK's errors pass through.

    Returns:
        The voxels in C order, and the grid in RAS+.
    """
    reader = _open(path)
    grid = _grid(path, reader)
    values = read_voxels(_voxels(path, reader))
    return reordered(values.reshape(grid.shape[::-1]).transpose(2, 1, 0)), grid


def read_itk_layers(path: Path) -> tuple[Shaped[np.ndarray, "layer i j k"], Grid]:
    """Return the layers of a file with several values a voxel, and their grid.

    Args:
        path: A .nrrd file whose first axis may be a list; SimpleITK's errors pass through.

    Returns:
        One image for each value of a voxel, in C order, and the grid in RAS+.
    """
    reader = _open(path, layers=True)
    grid = _grid(path, reader)
    values = read_voxels(_voxels(path, reader))
    return np.ascontiguousarray(values.reshape(*grid.shape[::-1], -1).transpose(3, 2, 1, 0)), grid


def image_of(voxels: Shaped[np.ndarray, "i j k"], grid: Grid) -> Any:  # noqa: ANN401
    """Return an array as an image of SimpleITK, in its place."""
    image = itk().GetImageFromArray(np.ascontiguousarray(voxels.transpose(2, 1, 0)))
    affine = LPS_TO_RAS @ grid.affine
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetDirection((affine[:3, :3] / grid.spacing_mm).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image
