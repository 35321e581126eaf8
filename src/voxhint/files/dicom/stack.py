"""A stack of parallel slices: its grid, and how an uneven or sheared one is made even."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy import ndimage

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid
from voxhint.files.dicom.headers import Plane
from voxhint.files.dicom.pixels import plane_values
from voxhint.files.dicom.value_warnings import scale_doubts
from voxhint.files.formats.metaimage_nrrd import LPS_TO_RAS, affine_of
from voxhint.files.header_limits import require_sane

SAME_MM = 1e-2
"""Slices nearer than this lie in one place."""

_ROOM = 0.02  # of the gap: how far a slice may be off its place in an even stack
_ROOM_MM = 0.05  # or this, as some scanners round positions to a tenth of a millimetre
_UPRIGHT_DEGREES = 0.5
_STEEPEST_DEGREES = 35.0  # no gantry tilts further than 30
_ASTRAY_MM = 1.0
_LIKE = 0.1  # gaps that differ by less than this part count as one kind
_REGULAR = 0.25  # of all gaps: the rarest kind that still sets the spacing
_WIDEST = 3.0  # of the regular gap: two slices in a row may be missing
_GANTRY_DEGREES = 1.0
_DIGITS = 6  # of a voxel: so that rounding moves nothing
_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class _SliceGeometry:
    """Where the slices of a stack lie, relative to the first and in order along their normal."""

    planes: tuple[Plane, ...]
    heights: Float64[np.ndarray, " slice"]
    """Millimetres along the normal."""

    in_plane: Float64[np.ndarray, "slice 2"]
    """Millimetres along columns and rows."""

    @property
    def gaps(self) -> Float64[np.ndarray, " gap"]:
        return np.asarray(np.diff(self.heights))

    @property
    def shear(self) -> Float64[np.ndarray, "2"]:
        """Return the millimetres that slices move aside per millimetre of height."""
        middle = self.heights - self.heights.mean()
        slope = middle @ (self.in_plane - self.in_plane.mean(axis=0)) / (middle @ middle)
        return np.asarray(slope)

    @property
    def tilt_degrees(self) -> float:
        return float(np.degrees(np.arctan(np.linalg.norm(self.shear))))


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Slices that make one image."""

    planes: tuple[Plane, ...]
    """In order along their normal."""

    grid: Grid
    resampled: Float64[np.ndarray, "slice 3"] | None
    """Where each slice lies on the grid, in voxels, if it was made even; else None."""

    warnings: tuple[str, ...]
    """What was odd and what was done about it, each as "finding; advice"."""


def _geometry(planes: Sequence[Plane]) -> _SliceGeometry:
    along = planes[0].along
    normal = np.cross(along[0], along[1])
    order = sorted(planes, key=lambda plane: float(plane.position @ normal))
    moved = np.array([plane.position for plane in order]) - order[0].position
    return _SliceGeometry(tuple(order), moved @ normal, moved @ along.T)


def _off_even(places: Float64[np.ndarray, "slice axis"]) -> bool:
    """Return whether places are further off equal steps than rounding explains."""
    steps = len(places) - 1
    step = places[-1] / steps
    off = np.linalg.norm(places - np.arange(steps + 1)[:, None] * step, axis=1)
    return bool(off.max() > _room_mm(float(np.linalg.norm(step))))


def _room_mm(gap: float) -> float:
    """Return how far a slice may be off its place where slices are a gap apart."""
    return max(_ROOM * gap, min(_ROOM_MM, gap / 4))


def is_even(planes: Sequence[Plane]) -> bool:
    """Return whether slices have places of their own, one gap apart, tilted or not."""
    slices = _geometry(planes)
    return bool(slices.gaps.min() >= SAME_MM) and not _off_even(slices.heights[:, None])


def is_regular(planes: Sequence[Plane]) -> bool:
    """Return whether slices have places of their own, one gap apart but for missing ones."""
    slices = _geometry(planes)
    return (
        bool(slices.gaps.min() >= SAME_MM) and _slots(slices, float(slices.gaps.min())) is not None
    )


def in_order(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return slices in order along their normal, those in one place together."""
    slices = _geometry(planes)
    groups: list[list[Plane]] = [[slices.planes[0]]]
    for plane, gap in zip(slices.planes[1:], slices.gaps, strict=True):
        if gap < SAME_MM:
            groups[-1].append(plane)
        else:
            groups.append([plane])
    return groups


def heights_mm(planes: Sequence[Plane]) -> tuple[float, float]:
    """Return the lowest and the highest place of slices along their normal."""
    slices = _geometry(planes)
    low = float(slices.planes[0].position @ np.cross(*slices.planes[0].along))
    return low, low + float(slices.heights[-1])


def _slice_spacing(slices: _SliceGeometry) -> float:
    """Return the smallest regular gap, fitted to the whole stack where slices are only missing.

    Raises:
        BadFileError: The gaps follow no pattern, or one is too wide to fill.
    """
    gaps = slices.gaps
    kinds = [gaps[np.abs(gaps - gap) <= _LIKE * gap] for gap in np.sort(gaps)]
    regular = [kind for kind in kinds if len(kind) >= _REGULAR * len(gaps)]
    if not regular:
        msg = f"gaps between slices follow no pattern ({_counted(gaps)}); export an even series"
        raise BadFileError(msg)
    spacing = float(np.median(regular[0]))
    if gaps.max() > (_WIDEST + _ROOM) * spacing:
        msg = (
            f"a gap of {gaps.max():.2f} mm {_after(slices, int(gaps.argmax()))} is too wide to "
            f"fill where slices are {spacing:.2f} mm apart; export the missing slices, or each "
            "part alone"
        )
        raise BadFileError(msg)
    slots = _slots(slices, spacing)
    return spacing if slots is None else float(slices.heights[-1] / slots[-1])


def _slots(slices: _SliceGeometry, spacing: float) -> Int64[np.ndarray, " slice"] | None:
    """Return the place of each slice in an even stack, or None if they fit into none."""
    slots = np.round(slices.heights / spacing)
    slots = np.round(slices.heights / (slices.heights[-1] / slots[-1]))
    off = np.abs(slices.heights - slots * slices.heights[-1] / slots[-1]).max()
    if off > _room_mm(spacing) or (np.diff(slots) < 1).any():
        return None
    return np.asarray(slots, dtype=np.int64)


def _after(slices: _SliceGeometry, number: int) -> str:
    plane = slices.planes[number]
    place = LPS_TO_RAS[:3, :3] @ plane.position
    axis = int(np.abs(np.cross(*plane.along)).argmax())
    return (
        f"after slice {number + 1} of {len(slices.planes)} ({'xyz'[axis]} = {place[axis]:.1f} mm)"
    )


def _counted(gaps: Float64[np.ndarray, " gap"]) -> str:
    counts = sorted(Counter(f"{gap:.2f}" for gap in gaps).items(), key=lambda item: float(item[0]))
    told = ", ".join(f"{gap} mm ({count} times)" for gap, count in counts[: 2 * _NAMED])
    return told + (", ..." if len(counts) > 2 * _NAMED else "")


def _gaps(slices: _SliceGeometry, spacing: float) -> str:
    """Return what is odd about the gaps, and where, or nothing."""
    slots = _slots(slices, spacing)
    if slots is None:
        off = np.abs(slices.gaps - spacing)
        first = int(np.argmax(off > min(_LIKE * spacing, 0.99 * off.max())))
        where = f"uneven: {_counted(slices.gaps)}, first {_after(slices, first)}"
        return (
            f"gaps between slices are {where}, and values are interpolated every {spacing:.2f} mm"
        )
    missing = np.flatnonzero(np.diff(slots) > 1)
    if not len(missing):
        return ""
    places = ", ".join(_after(slices, int(number)) for number in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more places" if len(missing) > _NAMED else ""
    count = slots[-1] + 1 - len(slots)
    return f"{count} slices are missing and are interpolated: {places}{more}"


def _sheared(slices: _SliceGeometry) -> str:
    """Return by how much the slices are sheared, or nothing.

    Raises:
        BadFileError: Too much, or not along a straight line.
    """
    line = slices.heights[:, None] * slices.shear
    off = slices.in_plane - line
    astray = float(np.linalg.norm(off - off.mean(axis=0), axis=1).max())
    if astray > _ASTRAY_MM:
        msg = f"slices lie up to {astray:.1f} mm aside of a straight line; repair their positions"
        raise BadFileError(msg)
    if slices.tilt_degrees > _STEEPEST_DEGREES:
        msg = (
            f"slices are sheared by {slices.tilt_degrees:.1f} degrees, more than any gantry tilts; "
            "repair their positions"
        )
        raise BadFileError(msg)
    if slices.tilt_degrees > _UPRIGHT_DEGREES:
        return f"slices are sheared by {slices.tilt_degrees:.1f} degrees (gantry tilt)"
    return f"slices lie up to {astray:.2f} mm aside of a line" if astray > _ROOM_MM else ""


def _even_grid(
    slices: _SliceGeometry, spacing: float
) -> tuple[Grid, Float64[np.ndarray, "slice 3"]]:
    """Return an upright grid that holds every slice whole, and where they lie on it in voxels."""
    first = slices.planes[0]
    columns, rows = first.size
    low = np.floor(np.round((slices.in_plane / first.spacing).min(axis=0), _DIGITS))
    high = np.ceil(np.round((slices.in_plane / first.spacing).max(axis=0), _DIGITS))
    steps = first.along * first.spacing[:, None]
    shape = (
        columns + int(high[0] - low[0]),
        rows + int(high[1] - low[1]),
        round(float(slices.heights[-1]) / spacing) + 1,
    )
    normal = np.cross(first.along[0], first.along[1])
    affine = affine_of(
        np.stack([steps[0], steps[1], normal * spacing], axis=1), first.position + low @ steps
    )
    places = np.column_stack([slices.in_plane / first.spacing - low, slices.heights / spacing])
    return Grid(shape, affine), np.round(places, _DIGITS)


def _plain_grid(slices: _SliceGeometry) -> Grid:
    """Return the grid of even slices.

    Source:
        DICOM PS3.3, C.7.6.2.1.1, equation C.7.6.2.1-1: from pixel index to patient millimetres.
    """
    first, last = slices.planes[0], slices.planes[-1]
    across, down = first.along * first.spacing[:, None]
    depth = (last.position - first.position) / (len(slices.planes) - 1)
    affine = affine_of(np.stack([across, down, depth], axis=1), first.position)
    return Grid((*first.size, len(slices.planes)), affine)


def _doubts(slices: _SliceGeometry) -> list[str]:
    """Return what should be looked at although it is read."""
    first, doubts = slices.planes[0], []
    if (
        abs(abs(first.gantry_degrees) - slices.tilt_degrees) > _GANTRY_DEGREES
        and first.gantry_degrees
    ):
        doubts.append(
            f"headers tell a gantry tilt of {first.gantry_degrees:g} degrees, positions one "
            f"of {slices.tilt_degrees:.1f}; positions are believed, check that the anatomy is not "
            "skewed"
        )
    if first.photometric == "MONOCHROME1":
        doubts.append("is shown inverted (MONOCHROME1); values are read as stored, check them")
    if any(plane.burned for plane in slices.planes):
        doubts.append(
            "is marked as holding burnt-in text (BurnedInAnnotation YES), which may name the "
            "patient; look at the pixels before you share them"
        )
    return [*doubts, *scale_doubts(slices.planes)]


def build_stack(planes: Sequence[Plane]) -> Stack:
    """Find the grid of slices that all have places of their own.

    Args:
        planes: Alike in orientation, size and spacing, in any order.

    Returns:
        The stack. Even slices keep their exact grid. Others are resampled, with a warning, where
        that is safe: see decision 8.

    Raises:
        BadFileError: It is not safe.
    """
    slices = _geometry(planes)
    require_sane(Path("series"), (*planes[0].size, len(planes)), 0, stored=0, compressed=False)
    upright = slices.tilt_degrees <= _UPRIGHT_DEGREES
    if upright and not _off_even(np.column_stack([slices.in_plane, slices.heights])):
        return Stack(slices.planes, _plain_grid(slices), None, tuple(_doubts(slices)))
    sheared, spacing = _sheared(slices), _slice_spacing(slices)
    grid, places = _even_grid(slices, spacing)
    require_sane(Path("series"), grid.shape, 0, stored=0, compressed=False)
    odd = [finding for finding in (sheared, _gaps(slices, spacing)) if finding]
    shape = " x ".join(map(str, grid.shape))
    warning = (
        f"{' and '.join(odd or ['slices lie off their even places'])}; read on an even, upright "
        f"grid of {shape} voxels, {spacing:.2f} mm apart, where masks and results lie too"
    )
    return Stack(slices.planes, grid, places, (warning, *_doubts(slices)))


def read_stack(stack: Stack) -> Float32[np.ndarray, "i j k"]:
    """Return the values of a stack on its grid."""
    voxels = np.empty((*stack.planes[0].size, len(stack.planes)), dtype=np.float32)
    for number, values in plane_values(stack.planes):
        voxels[:, :, number] = values
    if stack.resampled is None:
        return voxels
    return _resample(voxels, stack.resampled, stack.grid.shape)


def _resample(
    voxels: Float32[np.ndarray, "column row slice"],
    places: Float64[np.ndarray, "slice 3"],
    shape: tuple[int, int, int],
) -> Float32[np.ndarray, "i j k"]:
    """Return slices on an even grid, linear between them; what no slice covers is air.

    Args:
        voxels: One slice after the other.
        places: Where the first voxel of each lies, in voxels of the grid.
        shape: Of the grid.

    Returns:
        The values; a slice that lies on the grid keeps its own.
    """
    outside = float(voxels.min())
    heights = places[:, 2]

    @lru_cache(maxsize=2)
    def moved(number: int) -> Float32[np.ndarray, "i j"]:
        return np.asarray(
            ndimage.affine_transform(
                voxels[:, :, number],
                np.ones(2),
                offset=-places[number, :2],
                output_shape=shape[:2],
                order=1,
                mode="constant",
                cval=outside,
            )
        )

    even = np.empty(shape, dtype=np.float32)
    for level in range(shape[2]):
        nearest = int(np.abs(heights - level).argmin())
        above = int(np.clip(np.searchsorted(heights, level), 1, len(heights) - 1))
        part = (level - heights[above - 1]) / (heights[above] - heights[above - 1])
        if abs(heights[nearest] - level) <= _ROOM or not 0 < part < 1:
            even[:, :, level] = moved(nearest)
        else:
            even[:, :, level] = (1 - part) * moved(above - 1) + part * moved(above)
    return even
