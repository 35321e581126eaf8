"""Voxels that hold no measurement: NaN, infinite, or a number that stands for "nothing here"."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from voxhint.core.errors import BadFileError
from voxhint.core.volume import Unit

_AIR_HU = -1024.0
_FILLER = 1e9  # no measurement is this large, but -3.4e38 and 1e30 are common fillers
_LONELY = 100.0  # times: how far a filler lies beyond every measurement
_LOWEST_INT16 = -32768.0  # the filler of programs that count in 16 bits
_LARGEST = 1e15  # its square is far from the largest number of 32 bits
_FLATTEST = 1e-5  # networks see differences of a millionth at least

_Voxels = Float32[np.ndarray, "i j k"]


def _fillers(voxels: _Voxels, valid: Bool[np.ndarray, "i j k"]) -> Iterator[float]:
    """Yield the finite numbers that stand for nothing: at most two, alone far from all others."""
    seen = voxels[valid]
    size = np.abs(seen)
    huge = np.unique(seen[size >= _FILLER])
    rest = size[size < _FILLER]
    most = float(rest.max()) if rest.size else 0.0
    if 0 < len(huge) <= 2 and rest.size and most * _LONELY < float(np.abs(huge).min()):
        yield from (float(value) for value in huge)
        seen = seen[size < _FILLER]
    if seen.size and seen.min() == _LOWEST_INT16:
        others = seen[seen != _LOWEST_INT16]
        if others.size and others.min() > _LOWEST_INT16 / 2:
            yield _LOWEST_INT16


def _suspect(voxels: _Voxels) -> bool:
    low, high = float(voxels.min()), float(voxels.max())  # NaN if any voxel is
    return not (low > -_FILLER and high < _FILLER) or low == _LOWEST_INT16


def measured(path: Path, voxels: _Voxels, unit: Unit) -> tuple[_Voxels, tuple[str, ...]]:
    """Return an image in which voxels without a measurement hold its smallest one.

    Args:
        path: The image, for messages.
        voxels: As stored.
        unit: Hounsfield images are filled with air.

    Returns:
        The image, and what a person should know, as "finding; advice".

    Raises:
        BadFileError: Nothing but one value is left, or measurements are too large to reckon with.
    """
    notes: list[str] = []
    if _suspect(voxels):
        voxels, told = _filled(path, voxels, unit)
        notes += told
    low, high = float(voxels.min()), float(voxels.max())
    if 0 < high - low < _FLATTEST:
        finding = f"values from {low:g} to {high:g} differ too little to be seen"
        notes.append(f"{finding}; multiply the image by a round number, for every case the same")
    return voxels, tuple(notes)


def _require_bearable(path: Path, values: np.ndarray) -> None:
    """Refuse values that are too large to compute with.

    Raises:
        BadFileError: There is one.
    """
    most = float(np.abs(values).max())
    if most > _LARGEST:
        msg = f"{path.name}: holds values up to {most:g}; rescale it to less than {_LARGEST:g}"
        raise BadFileError(msg)


def _filled(path: Path, voxels: _Voxels, unit: Unit) -> tuple[_Voxels, list[str]]:
    valid = np.isfinite(voxels)
    names = sorted({f"{value:g}" for value in voxels[~valid].tolist()} if not valid.all() else ())
    for value in list(_fillers(voxels, valid)):
        valid &= voxels != np.float32(value)
        names.append(f"{value:g}")
    count = int(valid.size - valid.sum())
    seen = voxels[valid]
    finding = f"{count} of {valid.size} voxels are no data ({', '.join(names)})"
    if count and (not seen.size or seen.min() == seen.max()):
        left = f"the others are all {seen[0]:g}" if seen.size else "nothing else is left"
        msg = f"{path.name}: {finding}, and {left}; export it again"
        raise BadFileError(msg)
    _require_bearable(path, seen)
    if not count:
        return voxels, []
    fill = min(_AIR_HU, float(seen.min())) if unit == "HU" else float(seen.min())
    finding = f"{finding} and are read as {fill:g}"
    return np.where(valid, voxels, np.float32(fill)), [
        f"{finding}; look whether all of them lie outside the body"
    ]
