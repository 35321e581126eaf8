"""What the things are: values without I/O and without torch."""

from voxhint.core.case import Case
from voxhint.core.errors import VoxhintError
from voxhint.core.grid import Grid, Turn
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import BACKGROUND, UNDRAWN, LabelSet
from voxhint.core.volume import Mask, SoftLabel, Volume

__all__ = [
    "BACKGROUND",
    "UNDRAWN",
    "Box",
    "Case",
    "Diameter",
    "Grid",
    "Hint",
    "LabelSet",
    "Mask",
    "Points",
    "Soft",
    "SoftLabel",
    "Strokes",
    "Tag",
    "Turn",
    "Volume",
    "VoxhintError",
]
