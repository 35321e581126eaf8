"""From one image and its hints to a soft label."""

from collections.abc import Mapping, Sequence

import numpy as np

from voxhint.api.hints import HintLike, Scribbles
from voxhint.api.images import Array, ImageLike, Spacing, volumes_of
from voxhint.config import LabelConfig
from voxhint.core import BACKGROUND, Box, Diameter, Grid, LabelSet, Points, SoftLabel
from voxhint.core.errors import BadHintError
from voxhint.files.validate.hints import outer_corners_mm
from voxhint.prepare import common_grid
from voxhint.propagate import constraints_of, distance_caps, measure_marks, propagate_hints


def soft_label(
    image: ImageLike | Mapping[str, ImageLike],
    hints: Sequence[HintLike],
    labels: Sequence[str],
    *,
    affine: Array | None = None,
    spacing: Spacing | None = None,
    config: LabelConfig | None = None,
) -> SoftLabel:
    """Propagate the hints of one image over its voxels.

    A study of many images knows more: `voxhint.run` also learns across cases, and from tags.

    Args:
        image: A volume, an array of shape (i, j, k), a path, or one of these for each channel.
        hints: `Points`, `Box`, `Diameter`, `Scribbles` or `Tag`.
        labels: Names of the foreground labels; background comes before them.
        affine: Of an array: from voxel indices to world millimetres.
        spacing: Of an array, in mm, instead of an affine.
        config: Knobs of labelling.

    Returns:
        Probability and trust of each class, arrays of shape (class, i, j, k), background first.

    Raises:
        BadHintError: There is no hint, or one names another label or lies outside the image.
        BadFileError: The image cannot be read, or is none.
    """
    config = config or LabelConfig()
    channels = list(image) if isinstance(image, Mapping) else [""]
    volumes = common_grid(tuple(volumes_of(image, channels, affine, spacing).values()))
    grid = volumes[0].grid
    names = (BACKGROUND, *labels)
    _require_known(hints, names)
    _require_inside(hints, grid)
    known = LabelSet(names, tuple(range(len(names))))
    placed = tuple(h.on(grid, len(names)) if isinstance(h, Scribbles) else h for h in hints)
    constraints = constraints_of(grid, placed, known)
    caps = distance_caps([measure_marks(constraints, known)], [grid], known)
    if config.scale_mm is not None:
        caps = dict.fromkeys(caps, config.scale_mm)
    return propagate_hints(constraints, volumes, known, caps_mm=caps, config=config)


def _require_known(hints: Sequence[HintLike], names: Sequence[str]) -> None:
    if not hints:
        msg = "no hint is given; give points, boxes, diameters or scribbles"
        raise BadHintError(msg)
    for hint in hints:
        label = getattr(hint, "label", BACKGROUND)
        if label not in names:
            msg = f"hint for '{label}', and the labels are {', '.join(names)}; name it there"
            raise BadHintError(msg)


def _require_inside(hints: Sequence[HintLike], grid: Grid) -> None:
    corners = outer_corners_mm(grid)
    for hint in hints:
        match hint:
            case Points(label=label, positions_mm=places):
                what, outside = "point", places[~grid.holds(places)]
            case Diameter(label=label, centre_mm=centre):
                what, outside = "centre", centre[None][~grid.holds(centre[None])]
            case Box(label=label, low_mm=low, high_mm=high):
                beside = (high < corners.min(0)).any() or (low > corners.max(0)).any()
                what, outside = "box", np.array([low, high] if beside else [])
            case _:
                continue
        if len(outside):
            place = ", ".join(f"{value:g}" for value in outside[0])
            msg = f"{what} of '{label}' at ({place}) lies outside the image; give world "
            raise BadHintError(msg + "millimetres (RAS) of this image")
