"""What lies in an output folder, held against what was made there."""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from voxhint.core.errors import OutputError
from voxhint.files.atomic import JOURNAL, MADE, is_partial
from voxhint.files.hashing import HashMemory
from voxhint.runs.kept_warnings import NOTES
from voxhint.runs.lock import LOCK
from voxhint.runs.manifest import STARTED, is_started, read_manifest

OUTPUTS = "outputs"
"""Key of `made.json`: the hash of every file of the folder by name."""

_SCRATCH = (STARTED, JOURNAL, LOCK, NOTES, ".seconds.json", ".state.ckpt")
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # what systems leave where people look
_NAMED = 3  # how many files a line names


@dataclass(frozen=True, slots=True)
class _Differences:
    """How a folder differs from what was made in it; names are relative to it."""

    gone: tuple[str, ...] = ()
    """Made, and not there any more."""

    changed: tuple[str, ...] = ()
    """There, but not as it was made."""

    foreign: tuple[str, ...] = ()
    """There, and not known to be made by us."""


def differences(out: Path) -> _Differences:
    """Hold what lies in a folder of ours against what was made there.

    Args:
        out: A complete folder, or one in progress. One of a voxhint that kept no record of what it
            made holds nothing that is gone, and everything in it is foreign.

    Returns:
        What differs, in the folder and in those inside that have a manifest of their own.
    """
    made = recorded(out)
    told = {name.partition("/")[0] for name in made}
    parts = [part.name for part in _parts(out) if part.name not in told]
    gone = [name for name in made if not os.path.lexists(out / name)]
    changed = _changed(out, made)
    foreign = _foreign(out, made, parts)
    for part in parts:
        below = differences(out / part)
        gone += [f"{part}/{name}" for name in below.gone]
        changed += [f"{part}/{name}" for name in below.changed]
        foreign += [f"{part}/{name}" for name in below.foreign]
    return _Differences(tuple(gone), tuple(changed), tuple(foreign))


def _foreign(out: Path, made: Collection[str], parts: Collection[str]) -> list[str]:
    """Return the files that are there and that we did not make, parts left out."""
    unknown = [name for name in listed(out) if name not in made and not _is_scratch(name)]
    return [name for name in unknown if name.partition("/")[0] not in parts]


def _changed(out: Path, made: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the files that are there and have a hash that none of ours had."""
    there = [name for name in made if os.path.lexists(out / name)]
    with HashMemory() as memory:
        return [name for name in there if content_of(out / name, memory) not in made[name]]


def recorded(out: Path) -> dict[str, list[str]]:
    """Return what was made in a folder: by name the hashes of each state of a file, latest last."""
    found: dict[str, list[str]] = {}
    outputs = (read_manifest(out) or {}).get(OUTPUTS, {})
    if isinstance(outputs, dict):
        found = {str(name): [str(value)] for name, value in outputs.items() if _is_inside(name)}
    for line in _lines(out / JOURNAL):
        try:
            name, value = json.loads(line)
        except (ValueError, TypeError):  # cut short by a kill
            continue
        found.setdefault(name, []).append(value)
    return found


def _is_inside(name: str) -> bool:
    """Return whether a name leads to no other folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _lines(path: Path) -> Sequence[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.is_file() else ()


def _parts(out: Path) -> Iterator[Path]:
    """Yield the folders inside that have a manifest of their own."""
    for path in sorted(out.iterdir()):
        if path.is_dir() and not path.is_symlink() and is_started(path):
            yield path


def listed(out: Path) -> list[str]:
    """Return the names of all files and links below a folder; no link is followed."""
    found = []
    for above, folders, files in os.walk(out):
        links = [name for name in folders if Path(above, name).is_symlink()]
        found += [Path(above, name).relative_to(out).as_posix() for name in (*files, *links)]
    return sorted(found)


def content_of(path: Path, memory: HashMemory) -> str:
    """Return the hash of a file or of where a link points; a folder has none."""
    if path.is_symlink():
        return "link " + hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    return memory.hash(path) if path.is_file() else ""


def _is_scratch(name: str) -> bool:
    """Return whether a file is called as those that we need for a while, or that nobody needs."""
    path = Path(name)
    return name == MADE or path.name in (*_SCRATCH, *_LITTER) or is_partial(path)


def require_replaceable(out: Path, verb: str) -> None:
    """Refuse to replace anything but what a verb made and nobody changed.

    Args:
        out: A folder with a manifest.
        verb: The one that is about to make something else of it.

    Raises:
        OutputError: Another verb made it, or it holds files that were put there or changed.
    """
    found = (read_manifest(out) or {}).get("verb")
    if found != verb:
        msg = f"{out}: was made by voxhint {found}, not by {verb}; choose another folder"
        raise OutputError(msg)
    differing = differences(out)
    kept = sorted({*differing.changed, *differing.foreign})
    if kept:
        msg = (
            f"{out}: {some(kept)} {'was' if len(kept) == 1 else 'were'} put there or changed since "
            "voxhint made the folder, and may not be replaced; move them, or choose another folder"
        )
        raise OutputError(msg)


def some(names: Sequence[str]) -> str:
    """Return a few names as text, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
