"""An image with its mask, as a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from voxhint.api.images import Array, ImageLike, Spacing, volume_of
from voxhint.core import Mask, SoftLabel
from voxhint.core.errors import GridMismatchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CUTS = (0.01, 0.99)  # quantiles that become black and white


def show(
    image: ImageLike,
    mask: Mask | SoftLabel | Array | None = None,
    *,
    axis: int = 2,
    slices: Sequence[int] | None = None,
    spacing: Spacing | None = None,
) -> "Figure":
    """Draw slices of an image, with the labels of a mask over it, as a radiologist looks at them.

    Anterior, or superior, is up. The patient's right is left, and anterior is left where the image
    is cut from side to side. Axes of an array run to the right, anterior and superior.

    Args:
        image: A volume, an array or a path.
        mask: A mask, a soft label (its most probable classes), or an array of ids.
        axis: Which axis is cut.
        slices: Numbers of the slices; the one with most of the mask, or the middle one, if not
            given.
        spacing: Of an array, in mm.

    Returns:
        A matplotlib figure.

    Raises:
        GridMismatchError: Mask and image have different shapes.
    """
    from matplotlib.figure import Figure

    volume = volume_of(image, spacing=spacing)
    ids = None if mask is None else _ids(mask)
    if ids is not None and ids.shape != volume.voxels.shape:
        msg = f"a mask of shape {ids.shape} and an image of shape {volume.voxels.shape}; "
        raise GridMismatchError(msg + "give both on one grid")
    chosen = list(slices) if slices is not None else [_best(volume.voxels.shape, ids, axis)]
    figure = Figure(figsize=(4 * len(chosen), 4), layout="constrained")
    low, high = np.quantile(volume.voxels, _CUTS)
    turn = volume.grid.turn_to_ras()
    through = turn.axes.index(axis)
    across, up = np.delete(volume.grid.spacing_mm[list(turn.axes)], through)

    def plane_of(array: np.ndarray, number: int) -> np.ndarray:
        return turn.view(np.take(array, [number], axis)).squeeze(through).T

    for axes, number in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        plane = plane_of(volume.voxels, number)
        axes.imshow(plane, "gray", vmin=low, vmax=high, origin="lower", aspect=up / across)
        if ids is not None:
            shown = np.ma.masked_equal(plane_of(ids, number), 0)
            axes.imshow(shown, "tab10", alpha=0.5, vmin=0, vmax=9, origin="lower",
                        interpolation="nearest", aspect=up / across)  # fmt: skip
        axes.invert_xaxis()
        axes.set_title(f"slice {number}")
        axes.set_axis_off()
    return figure


def _ids(mask: Mask | SoftLabel | Array) -> np.ndarray:
    if isinstance(mask, Mask):
        return mask.ids
    return mask.largest_class() if isinstance(mask, SoftLabel) else np.asarray(mask)


def _best(shape: tuple[int, ...], ids: np.ndarray | None, axis: int) -> int:
    if ids is None or not ids.any():
        return shape[axis] // 2
    return int((ids > 0).sum(tuple(n for n in range(3) if n != axis)).argmax())
