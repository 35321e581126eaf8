"""What training will need, by the headers of all images."""

import dataclasses
import math

from voxhint.config import Machine, TrainConfig, bytes_of
from voxhint.core.study import Study
from voxhint.files.images import read_grid
from voxhint.models.memory_forecast import patch_voxels_within, preparing_bytes
from voxhint.models.planning import with_network
from voxhint.propagate.study import is_whole_scan
from voxhint.verbs.memory_limit import require_memory


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
