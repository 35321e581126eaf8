"""Images as people have them: a path, or an array with an affine or a spacing."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxhint.core import Grid, Volume
from voxhint.core.errors import BadFileError
from voxhint.files.images import read_volume

Array = np.ndarray | Sequence[Any]
"""An array, or nested lists of numbers."""

Numbers = Array | float | int
Spacing = np.ndarray | Sequence[float | int]

ImageLike = Volume | Array | str | os.PathLike[str]
"""A volume, an array of shape (i, j, k), or the path of an image."""


def read_image(path: str | os.PathLike[str], *, channel: str = "") -> Volume:
    """Read an image: NIfTI, MetaImage, NRRD, or a folder of one DICOM series.

    Args:
        path: The file or folder.
        channel: Such as CT, whose voxels are in HU.

    Returns:
        Its voxels, and where they lie.

    Raises:
        BadFileError: It cannot be read.
    """
    return read_volume(Path(path), channel=channel)


def grid_of(
    shape: Sequence[int], affine: Array | None = None, spacing: Spacing | None = None
) -> Grid:
    """Return where an array lies.

    Args:
        shape: Voxels along i, j and k.
        affine: From voxel indices to world millimetres, RAS+.
        spacing: Millimetres between voxels along each axis, the first voxel at 0; 1 mm if neither
            is given.

    Raises:
        BadFileError: It is not three-dimensional, or both are given.
        GridMismatchError: The affine cannot be inverted.
    """
    if len(shape) != 3:
        msg = f"an image of shape {tuple(shape)}; give an array with three axes"
        raise BadFileError(msg)
    if affine is not None and spacing is not None:
        msg = "affine and spacing are both given; give one of them"
        raise BadFileError(msg)
    matrix = np.eye(4)
    if affine is not None:
        matrix = np.array(affine, np.float64)
    elif spacing is not None:
        matrix[[0, 1, 2], [0, 1, 2]] = np.broadcast_to(np.asarray(spacing, np.float64), 3)
    i, j, k = (int(n) for n in shape)
    return Grid((i, j, k), matrix)


def volume_of(
    image: ImageLike,
    *,
    affine: Array | None = None,
    spacing: Spacing | None = None,
    channel: str = "",
) -> Volume:
    """Return an image as a volume.

    Args:
        image: Of any kind.
        affine: Of an array.
        spacing: Of an array, in mm.
        channel: What it shows, such as CT.

    Raises:
        BadFileError: It is no image of three axes, or holds values that are no numbers.
    """
    if isinstance(image, Volume):
        return image
    if isinstance(image, str | os.PathLike):
        return read_image(image, channel=channel)
    voxels = np.asarray(image, np.float32)
    if not np.isfinite(voxels).all():
        count = int((~np.isfinite(voxels)).sum())
        msg = f"an image with {count} voxels that are no numbers; replace them"
        raise BadFileError(msg)
    return Volume(voxels, grid_of(voxels.shape, affine, spacing))


def volumes_of(
    image: ImageLike | Mapping[str, ImageLike],
    channels: Sequence[str],
    affine: Array | None,
    spacing: Spacing | None,
) -> dict[str, Volume]:
    """Return the channels of an image by name.

    Args:
        image: One image, or one for each channel.
        channels: Names; those of a mapping have to be among them.
        affine: Of arrays.
        spacing: Of arrays.

    Raises:
        BadFileError: A channel is unknown, or several are wanted and one is given.
    """
    if not isinstance(image, Mapping):
        if len(channels) > 1:
            msg = f"one image, and the channels are {', '.join(channels)}; give a dict by channel"
            raise BadFileError(msg)
        image = {channels[0]: image}
    strange = [name for name in image if name not in channels]
    if strange or not image:
        msg = f"channels {', '.join(strange) or 'none'}; use {', '.join(channels)}"
        raise BadFileError(msg)
    return {
        name: volume_of(image[name], affine=affine, spacing=spacing, channel=name)
        for name in channels
        if name in image
    }
