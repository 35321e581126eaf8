"""What training will need: memory by the headers of all images, time and disk by one case."""

import dataclasses
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from voxhint.config import Machine, TrainConfig, bytes_of
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import counted, told_seconds
from voxhint.files.images import read_grid
from voxhint.models.memory_forecast import patch_voxels_within, preparing_bytes
from voxhint.models.planning import with_network
from voxhint.models.segmentation_training import VoxelLearning
from voxhint.prepare import Plan
from voxhint.propagate.study import is_whole_scan
from voxhint.verbs.memory_limit import require_memory

_COPIES = 6  # of the weights: the model, and a checkpoint: last, mean, chosen and two moments


def require_room_to_train(study: Study, config: TrainConfig, machine: Machine) -> None:
    """Refuse to begin where no patch, or not the largest case, fits into the memory allowed.

    Args:
        study: Opened; the headers of its images are read.
        config: Gives supervision, network and width.
        machine: Gives `max_ram`.

    Raises:
        BadRecipeError: One does not fit.
    """
    if machine.max_ram is None:
        return
    limit = bytes_of(machine.max_ram)
    patch_voxels_within(limit, with_network(config, study), len(study.channels))
    needs = preparing_needs(study, config)
    require_memory("preparing", needs, dataclasses.replace(machine, workers=1))  # in one process


def preparing_needs(study: Study, config: TrainConfig) -> dict[str, int]:
    """Return how many bytes preparing takes, by case, from the headers of images."""
    dense, channels = config.supervision == "dense", len(study.channels)
    needs = {}
    for files in study.learning_cases(dense=dense):
        grid = read_grid(next(iter(files.images.values())))
        compact = not dense and is_whole_scan(grid, study.labels)
        classes = 0 if compact else len(study.labels.names)
        needs[files.name] = preparing_bytes(math.prod(grid.shape), channels, classes)
    return needs


def preparing_told(
    learning: VoxelLearning, plan: Plan, net: nn.Module, first: CaseFiles | None
) -> tuple[str, float]:
    """Tell what preparing all cases takes, by the largest one; nothing is kept.

    Args:
        learning: What is learnt from all cases.
        plan: Of the network.
        net: The network.
        first: The largest case, if it is known.

    Returns:
        A line for a person, and seconds.
    """
    sizes = {files.name: _voxels(files) for files in learning.cases}
    first = first or max(learning.cases, key=lambda files: sizes[files.name])
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        learning.prepare(Path(folder), first, plan)
        each = time.monotonic() - began
        written = sum(path.stat().st_size for path in Path(folder).iterdir())
    share = sum(sizes.values()) / sizes[first.name]
    weights = sum(one.numel() * one.element_size() for one in net.parameters())
    seconds = each * share
    line = (
        f"preparing: {told_seconds(seconds)} for {counted(len(sizes), 'case')}; on disk "
        f"about {written * share / 1e6:.0f} MB until training ends, and "
        f"{_COPIES * weights / 1e6:.0f} MB of weights"
    )
    return line, seconds


def _voxels(files: CaseFiles) -> int:
    return math.prod(read_grid(next(iter(files.images.values()))).shape)
