"""How a network learns."""

import sys
from importlib import import_module
from types import ModuleType

from voxhint.train.batches import Example
from voxhint.train.loop import Progress, Result, Settings, Task, train
from voxhint.train.step_time import step_seconds
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


class _Callable(ModuleType):
    """The room, which is also the function `voxhint.train`: both go by the verb."""

    def __call__(self, *what: object, **how: object) -> object:
        """Return what `voxhint.api.model.train` returns."""
        return import_module("voxhint.api.model").train(*what, **how)


sys.modules[__name__].__class__ = _Callable
