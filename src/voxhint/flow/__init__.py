"""Moving between image and noise along a rectified flow: tensors, not patients."""

from voxhint.flow.edit import edit
from voxhint.flow.guide import Energy, guide
from voxhint.flow.invert import invert, round_trip
from voxhint.flow.path import Velocity, interpolate
from voxhint.flow.solve import levels, solve
from voxhint.flow.steer import Guidance, steer, twin_paths

__all__ = [
    "Energy",
    "Guidance",
    "Velocity",
    "edit",
    "guide",
    "interpolate",
    "invert",
    "levels",
    "round_trip",
    "solve",
    "steer",
    "twin_paths",
]
