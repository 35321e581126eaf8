"""NIfTI files: .nii and .nii.gz, read with their scaling, written with exact bytes."""

import gzip
import math
import struct
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from jaxtyping import Float32, Shaped

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.files.atomic import replacing
from voxhint.files.sane import require_sane, spatial_shape

_MILLIMETRES = ("mm", "unknown")
_new_image: Any = nib.Nifti1Image
_CHUNK = 1 << 20
_INT16 = np.iinfo(np.int16)
_SHEAR_MM = 1e-2  # a quaternion cannot say a shear, so a qform further off than this is left out


def _open(path: Path) -> Any:  # noqa: ANN401 - much of nibabel is untyped
    image: Any = nib.load(path, mmap=False)
    if not isinstance(image, nib.Nifti1Pair):
        msg = f"{path.name}: is not a NIfTI file; convert it to NIfTI"
        raise BadFileError(msg)
    image = cast("Any", image)
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        msg = f"{path.name}: voxels of type {kind} are not one number each; export plain values"
        raise BadFileError(msg)
    unit = image.header.get_xyzt_units()[0]
    if unit not in _MILLIMETRES:
        msg = f"{path.name}: header counts in {unit}; write it in millimetres"
        raise BadFileError(msg)
    shape = tuple(int(count) for count in image.header["dim"][1 : image.header["dim"][0] + 1])
    promised = math.prod(shape) * kind.itemsize + int(image.dataobj.offset)
    gzipped = path.name.lower().endswith(".gz")
    require_sane(path, shape, promised, stored=path.stat().st_size, compressed=gzipped)
    if gzipped:
        _require_whole(path, promised)
    return image


def _require_whole(path: Path, promised: int) -> None:
    """Refuse a gzip file cut short, cheaply where its last four bytes agree with the header.

    Raises:
        BadFileError: It unpacks to less than promised.

    Source:
        RFC 1952, section 2.3.1: ISIZE, the size of the uncompressed input modulo 2^32.
    """
    with path.open("rb") as file:
        file.seek(-4, 2)
        (size,) = struct.unpack("<I", file.read(4))
    if size == promised % (1 << 32):
        return
    left = promised  # several members, or padding: count for real
    with gzip.open(path) as file:
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            left -= len(chunk)
    if left > 0:
        msg = f"{path.name}: ends {left} bytes before its header promises; copy it again"
        raise BadFileError(msg)


def _unpacked(path: Path, image: Any) -> Any:  # noqa: ANN401
    """Return the image read to the end of its file, where gzip checks its sum."""
    shape, kind = image.shape, image.get_data_dtype()
    promised = math.prod(shape) * kind.itemsize + int(image.dataobj.offset)
    with gzip.open(path) as file:
        content = file.read(promised)
        while file.read(_CHUNK):
            pass
    return type(image).from_bytes(content)


def _grid(path: Path, image: Any) -> Grid:  # noqa: ANN401
    return Grid(spatial_shape(path, image.shape), np.array(image.affine, dtype=np.float64))


def read_nifti_grid(path: Path) -> Grid:
    """Return the grid of a NIfTI file from its header.

    Args:
        path: A .nii or .nii.gz file; nibabel's errors pass through.

    Returns:
        The grid of the sform, else the qform, else the header's fallback.
    """
    return _grid(path, _open(path))


def read_nifti(path: Path, *, single: bool) -> tuple[Shaped[np.ndarray, "i j k"], Grid]:
    """Return the voxels of a NIfTI file, slope and intercept applied, and their grid.

    Args:
        path: A .nii or .nii.gz file; nibabel's errors pass through.
        single: Whether to return float32 rather than the stored type.

    Returns:
        The voxels in C order, and the grid.
    """
    image = _open(path)
    grid = _grid(path, image)
    if path.name.lower().endswith(".gz"):
        image = _unpacked(path, image)
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is refused later
        values = (
            image.get_fdata("unchanged", dtype=np.float32)
            if single
            else np.asanyarray(image.dataobj)
        )
    return np.array(values.reshape(grid.shape), order="C"), grid


def narrowed(voxels: Float32[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "i j k"]:
    """Return voxels as 16-bit whole numbers where that changes none: half the size on disk."""
    if voxels.min() < _INT16.min or voxels.max() > _INT16.max:
        return voxels
    whole = voxels.astype(np.int16)
    return whole if np.array_equal(whole, voxels) else voxels


def write_nifti(
    path: Path, values: Shaped[np.ndarray, "i j k"], grid: Grid, *, slope: float = 1.0
) -> None:
    """Write a .nii.gz whole or not at all; the same values give the same bytes.

    Args:
        path: Ends in .nii.gz.
        values: What is stored; a reader multiplies by `slope`.
        grid: Where it lies; written to both the sform and the qform.
        slope: Best a power of two, which float32 holds exactly.
    """
    image = _new_image(values, grid.affine)
    image.set_sform(grid.affine, code="scanner")
    image.set_qform(grid.affine, code="scanner", strip_shears=True)
    if (
        Grid(grid.shape, np.array(image.get_qform(), dtype=np.float64)).distance_mm(grid)
        > _SHEAR_MM
    ):
        image.set_qform(None, code="unknown")
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, 0.0)
    with (
        replacing(path) as partial,
        partial.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0) as packed,
    ):
        image.to_stream(packed)
