"""One process at a time in an output folder, and none in what is only read."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from voxhint.core.errors import OutputError
from voxhint.files.atomic import JOURNAL, MADE
from voxhint.runs.manifest import STARTED

LOCK = ".lock"


@contextmanager
def locked(out: Path, *, source: Path) -> Iterator[None]:
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
        require_ours(out)
        fresh = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(unusable(out, error)) from None
    try:
        with held(out / LOCK, out):
            yield
    finally:
        if fresh:
            with suppress(OSError):  # it holds something, as it should
                out.rmdir()


@contextmanager
def held(path: Path, out: Path) -> Iterator[None]:
    """Hold a lock file while something is made.

    Args:
        path: The lock file; it goes again.
        out: What is being made.

    Yields:
        Nothing.

    Raises:
        OutputError: Another process holds it, or it cannot be written.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        msg = f"{out}: another voxhint is at work in it; wait for it, or choose another folder"
        raise OutputError(msg) from None
    except OSError as error:
        raise OutputError(unusable(out, error)) from None
    try:
        yield
    finally:
        with suppress(OSError):  # where an open file cannot be removed it stays, and does no harm
            path.unlink()
        lock.release()


def require_ours(out: Path) -> None:
    """Refuse a place that holds anything but nothing, or what we made.

    Raises:
        OutputError: It does.
    """
    if out.is_dir():
        inside = {path.name for path in out.iterdir()}
        ours = inside <= {LOCK, JOURNAL} or not inside.isdisjoint((MADE, STARTED))
    else:
        ours = not out.exists()
    if not ours:
        msg = f"{out}: holds something we did not make; choose an empty or new folder"
        raise OutputError(msg)


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


def unusable(out: Path, error: OSError) -> str:
    """Return what to tell of a folder that the system refuses."""
    return f"{out}: cannot be used ({error.strerror or error}); choose another folder"
