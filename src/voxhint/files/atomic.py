"""Files that appear whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voxhint.core.errors import OutputError


def _partial(path: Path) -> Path:
    # writers choose the format by the suffix, so the temporary name keeps it
    suffix = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    return path.with_name(f".{path.name.removesuffix(suffix)}.{os.getpid()}.partial{suffix}")


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
        partial.replace(path)
        _flush(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"{path}: cannot be written ({reason}); free space, or choose another folder"
        raise OutputError(msg) from error
    finally:
        _forget(partial)


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
