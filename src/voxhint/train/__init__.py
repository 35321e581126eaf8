"""How a network learns."""

from voxhint.train.batches import Example
from voxhint.train.loop import Progress, Result, Settings, Task, train
from voxhint.train.schedule import step_seconds
from voxhint.train.tasks.flow import FlowTask
from voxhint.train.tasks.tags import Bag, TaggedImage, TagTask
from voxhint.train.tasks.voxels import VoxelTask

__all__ = [
    "Bag",
    "Example",
    "FlowTask",
    "Progress",
    "Result",
    "Settings",
    "TagTask",
    "TaggedImage",
    "Task",
    "VoxelTask",
    "step_seconds",
    "train",
]
