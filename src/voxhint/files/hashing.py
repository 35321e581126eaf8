"""What files hold, as one number: SHA-256 of every byte, remembered while a file is unchanged."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_SMALL = 2**16  # bytes: reading so few is as fast as looking them up
_SETTLED_NS = 2 * 10**9  # of age: a later change has another time, however coarse a clock
_TELLING = os.name != "nt"  # elsewhere a time of change is kept that no program can set back
_TABLE = """create table if not exists hashes (device integer, inode integer, size integer,
    written integer, changed integer, sha256 text, primary key (device, inode))"""


class HashMemory:
    """Hashes files, and remembers the hashes of large ones in the user's cache folder.

    What is remembered counts as long as device, inode, size, time of writing and time of change are
    the same, all to the nanosecond. A file that was changed within two seconds before it was hashed
    is not remembered. Where no cache can be kept every file is read.
    """

    def __init__(self) -> None:
        self._base: sqlite3.Connection | None = None
        self._tried = False

    def __enter__(self) -> "HashMemory":
        """Return itself; the cache is opened with the first large file."""
        return self

    def _open(self) -> None:
        """Open the cache, if there can be one."""
        if self._tried:
            return
        self._tried = True
        with suppress(sqlite3.Error, OSError, RuntimeError):  # the last: there is no home
            path = cache_folder() / "hashes.sqlite"
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._base = sqlite3.connect(path, timeout=1, isolation_level=None)
            self._base.execute("pragma synchronous = off")
            self._base.execute(_TABLE)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the cache."""
        if self._base is not None:
            self._base.close()

    def hash(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hexadecimal."""
        before = path.stat()
        kept = _TELLING and before.st_size >= _SMALL and before.st_ino != 0
        if kept:
            self._open()
        known = self._ask(before) if kept else None
        if known is not None:
            return known
        began = time.time_ns()
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        settled = max(before.st_mtime_ns, before.st_ctime_ns) + _SETTLED_NS < began
        if kept and settled and _state(path.stat()) == _state(before):
            self._keep(before, found)
        return found

    def _ask(self, status: os.stat_result) -> str | None:
        query = (
            "select sha256 from hashes where device = ? and inode = ?"
            " and size = ? and written = ? and changed = ?"
        )
        with suppress(sqlite3.Error):
            if self._base is not None:
                row = self._base.execute(query, _state(status)).fetchone()
                return None if row is None else str(row[0])
        return None

    def _keep(self, status: os.stat_result, found: str) -> None:
        with suppress(sqlite3.Error):
            if self._base is not None:
                row = (*_state(status), found)
                self._base.execute("insert or replace into hashes values (?, ?, ?, ?, ?, ?)", row)


def _state(status: os.stat_result) -> tuple[int, int, int, int, int]:
    # SQLite's integers have a sign, the system's numbers of devices and inodes have none
    device, inode = (
        n - 2**64 if n >= 2**63 else n for n in (status.st_dev % 2**64, status.st_ino % 2**64)
    )
    return device, inode, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def cache_folder() -> Path:
    """Return where caches of this user go.

    Source:
        XDG Base Directory Specification, version 0.8: relative paths are to be ignored.
    """
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (told if told.is_absolute() else Path.home() / ".cache") / "voxhint"


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with HashMemory() as memory:
        return memory.hash(path)


def hash_of(paths: Iterable[Path]) -> str:
    """Return one hash of files and folders: names, sizes and content.

    Args:
        paths: Files and folders; links are followed, hidden and missing ones skipped.
    """
    digest = hashlib.sha256()
    with HashMemory() as memory:
        for path in paths:
            for file in files_below(path) if path.is_dir() else [path]:
                if file.is_file():
                    inside = file.relative_to(path).as_posix() if path.is_dir() else file.name
                    digest.update(f"{inside}\0{file.stat().st_size}\0".encode())
                    digest.update(bytes.fromhex(memory.hash(file)))
    return digest.hexdigest()


def files_below(folder: Path, *, above: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
    """Yield the files below a folder in order, hidden ones left out.

    Args:
        folder: Links to files and folders in it are followed, but not in circles.
        above: Device and inode of the folders that hold it.

    Yields:
        Paths that begin with the folder's.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_below(path, above=(*above, here))
        elif path.is_file():
            yield path
