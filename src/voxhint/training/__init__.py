"""How a network learns."""

from voxhint.training.batches import Example
from voxhint.training.loop import Progress, Result, Settings, Task, train
from voxhint.training.step_time import step_seconds
from voxhint.training.tasks.flow import FlowTask
from voxhint.training.tasks.tags import Bag, TaggedImage, TagTask
from voxhint.training.tasks.voxels import VoxelTask

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
