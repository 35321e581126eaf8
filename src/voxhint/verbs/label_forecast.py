"""What labelling will need: memory by the headers of all images, time and disk by one case."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from voxhint.classify.tag_bags import labels_to_localise
from voxhint.config import LabelConfig, Machine
from voxhint.core import Box, Diameter, Grid, Strokes
from voxhint.core.progress import peak_ram_mb
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import told_seconds
from voxhint.files.images import read_grid
from voxhint.files.soft_labels import write_soft_label
from voxhint.propagate.study import is_whole_scan, label_case, plan_propagation
from voxhint.verbs.memory_limit import require_memory

_BASE = 700 * 2**20  # bytes: Python, the libraries and what they compile
_SCAN = 38  # bytes a voxel of a whole scan, whatever the number of labels
_SOFT = 8  # bytes a voxel and soft hint
_LOCATED = 40  # bytes a voxel and class where tags must be located
_CLASS = 48  # bytes a voxel and class of a small image
_WINDOW = _CLASS * 2**25  # bytes of the largest window of a box or ball in a whole scan
_CHANNEL = 70  # bytes a voxel and channel: what describes a voxel to other cases


def require_room(study: Study, config: LabelConfig, machine: Machine) -> None:
    """Refuse to begin where the largest cases do not fit into the memory that is allowed.

    Args:
        study: Opened; the headers of its images are read.
        config: Gives the method.
        machine: Gives `max_ram` and `workers`.
    """
    if machine.max_ram is not None:
        needs = {files.name: _bytes(study, files, config) for files in study.hinted}
        require_memory("labelling", needs, machine)


def forecast_labelling(study: Study, config: LabelConfig, machine: Machine) -> Iterator[str]:
    """Yield what labelling would take, by the largest case; nothing is kept."""
    sizes = {files.name: math.prod(_grid(files).shape) for files in study.hinted}
    first = max(study.hinted, key=lambda files: sizes[files.name])
    began = time.monotonic()
    plan = plan_propagation(study, (first,), config=config, machine=machine)
    began -= time.monotonic() - began  # the check before it reads every image, too
    with TemporaryDirectory() as folder:
        soft = label_case(study, first, plan, config).soft
        write_soft_label(Path(folder), first.name, soft, study.labels, nifti=config.nifti)
        written = sum(path.stat().st_size for path in Path(folder).iterdir())
    each = time.monotonic() - began
    share = sum(sizes.values()) / sizes[first.name]
    yield (
        f"labelling: {told_seconds(each)} for {first.name}, the largest case; in all about "
        f"{told_seconds(each * share / min(machine.workers, len(sizes)))}"
    )
    yield (
        f"labelling: about {peak_ram_mb() / 1024:.1f} GiB a process, and "
        f"{written * share / 1e6:.0f} MB of soft labels on disk"
    )


def _bytes(study: Study, files: CaseFiles, config: LabelConfig) -> int:
    """Return how many bytes a case takes at most."""
    grid, channels = _grid(files), len(files.images)
    if config.method == "geodesic" and is_whole_scan(grid, study.labels):
        each = _SCAN + 5 * (channels - 1) + _SOFT * _softs(study, files)
        beside = _WINDOW * _shaped(study, files)
        if labels_to_localise(study):
            each += _LOCATED * len(study.labels.names)
    else:
        each, beside = _CLASS * _shown(study, files) + _CHANNEL * channels, 0
    return _BASE + math.prod(grid.shape) * each + beside


def _grid(files: CaseFiles) -> Grid:
    return read_grid(next(iter(files.images.values())))


def _softs(study: Study, files: CaseFiles) -> int:
    """Return how many soft hints a case has."""
    return sum(file.label is not None for file in study.stroke_files.get(files.name, ()))


def _shaped(study: Study, files: CaseFiles) -> bool:
    return any(isinstance(hint, Box | Diameter) for hint in study.hints.get(files.name, ()))


def _shown(study: Study, files: CaseFiles) -> int:
    """Return how many classes a case is worked out for."""
    every = len(study.labels.names)
    if study.stroke_files.get(files.name):
        return every
    told = {hint.label for hint in study.hints.get(files.name, ()) if not isinstance(hint, Strokes)}
    return min(every, len(told | {study.labels.names[0]}) + 1)
