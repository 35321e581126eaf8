"""How a network learns."""

from voxhint.train.batches import Example
from voxhint.train.loop import Progress, Result, Settings, Task, train
from voxhint.train.losses import hint_loss, partial_cross_entropy, trusted_dice
from voxhint.train.schedule import step_seconds
from voxhint.train.tags import Bag, TaggedImage, TagTask
from voxhint.train.voxels import VoxelTask

__all__ = [
    "Bag",
    "Example",
    "Progress",
    "Result",
    "Settings",
    "TagTask",
    "TaggedImage",
    "Task",
    "VoxelTask",
    "hint_loss",
    "partial_cross_entropy",
    "step_seconds",
    "train",
    "trusted_dice",
]
