"""The hints that a person gives from Python; positions are world millimetres, RAS+."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from voxhint.api.images import Array, Numbers, Spacing, grid_of
from voxhint.core import Grid, hints
from voxhint.core.errors import BadHintError
from voxhint.core.labels import UNDRAWN
from voxhint.core.words import counted


class Points(hints.Points):
    """Clicks inside one label; `background` is a label too.

    Args:
        label: Its name.
        positions_mm: One place or several: x, y, z each.
        confidence: How sure of each click, above 0 and at most 1.

    Raises:
        BadHintError: There is no place, or a value is no number or out of its range.
    """

    __slots__ = ()

    def __init__(self, label: str, positions_mm: Array, confidence: Numbers = 1.0) -> None:
        places = np.atleast_2d(_numbers(positions_mm, label))
        if places.ndim != 2 or places.shape[1] != 3 or not len(places):
            _refuse(label, f"points of shape {places.shape}", "give x, y, z in mm for each point")
        sure = np.broadcast_to(_numbers(confidence, label), len(places)).astype(np.float64)
        if (sure <= 0).any() or (sure > 1).any():
            _refuse(label, f"a confidence of {sure.min():g}", "give one above 0 and at most 1")
        super().__init__(label, places, sure)

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"Points({self.label!r}, {counted(len(self.positions_mm), 'point')})"


class Box(hints.Box):
    """A box along the world's axes that holds the whole of one object.

    Args:
        label: Its name.
        low_mm: Least x, y and z.
        high_mm: Greatest x, y and z.

    Raises:
        BadHintError: It is empty, or a value is no number.
    """

    __slots__ = ()

    def __init__(self, label: str, low_mm: Array, high_mm: Array) -> None:
        low, high = (_numbers(corner, label) for corner in (low_mm, high_mm))
        if low.shape != (3,) or high.shape != (3,) or not (low < high).all():
            _refuse(label, f"a box from {low} to {high}", "give the lower corner first, in mm")
        super().__init__(label, low, high)

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"Box({self.label!r}, {self.low_mm.tolist()} to {self.high_mm.tolist()} mm)"


class Diameter(hints.Diameter):
    """Centre and longest diameter of a roundish object.

    Args:
        label: Its name.
        centre_mm: x, y, z.
        diameter_mm: Above 0.

    Raises:
        BadHintError: A value is no number or out of its range.
    """

    __slots__ = ()

    def __init__(self, label: str, centre_mm: Array, diameter_mm: float | int) -> None:
        centre = _numbers(centre_mm, label)
        if centre.shape != (3,) or not diameter_mm > 0:
            _refuse(label, f"a diameter of {diameter_mm} mm at {centre}", "give x, y, z and a size")
        super().__init__(label, centre, float(diameter_mm))

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"Diameter({self.label!r}, {self.diameter_mm:g} mm)"


class Tag(hints.Tag):
    """Whether a label occurs in the image, or between two heights of it.

    Args:
        label: Its name.
        state: present, absent or unknown.
        z_range_mm: The heights; the whole image if not given.

    Raises:
        BadHintError: The state is none of these.
    """

    __slots__ = ()

    def __init__(
        self,
        label: str,
        state: str = "present",
        z_range_mm: tuple[float, float] | None = None,
    ) -> None:
        if state not in ("present", "absent", "unknown"):
            _refuse(label, f"state '{state}'", "use present, absent or unknown")
        super().__init__(label, cast("hints.State", state), z_range_mm)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scribbles:
    """Strokes: the number of a label at each voxel drawn on, 255 elsewhere.

    Labels count from 1 in the order that `soft_label` is given them; 0 is background.

    Args:
        drawn: Whole numbers, of the shape of the image.
        affine: Where they lie; as the image if neither this nor a spacing is given.
        spacing: The same in mm.
        whole_slices: Everything on the slices drawn on is drawn, so that edges are edges.
    """

    drawn: Array
    affine: Array | None = None
    spacing: Spacing | None = None
    whole_slices: bool = False

    def on(self, grid: Grid, classes: int) -> hints.Strokes:
        """Return the strokes where they lie.

        Args:
            grid: Of the image.
            classes: How many labels there are, background included.

        Raises:
            BadHintError: They are of another shape, or hold a number that stands for no label.
        """
        drawn = np.asarray(self.drawn)
        strange = sorted(set(np.unique(drawn).tolist()) - {*range(classes), UNDRAWN})
        if strange:
            msg = f"scribbles hold {strange[:5]}; use 0 to {classes - 1}, and {UNDRAWN} elsewhere"
            raise BadHintError(msg)
        own = self.affine is not None or self.spacing is not None
        place = grid_of(drawn.shape, self.affine, self.spacing) if own else grid
        if drawn.shape != place.shape:
            msg = f"scribbles of shape {drawn.shape} on an image of shape {place.shape}; "
            raise BadHintError(msg + "draw on the image, or give their affine")
        return hints.Strokes(drawn.astype(np.uint8), place, self.whole_slices)

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        drawn = np.asarray(self.drawn)
        return f"Scribbles({counted(int((drawn != UNDRAWN).sum()), 'voxel')} drawn)"


HintLike = hints.Hint | Scribbles


def _numbers(values: Numbers, label: str) -> np.ndarray:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if not np.isfinite(found).all():
        _refuse(label, f"{values!r}"[:60], "give numbers in mm")
    return found


def _refuse(label: str, found: str, advice: str) -> None:
    """Refuse a hint.

    Raises:
        BadHintError: Always.
    """
    msg = f"hint for '{label}': {found}; {advice}"
    raise BadHintError(msg)
