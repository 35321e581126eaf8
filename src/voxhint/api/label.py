"""From one image and its hints to a soft label."""

from collections.abc import Mapping, Sequence

from voxhint.api.hints import HintLike, Scribbles
from voxhint.api.images import Array, ImageLike, Spacing, volumes_of
from voxhint.config import LabelConfig
from voxhint.core import BACKGROUND, LabelSet, SoftLabel
from voxhint.core.errors import BadHintError
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
        BadHintError: There is no hint, or one names another label.
        BadFileError: The image cannot be read, or is none.
    """
    config = config or LabelConfig()
    channels = list(image) if isinstance(image, Mapping) else [""]
    volumes = common_grid(tuple(volumes_of(image, channels, affine, spacing).values()))
    grid = volumes[0].grid
    names = (BACKGROUND, *labels)
    _require_known(hints, names)
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
