"""Moving between image and noise along a rectified flow: tensors, not patients."""

from voxhint.flow.edit import edit
from voxhint.flow.guidance import Energy, Guidance, steer, twin_paths
from voxhint.flow.invert import invert
from voxhint.flow.solve import levels, solve
from voxhint.flow.straight_path import Velocity, interpolate

__all__ = [
    "Energy",
    "Guidance",
    "Velocity",
    "edit",
    "interpolate",
    "invert",
    "levels",
    "solve",
    "steer",
    "twin_paths",
]
