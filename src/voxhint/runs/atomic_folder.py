"""Output folders that appear whole or not at all."""

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxhint.core.errors import OutputError, VoxhintError
from voxhint.files.atomic import JOURNAL, MADE, write_json
from voxhint.files.dataset_json import read_object
from voxhint.files.hashing import HashMemory
from voxhint.runs.files_unchanged import OUTPUTS, content_of, listed, recorded, require_replaceable
from voxhint.runs.lock import held, unusable
from voxhint.runs.manifest import STARTED, is_started


@contextmanager
def atomic_folder(out: Path, *, verb: str, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden folder to fill; it becomes `out` once it is complete.

    Whoever fills it writes `made.json` in it, to which the hashes of all files are added.

    Args:
        out: The final name; missing folders above it are made.
        verb: What fills it, as `made.json` says.
        overwrite: Whether a folder that the same verb made may be replaced, if nobody changed it.

    Yields:
        An empty folder beside it.

    Raises:
        OutputError: `out` holds something that may not be replaced, cannot be written, or is being
            made by another process.
        VoxhintError: What filling it raised, which names `out` and not the hidden folder.
    """
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(unusable(out, error)) from None
    with held(out.with_name(f".{out.name}.lock"), out):
        _require_free(out, verb, overwrite=overwrite)
        partial = _hidden(out)
        try:
            _sweep(out)
            partial.mkdir()
            write_json(partial / STARTED, {"verb": verb})
            (partial / JOURNAL).touch()
            yield partial
            _finish(partial)
            _require_free(out, verb, overwrite=overwrite)  # it took a while
            _move(partial, out)
        except VoxhintError as error:  # the hidden folder is nobody's to mend
            error.args = tuple(str(text).replace(partial.name, out.name) for text in error.args)
            raise
        except OSError as error:
            msg = f"{out}: cannot be written ({error.strerror or error}); choose another folder"
            raise OutputError(msg) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _hidden(out: Path) -> Path:
    return out.with_name(f".{out.name}.{secrets.token_hex(6)}.partial")


def _sweep(out: Path) -> None:
    """Remove what killed processes of ours left; whoever holds the lock is alone."""
    left = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{12}}\.partial")
    for path in out.parent.iterdir():
        if left.fullmatch(path.name) and path.is_dir() and is_started(path):
            shutil.rmtree(path)


def _finish(partial: Path) -> None:
    """Add the hashes of what was made."""
    made = recorded(partial)
    with HashMemory() as memory:
        outputs = {
            name: made[name][-1] if name in made else content_of(partial / name, memory)
            for name in listed(partial)
            if name not in (MADE, STARTED, JOURNAL)
        }
    (partial / JOURNAL).unlink()
    write_json(partial / MADE, {**read_object(partial / MADE, exact=True), OUTPUTS: outputs})
    (partial / STARTED).unlink()


def _move(partial: Path, out: Path) -> None:
    """Put a folder in its place; what is replaced is there until then.

    Raises:
        OSError: The system refuses; then nothing has changed.
    """
    if not out.exists():
        partial.replace(out)
        return
    old = _hidden(out)
    out.replace(old)
    try:
        partial.replace(out)
    except OSError:
        old.replace(out)
        raise
    shutil.rmtree(old)


def _require_free(out: Path, verb: str, *, overwrite: bool) -> None:
    """Refuse a place that holds anything but nothing, or what may be replaced.

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
    require_replaceable(out, verb)
