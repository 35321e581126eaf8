"""Files that appear whole or not at all, entered in the journal of the folder they belong to."""

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voxhint.core.errors import OutputError
from voxhint.files.hashing import file_hash

JOURNAL = ".outputs.jsonl"
"""In a folder in progress: name and hash of each file that was made in it, a line each."""

MADE = "made.json"
"""Lies in every folder we make: what made it, from what, with which settings."""

_PARTIAL = re.compile(r"\..+\.[0-9a-f]{12}\.partial(\..+)?")


def _partial(path: Path) -> Path:
    # writers choose the format by the suffix, so the temporary name keeps it
    suffix = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    token = secrets.token_hex(6)
    return path.with_name(f".{path.name.removesuffix(suffix)}.{token}.partial{suffix}")


def is_partial(path: Path) -> bool:
    """Return whether a file is called as those are that were being written."""
    return _PARTIAL.fullmatch(path.name) is not None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a hidden name to write to; it becomes `path` once it is safely on the disk.

    Args:
        path: The final name; missing folders above it are made.

    Yields:
        A path beside it with the same suffix.

    Raises:
        OutputError: The disk is full, the place may not be written, or nothing was written.
    """
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush(partial)
        _enter(path, partial)
        partial.replace(path)
        _flush(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"{path}: cannot be written ({reason}); free space, or choose another folder"
        raise OutputError(msg) from error
    finally:
        _forget(partial)


def _enter(path: Path, partial: Path) -> None:
    """Enter a file in the journal of the innermost folder in progress, before it is there."""
    if path.name.startswith(".") or path.name == MADE:
        return
    for folder in path.parents:
        if (folder / JOURNAL).is_file():
            line = json.dumps([path.relative_to(folder).as_posix(), file_hash(partial)])
            with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(f"\n{line}")  # a line that a kill cut short spoils no other
                journal.flush()
                os.fsync(journal.fileno())
            return


def _forget(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except NotADirectoryError:  # a file lies where a folder was wanted, so nothing was written
        return


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - JSON is what it is
    """Write a JSON file for people: indented, in the order given, with a final newline."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
