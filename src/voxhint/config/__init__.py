"""Every knob: its name, its default, its range, and what it does."""

from voxhint.config.labelling import LabelConfig
from voxhint.config.machine import Machine, bytes_of, seconds_of
from voxhint.config.recipe import MeasureConfig, PredictConfig, Recipe, read_recipe
from voxhint.config.training import TrainConfig
from voxhint.config.without_effect import require_effect, unused, without_effect

__all__ = [
    "LabelConfig",
    "Machine",
    "MeasureConfig",
    "PredictConfig",
    "Recipe",
    "TrainConfig",
    "bytes_of",
    "read_recipe",
    "require_effect",
    "seconds_of",
    "unused",
    "without_effect",
]
