"""An output folder that is filled step by step, so that work can stop, go on and be mended."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from voxhint.core.errors import OutputError
from voxhint.files.atomic import JOURNAL, MADE, is_partial, write_json
from voxhint.files.hashing import HashMemory
from voxhint.runs.files_unchanged import (
    OUTPUTS,
    content_of,
    differences,
    listed,
    recorded,
    require_replaceable,
    some,
)
from voxhint.runs.kept_warnings import NOTES, kept
from voxhint.runs.lock import LOCK, require_ours, unusable
from voxhint.runs.manifest import (
    STARTED,
    Manifest,
    changes,
    is_started,
    read_manifest,
    require_unchanged,
)

_CHANGED = "changed"
"""Folder inside for files that were changed by others, and had to be made again."""

_NOTED = "notes"  # key of made.json
_PACKAGES = ("voxhint", "torch", "monai", "numpy", "scipy", "scikit-image", "SimpleITK", "nibabel")


@dataclass(frozen=True, slots=True)
class Started:
    """How an output folder was found."""

    complete: bool = False
    """Everything is made, and lies there as it was made."""

    lost: tuple[str, ...] = ()
    """Names of what is to be made again, because it is gone or was changed."""

    warnings: tuple[str, ...] = ()
    """What a person should know of that."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was said of the folder when it was complete."""


_Longer = Callable[[Sequence[str], Mapping[str, Any], Mapping[str, Any]], bool]
"""From the names of what differs, what a folder says it was begun with, and what is wanted now."""


def start(
    out: Path, manifest: Manifest, *, overwrite: bool, longer: _Longer | None = None
) -> Started:
    """Open an output folder: new, begun by the same command, or complete.

    A complete folder is looked over: where files are gone or changed it is in progress again, so
    that whoever makes what is missing mends it. A changed file is kept in the folder `changed`.

    Args:
        out: The folder; made if it is not there.
        manifest: What is about to be made.
        overwrite: Whether an earlier result of ours may be removed.
        longer: Tells whether no more than more of the same is wanted; what is there is then the
            beginning.

    Returns:
        What is there.

    Raises:
        OutputError: The folder holds something else, or cannot be written.
    """
    wanted = manifest.to_json()
    try:
        found = read_manifest(out)
        if found and (changed := changes(found, wanted)):
            if longer is not None and longer(changed, found, wanted):
                found = _lengthen(out, found, wanted)
            elif overwrite:
                require_replaceable(out, manifest.verb)
                _clear(out)
                found = None
        if found is not None:
            require_unchanged(out, found, wanted)
            return _resume(out, found)
        require_ours(out)
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / STARTED, wanted)
        (out / JOURNAL).touch()
    except OSError as error:
        raise OutputError(unusable(out, error)) from None
    return Started()


def _lengthen(
    out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what a folder says that was made the beginning of what is wanted now."""
    (out / JOURNAL).touch()
    _remember(out, found)
    write_json(out / STARTED, {**found, **{name: wanted[name] for name in ("config", "inputs")}})
    (out / MADE).unlink(missing_ok=True)
    return read_manifest(out)


def complete(
    out: Path, manifest: Manifest, facts: Mapping[str, Any], *, parts: Iterable[str] = ()
) -> None:
    """Write `made.json`: from now on the folder is complete.

    Args:
        out: The folder.
        manifest: What it was opened with.
        facts: What else is worth knowing, such as seconds and warnings.
        parts: Names of folders inside that are complete themselves.
    """
    versions = {name: version(name) for name in _PACKAGES}
    outputs = {
        name: hashes[-1]
        for name, hashes in recorded(out).items()
        if (out / name).is_file() and not _is_hidden(name)
    }
    with HashMemory() as memory:
        for part in parts:
            outputs[f"{part}/{MADE}"] = memory.hash(out / part / MADE)
            outputs |= {f"{part}/{name}": each[-1] for name, each in recorded(out / part).items()}
    notes = kept(out)
    told = {
        **manifest.to_json(),
        "versions": versions,
        **facts,
        **({_NOTED: notes} if notes else {}),
    }
    write_json(out / MADE, {**told, OUTPUTS: dict(sorted(outputs.items()))})
    _forget_progress(out)


def forget_input(out: Path, name: str) -> None:
    """Take an input out of what a folder in progress is made from: nothing was made of it.

    Args:
        out: The folder.
        name: Of the input; where it changes later, the same command goes on.
    """
    found = read_manifest(out) or {}
    inputs = {known: value for known, value in found["inputs"].items() if known != name}
    write_json(out / STARTED, {**found, "inputs": inputs})


def record(out: Path, name: str) -> None:
    """Enter a file that was written into a complete folder; one in progress has a journal for that.

    Args:
        out: The folder.
        name: Of the file, relative to it.
    """
    if not (out / MADE).is_file() or (out / JOURNAL).is_file():
        return
    made = read_manifest(out) or {}
    if isinstance(made.get(OUTPUTS), dict):
        with HashMemory() as memory:
            made[OUTPUTS][name] = memory.hash(out / name)
        write_json(out / MADE, made)


def _resume(out: Path, found: Mapping[str, Any]) -> Started:
    """Return how a folder was found, those of its files set aside that are not as they were."""
    _sweep(out)
    differing = differences(out)
    gone = [name for name in differing.gone if not _is_hidden(name)]
    lost = (*gone, *differing.changed)
    was_complete = (out / MADE).exists()
    if was_complete and not lost:
        _forget_progress(out)
        return Started(complete=True)
    if was_complete:
        _remember(out, found)
        (out / MADE).replace(out / STARTED)
    (out / JOURNAL).touch()
    for name in differing.changed:
        _set_aside(out, name)
    _drop_parts(out, lost)
    _leave_to_parts(out)
    warnings = _warnings(gone if was_complete else [], differing.changed)
    return Started(lost=lost, warnings=tuple(warnings), facts=found if was_complete else {})


def _remember(out: Path, found: Mapping[str, Any]) -> None:
    """Keep again what a folder that was complete says of work that is not done again."""
    if (out / MADE).exists() and isinstance(found.get(_NOTED), dict):
        write_json(out / NOTES, found[_NOTED])


def _leave_to_parts(out: Path) -> None:
    """Forget what lies in parts that have a manifest: they change it as they are mended."""
    found = read_manifest(out) or {}
    outputs = found.get(OUTPUTS)
    if isinstance(outputs, dict):
        own = {n: h for n, h in outputs.items() if not is_started(out / n.partition("/")[0])}
        write_json(out / STARTED, {**found, OUTPUTS: own})


def _warnings(gone: Sequence[str], changed: Sequence[str]) -> Iterator[str]:
    kept = [name for name in changed if not _is_hidden(name)]
    scratch = [name for name in changed if _is_hidden(name)]
    if gone:
        yield f"{some(gone)}: gone since it was made; made again"
    if kept:
        yield f"{some(kept)}: changed since it was made; kept in {_CHANGED}, and made again"
    if scratch:
        yield f"{some(scratch)}: damaged; made again"


def _set_aside(out: Path, name: str) -> None:
    """Move a changed file to where it is kept; what only a run needs is removed."""
    path = out / name
    if _is_hidden(name):
        path.unlink()
        return
    place, number = out / _CHANGED / name, 1
    while place.exists():
        number += 1
        place = out / f"{_CHANGED} {number}" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    path.replace(place)


def set_aside_changed(out: Path, name: str) -> tuple[str, ...]:
    """Keep a file in the folder `changed` that is not as it was made, before it is made again.

    Args:
        out: A folder of ours, complete or in progress; one that keeps no record is left alone.
        name: Of the file, relative to it.

    Returns:
        What a person should know of it.
    """
    known = recorded(out)
    if not known or not (out / name).is_file():
        return ()
    with HashMemory() as memory:
        if content_of(out / name, memory) in known.get(name, ()):
            return ()
    _set_aside(out, name)
    return tuple(_warnings([], [name]))


def _drop_parts(out: Path, lost: Sequence[str]) -> None:
    """Remove what was made in parts whose manifest is lost: nothing says what it is any more."""
    for path in map(PurePosixPath, lost):
        if path.name != MADE:
            continue
        for name in recorded(out):
            if name.startswith(f"{path.parent}/"):
                (out / name).unlink(missing_ok=True)
        for name in (STARTED, JOURNAL, LOCK, NOTES):
            (out / path.parent / name).unlink(missing_ok=True)
        _prune(out / path.parent)


def _clear(out: Path) -> None:
    """Remove an earlier result; at every moment a record says what the rest was made from."""
    if (out / MADE).exists():
        (out / MADE).replace(out / STARTED)
    kept = {LOCK, STARTED}
    for name in listed(out):
        if name not in kept:
            (out / name).unlink()
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            _prune(path)


def _prune(folder: Path) -> None:
    """Remove a folder and those in it that hold nothing."""
    with suppress(OSError):  # it holds something
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                _prune(path)
        folder.rmdir()


def _sweep(out: Path) -> None:
    """Remove what a killed run was writing when it was killed."""
    for path in out.rglob(".*.partial*"):
        if path.is_file() and is_partial(path):
            path.unlink()


def _forget_progress(out: Path) -> None:
    for name in (STARTED, JOURNAL, NOTES):
        (out / name).unlink(missing_ok=True)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
