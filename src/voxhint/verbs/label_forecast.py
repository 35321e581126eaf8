"""What labelling will need: memory by the headers of all images, time and disk by one case."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from voxhint.classify.tag_bags import labels_to_localise
from voxhint.config import LabelConfig, Machine
from voxhint.core import Box, Diameter, Grid, SoftLabel, Strokes
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.progress import peak_ram_mb
from voxhint.core.study import CaseFiles, Study
from voxhint.core.words import told_seconds
from voxhint.files.images import read_grid, read_volume
from voxhint.files.soft_labels import write_soft_label
from voxhint.propagate.shown_labels import SharedSoftLabel
from voxhint.propagate.study import PropagationPlan, is_whole_scan, label_case, rehearse_plan
from voxhint.propagate.volume_warning import extents
from voxhint.propagate.voxel_classifier import FEWEST_CASES, FITS
from voxhint.verbs.memory_limit import require_memory

_BRIEF = 5.0  # seconds of which loading what is compiled may be most: others are labelled too
_TOLD = 0.1  # share of the time that learning takes where it is told of
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


@dataclass(frozen=True, slots=True, eq=False)
class RehearsedLabels:
    """What labelling would take, and what it would make of the largest case."""

    lines: tuple[str, ...]
    seconds: float
    files: CaseFiles
    soft: SoftLabel | CompactSoftLabel | SharedSoftLabel


def rehearse_labelling(study: Study, config: LabelConfig, machine: Machine) -> RehearsedLabels:
    """Return what labelling would take, by the largest case; nothing is kept on disk."""
    sizes = {files.name: _voxels(files) for files in study.hinted}
    first = max(study.hinted, key=lambda files: sizes[files.name])
    share = sum(sizes.values()) / sizes[first.name]
    looked_through = sum(map(_voxels, (*study.training, *study.test))) / sizes[first.name]
    read = _seconds_of_reading(first)
    planned = rehearse_plan(study, first, config=config, machine=machine)
    each, size, soft = _labelled(study, first, planned.plan, config)
    written = float(size)
    if each < _BRIEF:  # as many as teach in a rehearsal; sizes differ between cases
        some = study.hinted[:: -(-len(study.hinted) // FEWEST_CASES)]
        again = [_labelled(study, files, planned.plan, config)[:2] for files in some]
        looked = sum(sizes[files.name] for files in some) / sizes[first.name]
        each, written = (sum(one) / looked for one in zip(*again, strict=True))
    looks = planned.seconds_a_look * planned.looked_at * share / len(sizes)
    learnt = planned.seconds_of_learning * -(-FITS // machine.workers) / FITS
    spread = looks + read * looked_through + each * share
    seconds = learnt + spread / min(machine.workers, len(sizes))
    told = learnt > _TOLD * seconds
    learning = f", {told_seconds(learnt)} of it learning from all" if told else ""
    lines = (
        f"labelling: {told_seconds(each)} for {first.name}, the largest case; in all about "
        f"{told_seconds(seconds)}{learning}",
        f"labelling: about {peak_ram_mb() / 1024:.1f} GiB a process, and "
        f"{written * share / 1e6:.0f} MB of soft labels on disk",
    )
    return RehearsedLabels(lines, seconds, first, soft)


def _seconds_of_reading(files: CaseFiles) -> float:
    """Return how long the check before labelling reads a case."""
    began = time.monotonic()
    for channel, path in files.images.items():
        read_volume(path, channel=channel)
    return time.monotonic() - began


def _labelled(
    study: Study, files: CaseFiles, plan: PropagationPlan, config: LabelConfig
) -> tuple[float, int, SoftLabel | CompactSoftLabel | SharedSoftLabel]:
    """Label a case and keep nothing on disk.

    Returns:
        Seconds it took, bytes it was, and the soft label.
    """
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        known = label_case(study, files, plan, config)
        write_soft_label(Path(folder), files.name, known.soft, study.labels, nifti=config.nifti)
        extents(known.few, known.constraints, known.shown.labels)
        written = sum(path.stat().st_size for path in Path(folder).iterdir())
    return time.monotonic() - began, written, known.soft


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


def _voxels(files: CaseFiles) -> int:
    return math.prod(_grid(files).shape)


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
