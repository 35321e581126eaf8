"""Output folders: who works in them, what they are made from, what they hold, how they go on."""

from voxhint.files.atomic import MADE
from voxhint.runs.atomic_folder import atomic_folder
from voxhint.runs.lock import locked, require_apart
from voxhint.runs.manifest import Manifest, is_started, read_made, study_inputs
from voxhint.runs.resumable_folder import Started, complete, record, start

__all__ = [
    "MADE",
    "Manifest",
    "Started",
    "atomic_folder",
    "complete",
    "is_started",
    "locked",
    "read_made",
    "record",
    "require_apart",
    "start",
    "study_inputs",
]
