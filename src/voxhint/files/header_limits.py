"""What a header may promise before anything is allocated."""

import math
from pathlib import Path

import numpy as np

from voxhint.core.errors import BadFileError
from voxhint.core.grid import Grid

_MOST_VOXELS = 4_000_000_000
_MOST_DEFLATED = 1_032  # zlib's limit of compression, from its own documentation
_SPATIAL = 3
_LARGEST_MM = 1e3  # no voxel is a metre wide
_FARTHEST_MM = 1e6  # nor does a patient lie a kilometre from the scanner


def spatial_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the three axes of an image, axes of length 1 after them squeezed away.

    Args:
        path: The file, for the message.
        shape: As the header says.

    Returns:
        Voxels along i, j and k.

    Raises:
        BadFileError: The image is 2D, or a time series or colour image.
    """
    if len(shape) < _SPATIAL or any(count != 1 for count in shape[_SPATIAL:]):
        seen = " x ".join(map(str, shape))
        msg = (
            f"{path.name}: image has {len(shape)} axes ({seen}) where 3 are read; "
            "give one 3D file per channel"
        )
        raise BadFileError(msg)
    return (int(shape[0]), int(shape[1]), int(shape[2]))


def require_sane(
    path: Path, shape: tuple[int, ...], promised: int, *, stored: int, compressed: bool
) -> None:
    """Refuse a header that promises more than the file can hold.

    Args:
        path: The file, for the message.
        shape: As the header says.
        promised: Bytes the header promises once unpacked.
        stored: Bytes there are.
        compressed: Whether the bytes are deflated.

    Raises:
        BadFileError: The promise cannot be kept, or is absurdly large, or has a zero axis.
    """
    seen = " x ".join(map(str, shape))
    if not shape or min(shape) < 1:
        msg = f"{path.name}: image of size {seen} is empty; export it again"
        raise BadFileError(msg)
    if math.prod(shape) > _MOST_VOXELS:
        msg = f"{path.name}: header promises {seen} voxels, more than 4e9; repair or crop it"
        raise BadFileError(msg)
    most = stored * _MOST_DEFLATED if compressed else stored
    if promised > most:
        msg = (
            f"{path.name}: header promises {promised} bytes where the file holds {stored}"
            f"{' compressed' if compressed else ''}; it is cut short, copy it again"
        )
        raise BadFileError(msg)


def require_near(path: Path, grid: Grid) -> None:
    """Refuse a header whose voxels are of no patient, before anything is resampled onto them.

    Args:
        path: The file, for the message.
        grid: As the header says.

    Raises:
        BadFileError: The voxels are too large, or too far away, or there is but one.
    """
    if grid.shape == (1, 1, 1):
        msg = f"{path.name}: holds a single voxel, in which nothing can be outlined; give all of it"
        raise BadFileError(msg)
    largest, farthest = float(grid.spacing_mm.max()), float(np.abs(grid.corners_mm()).max())
    if largest > _LARGEST_MM or not farthest <= _FARTHEST_MM:
        msg = (
            f"{path.name}: header has steps of {largest:.3g} mm, up to {farthest:.3g} mm from the "
            "origin; repair its spacing and origin"
        )
        raise BadFileError(msg)
