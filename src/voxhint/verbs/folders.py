"""Output folders that appear whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxhint.core.errors import OutputError

MADE = "made.json"
"""Lies in every folder we make: what made it, from what, with which settings."""


@contextmanager
def building(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden folder to fill; it becomes `out` once it is complete.

    Args:
        out: The final name; missing folders above it are made.
        overwrite: Whether a folder we made earlier may be replaced.

    Yields:
        An empty folder beside it.

    Raises:
        OutputError: `out` holds something that may not be replaced, or cannot be written.
    """
    out = out.absolute()
    _require_free(out, overwrite=overwrite)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            shutil.rmtree(out)
        partial.replace(out)
    except OSError as error:
        msg = f"{out}: cannot be written ({error.strerror or error}); choose another folder"
        raise OutputError(msg) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_apart(source: Path, out: Path) -> None:
    """Refuse to write into what is only read, or over a folder that holds it.

    Args:
        source: A study, or a folder of images.
        out: Where something is to be made.

    Raises:
        OutputError: One lies in the other.
    """
    read, made = source.resolve(), out.resolve()
    if made == read or read in made.parents or made in read.parents:
        msg = f"{out}: and {source}, which is only read, lie in each other; choose a folder apart"
        raise OutputError(msg)


def _require_free(out: Path, *, overwrite: bool) -> None:
    """Refuse a place that holds anything but nothing, or what we made and may replace.

    Raises:
        OutputError: It does.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        msg = f"{out}: is no folder; choose another place"
        raise OutputError(msg)
    if not any(out.iterdir()):
        return
    if not (out / MADE).is_file():
        msg = f"{out}: holds something we did not make; choose an empty or new folder"
        raise OutputError(msg)
    if not overwrite:
        msg = f"{out}: is there already; choose another folder, or say --overwrite"
        raise OutputError(msg)
