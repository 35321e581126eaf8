"""NIfTI files: .nii and .nii.gz, read with their scaling, written with exact bytes."""

import gzip
import math
import struct
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from jaxtyping import Float64, Shaped
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.core.labels import LabelSet
from voxhint.files.atomic import replacing
from voxhint.files.formats.compression import Packing, first_bytes, packing_of, plain_beyond, unpack
from voxhint.files.formats.label_table import CODE, label_table
from voxhint.files.grid_match import differences, rounded
from voxhint.files.header_limits import require_sane, spatial_shape

_MILLIMETRES = ("mm", "unknown")
_new_image: Any = nib.Nifti1Image
_new_header: Any = nib.Nifti1Header
_new_extension: Any = nib.nifti1.Nifti1Extension
_new_proxy: Any = ArrayProxy
_NIFTI2 = tuple((540).to_bytes(4, order) for order in ("little", "big"))  # the header's first field
_SHORTEST_HEADER = 348  # bytes of NIfTI-1
_LONGEST_HEADER = 1 << 20
_PIECE = 1 << 20  # bytes that are read together
_TOGETHER = 16  # planes that are scaled together
_PLACE = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)
_SKEW = 1e-3  # of the cosine between two axes: more than this is no right angle to ITK
_FLAT = 1e-9  # mm^3
_SHEAR_MM = 1e-2  # a quaternion cannot say a shear, so a qform further off than this is left out

_Affine = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A NIfTI file whose header was found sound; its voxels still lie on disk."""

    path: Path
    image: Any  # much of nibabel is untyped
    packing: Packing | None
    promised: int
    """Bytes of header and voxels, unpacked."""

    beyond: int
    """Zeros behind them."""

    @property
    def misnamed(self) -> bool:
        """Return whether the name says the opposite of whether it is compressed."""
        return self.path.name.lower().endswith(".gz") != (self.packing is not None)


def _loaded(path: Path, packing: Packing | None) -> Any:  # noqa: ANN401
    _require_header(path, packing)
    if packing is None and not path.name.lower().endswith(".gz"):
        return nib.load(path, mmap=False)
    head = first_bytes(path, packing, _LONGEST_HEADER)
    kind: Any = nib.Nifti2Image if head[:4] in _NIFTI2 else nib.Nifti1Image
    return kind.from_bytes(head)


def _open(path: Path) -> _Opened:
    packing = packing_of(path)
    image = _loaded(path, packing)
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
    _require_voxels_behind_header(path, image)
    shape = tuple(int(count) for count in image.header["dim"][1 : image.header["dim"][0] + 1])
    promised = math.prod(shape) * kind.itemsize + int(image.dataobj.offset)
    stored = path.stat().st_size
    require_sane(path, shape, promised, stored=stored, compressed=packing is not None)
    beyond = plain_beyond(path, promised) if packing is None else _packed_beyond(path, promised)
    return _Opened(path, image, packing, promised, beyond)


def _require_header(path: Path, packing: Packing | None) -> None:
    """Refuse a file that is too short, or too damaged, to hold so much as a header.

    Raises:
        BadFileError: It is.
    """
    count = len(first_bytes(path, packing, _SHORTEST_HEADER))
    if count == _SHORTEST_HEADER:
        return
    if packing is not None:  # it tells where its stream breaks
        unpack(path, packing, _SHORTEST_HEADER)
    msg = (
        f"{path.name}: cannot be read (it holds {count} bytes, and the header of a NIfTI file "
        f"alone has {_SHORTEST_HEADER}); copy it again"
    )
    raise BadFileError(msg)


def _require_voxels_behind_header(path: Path, image: Any) -> None:  # noqa: ANN401
    """Refuse a header that lets voxels begin within itself.

    Raises:
        BadFileError: It does.

    Source:
        The NIfTI-1 standard on vox_offset: at least 352 where header and voxels share a file.
    """
    start, least = int(image.dataobj.offset), int(image.header["sizeof_hdr"]) + 4
    if start < least:
        msg = (
            f"{path.name}: header says its voxels begin at byte {start}, inside the header itself "
            f"(vox_offset, {least} at least); export it again"
        )
        raise BadFileError(msg)


def _packed_beyond(path: Path, promised: int) -> int:
    """Return how many zeros lie behind the voxels; cheap where the file's end tells its size.

    Raises:
        BadFileError: It unpacks to less than promised, or to more than zeros behind.

    Source:
        RFC 1952, section 2.3.1: ISIZE, the size of the uncompressed input modulo 2^32.
    """
    with path.open("rb") as file:
        file.seek(-4, 2)
        (size,) = struct.unpack("<I", file.read(4))
    if size == promised % (1 << 32):
        return 0
    return unpack(path, "gzip", promised)  # several members, or more behind


def _affine(image: Any, form: str) -> _Affine | None:  # noqa: ANN401
    """Return the qform or sform, or None where its code or its numbers say it is not valid."""
    try:
        affine, code = getattr(image.header, f"get_{form}")(coded=True)
    except (HeaderDataError, ValueError):
        return None
    return None if code == 0 or affine is None else np.array(affine, np.float64)


def _itk_affine(image: Any, sform: _Affine | None, qform: _Affine | None) -> _Affine | None:  # noqa: ANN401
    """Return where ITK reads the image: steps always of pixdim, and mostly the qform.

    Source:
        ITK 5.4, itk::NiftiImageIO, tried with all pairs of codes: the sform counts where there is
        no qform, or its code is 1 (scanner) and its axes are at right angles.
    """
    steps = np.array(image.header["pixdim"][1:4], np.float64)
    if sform is not None:
        with np.errstate(all="ignore"):
            axes = sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0)
        right = bool(np.abs(axes.T @ axes - np.eye(3)).max() < _SKEW)
        if right and (qform is None or int(image.header["sform_code"]) == 1):
            affine = sform.copy()
            affine[:3, :3] = axes * steps
            return affine
        if qform is None:
            return None  # ITK refuses it
    return np.diag([-steps[0], -steps[1], steps[2], 1.0]) if qform is None else qform


def _carried(image: Any) -> bytes:  # noqa: ANN401
    """Return a header that says no more than the place: both forms, their codes and the units."""
    header = _new_header()
    for field in _PLACE:
        header[field] = image.header[field]
    header["pixdim"][:4] = image.header["pixdim"][:4]
    return bytes(header.binaryblock)


def _grid(opened: _Opened) -> Grid:
    image = opened.image
    affine = np.array(image.affine, dtype=np.float64)
    grid = Grid(spatial_shape(opened.path, image.shape), affine, header=_carried(image))
    sform, qform = _affine(image, "sform"), _affine(image, "qform")
    also: list[_Affine] = []
    for other in (_itk_affine(image, sform, qform), qform, sform):
        if other is None or abs(np.linalg.det(other[:3, :3])) < _FLAT:
            continue
        place = Grid(grid.shape, other)
        if not any(rounded(known, place) for known in replace(grid, also=tuple(also)).readings()):
            also.append(other)
    return replace(grid, also=tuple(also))


def nifti_warnings(path: Path) -> tuple[str, ...]:
    """Return what is odd about a NIfTI file and does not keep it from being read.

    Args:
        path: A .nii or .nii.gz file; nibabel's errors pass through.

    Returns:
        Each as "finding; advice".
    """
    opened = _open(path)
    told = []
    if opened.misnamed:
        said = "is" if opened.packing else "is not"
        ending = ".nii.gz" if opened.packing else ".nii"
        told.append(f"{said} compressed, whatever its name says; rename it to end in {ending}")
    if opened.beyond:
        told.append("holds zeros behind its voxels, which are not read; export it again")
    grid = _grid(opened)
    if grid.also:
        told.append(_told_twice(opened.image, grid))
    return tuple(told)


def _told_twice(image: Any, grid: Grid) -> str:  # noqa: ANN401
    """Return by how much a header contradicts itself, and who reads what."""
    ours, *others = grid.readings()
    far = max(others, key=ours.distance_mm)
    sform, qform = (_affine(image, form) for form in ("sform", "qform"))
    itk = _itk_affine(image, sform, qform)
    by = "programs on ITK (3D Slicer, ITK-SNAP)"
    if itk is not None and rounded(ours, Grid(grid.shape, itk)):
        by = "programs that take the qform"
    if sform is None and qform is None:
        why = "qform and sform have code 0, so nothing says where it lies"
    elif sform is None or qform is None or rounded(*(Grid(grid.shape, f) for f in (sform, qform))):
        why = "pixdim and sform contradict each other"
    else:
        why = "qform and sform contradict each other"
    return (
        f"{why}: {by} see it up to {ours.distance_mm(far):.3g} mm from where it is read here "
        f"({differences(ours, far)}); masks carry both on, but hints in millimetres mean the place "
        "read here; rewrite the header with one place"
    )


def read_nifti_grid(path: Path) -> Grid:
    """Return the grid of a NIfTI file from its header.

    Args:
        path: A .nii or .nii.gz file; nibabel's errors pass through.

    Returns:
        The grid of the sform, else the qform, else the header's fallback; with the places that
        other programs take from the same header.
    """
    return _grid(_open(path))


def read_nifti(path: Path, *, single: bool) -> tuple[Shaped[np.ndarray, "i j k"], Grid]:
    """Return the voxels of a NIfTI file, slope and intercept applied, and their grid.

    Args:
        path: A .nii or .nii.gz file; nibabel's errors pass through.
        single: Whether to return float32 rather than the stored type.

    Returns:
        The voxels in C order, and the grid.
    """
    opened = _open(path)
    grid = _grid(opened)
    planes = _Planes(opened, grid.shape, single=single)
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is no data
        if opened.packing is not None:  # to the end of the file, where gzip keeps its sum
            unpack(path, opened.packing, opened.promised, take=planes.take)
        else:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    planes.take(piece)
    return planes.filled(), grid


class _Planes:
    """Voxels, scaled plane by plane as their bytes come in: a whole scan is never there twice."""

    def __init__(self, opened: _Opened, shape: tuple[int, int, int], *, single: bool) -> None:
        stored = opened.image.dataobj
        self._path, self._shape, self._done = opened.path, shape, 0
        self._scaling = (stored.dtype, 0, stored.slope, stored.inter)
        self._type = np.float32 if single else None
        self._size = shape[0] * shape[1] * stored.dtype.itemsize
        self._before = int(stored.offset)  # bytes of the header that are still to come
        self._rest = BytesIO()  # written over again and again: new memory takes time
        self._values: np.ndarray | None = None

    def take(self, piece: bytes) -> None:
        """Scale the planes that are whole now."""
        part = memoryview(piece)[self._before :]
        self._before = max(0, self._before - len(piece))
        while (ready := min(_TOGETHER, self._shape[2] - self._done)) and part:
            wanted = ready * self._size - self._rest.tell()
            self._rest.write(part[:wanted])
            if len(part) >= wanted:
                self._scale(ready)
            part = part[wanted:]

    def _scale(self, ready: int) -> None:
        """Scale the next planes, which are read."""
        spec = ((*self._shape[:2], ready), *self._scaling)
        scaled = np.asanyarray(_new_proxy(self._rest, spec, mmap=False), dtype=self._type)
        if self._values is None:
            self._values = np.empty(self._shape, scaled.dtype)
        planes = slice(self._done, self._done + ready)
        for row in range(self._shape[1]):  # several times as fast as all at once
            self._values[:, row, planes] = scaled[:, row]
        self._done += ready
        self._rest.seek(0)

    def filled(self) -> np.ndarray:
        """Return all planes.

        Raises:
            BadFileError: Some are missing.
        """
        if self._values is None or self._done < self._shape[2]:
            msg = f"{self._path.name}: ends before its last voxel; copy it again"
            raise BadFileError(msg)
        return self._values


def nifti_slope(path: Path) -> float:
    """Return how far apart the values of a NIfTI file lie, if whole numbers are scaled; else 0.

    Args:
        path: A .nii or .nii.gz file; nibabel's errors pass through.

    Returns:
        The slope; 0 where values are stored as they are.
    """
    image = _open(path).image
    slope = abs(float(image.dataobj.slope))
    return slope if image.get_data_dtype().kind in "iu" and slope != 1 else 0.0


def _placed(values: Shaped[np.ndarray, "i j k"], grid: Grid) -> Any:  # noqa: ANN401
    """Return an image that says its place as the file does that its grid was read from."""
    if grid.header:
        header = _new_header(grid.header)
        header.set_data_dtype(values.dtype)
        header.set_data_shape(values.shape)
        if np.allclose(header.get_best_affine(), grid.affine, rtol=1e-5, atol=1e-5):
            return _new_image(values, None, header)
    image = _new_image(values, grid.affine)
    image.set_sform(grid.affine, code="scanner")
    image.set_qform(grid.affine, code="scanner", strip_shears=True)
    qform = Grid(grid.shape, np.array(image.get_qform(), dtype=np.float64))
    if qform.distance_mm(grid) > _SHEAR_MM:
        image.set_qform(None, code="unknown")
    image.header.set_xyzt_units("mm")
    return image


def write_nifti(
    path: Path,
    values: Shaped[np.ndarray, "i j k"],
    grid: Grid,
    *,
    slope: float = 1.0,
    names: LabelSet | None = None,
) -> None:
    """Write a .nii.gz whole or not at all; the same values give the same bytes.

    Args:
        path: Ends in .nii.gz.
        values: What is stored; a reader multiplies by `slope`.
        grid: Where it lies; written to the sform and the qform as its image's header has them, or
            to both.
        slope: Best a power of two, which float32 holds exactly.
        names: Of the ids of a mask, kept in a header extension.
    """
    image = _placed(values, grid)
    image.header.set_slope_inter(slope, 0.0)
    if names is not None:
        image.header.extensions.append(_new_extension(CODE, label_table(names)))
    with (
        replacing(path) as partial,
        partial.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0) as packed,
    ):
        image.to_stream(packed)
