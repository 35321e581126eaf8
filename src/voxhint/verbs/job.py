"""An output folder that knows what it is being made from, so that work can stop and go on."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from voxhint.core.errors import BadFileError, OutputError
from voxhint.files.atomic import write_json
from voxhint.files.description import NAME, read_object
from voxhint.files.luna16 import image_files
from voxhint.verbs.folders import MADE, require_apart

_STARTED = ".job.json"
_LOCK = ".lock"
_WHOLE = 8 * 2**20  # bytes: larger files are told apart by size and both ends
_PARTS = ("voxhint", "torch", "monai", "numpy", "scipy", "scikit-image", "SimpleITK", "nibabel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What decides the content of an output folder."""

    verb: str
    config: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, str] = field(default_factory=dict)
    """A hash for each part of the input, by name."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]


@contextmanager
def alone(out: Path, *, source: Path) -> Iterator[None]:
    """Keep an output folder to this process; the system lets go of it when the process dies.

    Args:
        out: The folder; if it is not there, it is made, and removed again if it stays empty.
        source: What is only read, and must not hold the folder.

    Yields:
        Nothing; inside, no other process of ours works in the folder.

    Raises:
        OutputError: Another one does, or the folder holds something else or cannot be written.
    """
    require_apart(source, out)
    try:
        _require_ours(out)
        fresh = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / _LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        msg = f"{out}: another voxhint is at work in it; wait for it, or choose another folder"
        raise OutputError(msg) from None
    except OSError as error:
        raise OutputError(_unusable(out, error)) from None
    try:
        yield
    finally:
        with suppress(OSError):  # where an open file cannot be removed it stays, and does no harm
            (out / _LOCK).unlink()
        lock.release()
        if fresh:
            with suppress(OSError):  # it holds something, as it should
                out.rmdir()


def start(out: Path, ticket: Ticket, *, overwrite: bool) -> bool:
    """Open an output folder, new or begun by the same command.

    Args:
        out: The folder; made if it is not there.
        ticket: What is about to be made.
        overwrite: Whether an earlier result of ours may be removed.

    Returns:
        Whether everything is made already.

    Raises:
        OutputError: The folder holds something else, or cannot be written.
    """
    wanted = ticket.to_json()
    try:
        found = _found(out)
        if found is not None and overwrite and _changed(found, wanted):
            _clear(out)
            found = None
        if found is not None:
            _require_unchanged(out, found, wanted)
            _sweep(out)
            return (out / MADE).exists()
        _require_ours(out)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(_unusable(out, error)) from None
    write_json(out / _STARTED, wanted)
    return False


def _unusable(out: Path, error: OSError) -> str:
    return f"{out}: cannot be used ({error.strerror or error}); choose another folder"


def _require_ours(out: Path) -> None:
    """Refuse a place that holds anything but nothing, or what we made.

    Raises:
        OutputError: It does.
    """
    if out.is_dir():
        inside = {path.name for path in out.iterdir()}
        ours = inside <= {_LOCK} or not inside.isdisjoint((MADE, _STARTED))
    else:
        ours = not out.exists()
    if not ours:
        msg = f"{out}: holds something we did not make; choose an empty or new folder"
        raise OutputError(msg)


def _clear(out: Path) -> None:
    """Remove an earlier result; at every moment a record says what the rest was made from."""
    if (out / MADE).exists():
        (out / MADE).replace(out / _STARTED)
    for path in out.iterdir():
        if path.name in (_LOCK, _STARTED):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sweep(out: Path) -> None:
    """Remove what a killed run was writing when it was killed."""
    for path in out.rglob(".*.partial*"):
        if path.is_file():
            path.unlink()


def begun(out: Path) -> bool:
    """Return whether work was begun or done in a folder, so that its input was looked over."""
    return any((out / name).is_file() for name in (MADE, _STARTED))


def finish(out: Path, ticket: Ticket, facts: Mapping[str, Any]) -> None:
    """Write `made.json`: from now on the folder is complete.

    Args:
        out: The folder.
        ticket: What it was opened with.
        facts: What else is worth knowing, such as seconds and warnings.
    """
    versions = {name: version(name) for name in _PARTS}
    write_json(out / MADE, {**ticket.to_json(), "versions": versions, **facts})
    (out / _STARTED).unlink(missing_ok=True)


def read_made(out: Path) -> dict[str, Any]:
    """Read what a folder of ours says of itself.

    Args:
        out: The folder.

    Returns:
        The content of `made.json`.

    Raises:
        OutputError: There is none, or it is damaged.
    """
    try:
        return read_object(out / MADE)
    except BadFileError:
        msg = f"{out}: holds no complete result of voxhint; make it first"
        raise OutputError(msg) from None


def _found(out: Path) -> dict[str, Any] | None:
    for name in (MADE, _STARTED):
        if (out / name).is_file():
            try:
                return read_object(out / name)
            except BadFileError:
                msg = f"{out / name}: damaged; remove the folder and start again"
                raise OutputError(msg) from None
    return None


def _changed(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    flat, flatter = _flat(found), _flat(wanted)
    parts = ("verb", "config", "seed", "inputs")
    return sorted(
        key
        for key in flat.keys() | flatter.keys()
        if key.split(".")[0] in parts and flat.get(key) != flatter.get(key)
    )


def _require_unchanged(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    changed = _changed(found, wanted)
    if changed:
        was, now = _flat(found), _flat(wanted)
        told = [
            key if key.startswith("inputs.") else f"{key} (was {was.get(key)}, is {now.get(key)})"
            for key in changed[:4]
        ]
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        msg = (
            f"{out}: was begun with another {', '.join(told)}{more}; "
            "choose another folder, or --overwrite"
        )
        raise OutputError(msg)


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat


def hash_of(paths: Iterable[Path]) -> str:
    """Return one hash of files and folders: names, sizes and content.

    Of a file over 8 MiB only its size and its first and last 64 KiB count, so that an archive of
    scans is looked over in seconds.

    Args:
        paths: Files and folders; links are followed, missing ones skipped.
    """
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                inside = file.relative_to(path).as_posix() if path.is_dir() else file.name
                digest.update(f"{inside}\0{file.stat().st_size}\0".encode())
                digest.update(_content(file))
    return digest.hexdigest()


def _content(file: Path) -> bytes:
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= _WHOLE:
            return hashlib.sha256(stream.read()).digest()
        head = stream.read(2**16)
        stream.seek(size - 2**16)
        return hashlib.sha256(head + stream.read()).digest()


def study_inputs(study: Path, parts: Iterable[str]) -> dict[str, str]:
    """Return a hash for each named part of a study that is there.

    Args:
        study: The study folder; in LUNA16's layout its scans stand for `imagesTr`.
        parts: Files and folders in it.
    """
    found = {part: hash_of([study / part]) for part in parts if (study / part).exists()}
    if "imagesTr" in parts and not (study / NAME).exists():
        found["imagesTr"] = hash_of(image_files(study))
    return found
