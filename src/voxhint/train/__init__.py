"""How a network learns."""

from voxhint.train.batches import Example
from voxhint.train.loop import Progress, Result, Settings, Task, train
from voxhint.train.losses import hint_loss, partial_cross_entropy, trusted_dice
from voxhint.train.schedule import step_seconds
from voxhint.train.voxels import VoxelTask

__all__ = [
    "Example",
    "Progress",
    "Result",
    "Settings",
    "Task",
    "VoxelTask",
    "hint_loss",
    "partial_cross_entropy",
    "step_seconds",
    "train",
    "trusted_dice",
]
