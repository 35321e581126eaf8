"""MetaImage and NRRD files, turned from ITK's LPS and k, j, i into our RAS+ and i, j, k."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from jaxtyping import Float64, Shaped

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.files.sane import require_sane, spatial_shape

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns patient coordinates of DICOM and ITK (left, posterior, superior) into ours; and back."""

_itk: Any = SimpleITK  # untyped throughout
_LONGEST_HEADER = 2**20
_LONGEST_LINE = 900  # of NRRD's header: from about 1000 on, a line it does not know crashes ITK
_AXES = re.compile(rb"^\s*NDims\s*[=:]([^\n]*)", re.MULTILINE)
_DEFLATED = ("true", "gzip", "gz")


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


def _fields(path: Path) -> dict[str, str]:
    """Return the lines "key = value" or "key: value" at the head of the file, keys in small."""
    head = _head(path)
    fields: dict[str, str] = {}
    for line in head.split(b"\n"):
        text = line.decode("latin-1").strip()
        if not text:
            break  # the header of NRRD ends with an empty line
        key, _, value = text.partition("=" if path.suffix.lower() != ".nrrd" else ":")
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            break
    return fields


def _require_stored(path: Path, reader: Any) -> None:  # noqa: ANN401
    fields = _fields(path)
    beside = fields.get("elementdatafile", fields.get("data file", "LOCAL")).strip('"')
    data = path if beside.upper() == "LOCAL" else path.parent / beside
    packed = fields.get("compresseddata", fields.get("encoding", "")).lower() in _DEFLATED
    shape = tuple(int(count) for count in reader.GetSize())
    width = _itk.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    promised = math.prod(shape) * int(width)
    if beside.startswith("LIST") or "%" in beside:  # a file per slice
        require_sane(path, shape, 0, stored=0, compressed=False)
        return
    if not data.is_file():
        msg = f"{path.name}: its voxels should lie in {data.name}, which is missing; copy both"
        raise BadFileError(msg)
    require_sane(path, shape, promised, stored=data.stat().st_size, compressed=packed)


def _open(path: Path) -> Any:  # noqa: ANN401
    _require_harmless(path)
    reader = _itk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() != 1:
        msg = f"{path.name}: voxels of {reader.GetNumberOfComponents()} values; give one file each"
        raise BadFileError(msg)
    spatial_shape(path, tuple(reader.GetSize()))
    _require_stored(path, reader)
    return reader


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
    return _grid(path, _open(path))


def read_itk(path: Path) -> tuple[Shaped[np.ndarray, "i j k"], Grid]:
    """Return the voxels of a .mha, .mhd or .nrrd file and their grid.

    Args:
        path: The file; SimpleITK's errors pass through.

    Returns:
        The voxels in C order, and the grid in RAS+.
    """
    reader = _open(path)
    grid = _grid(path, reader)
    values = _itk.GetArrayFromImage(reader.Execute())
    return np.ascontiguousarray(values.reshape(grid.shape[::-1]).transpose(2, 1, 0)), grid
