"""Run the command line as a user does: here, or in a process of its own."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from voxhint.cli import main

Done = subprocess.CompletedProcess[str]


def voxhint(*words: object) -> Done:
    """Run a command to its end in this process, with every shape checked."""
    told, errors = io.StringIO(), io.StringIO()
    line, code = [*map(str, words)], None
    with redirect_stdout(told), redirect_stderr(errors):
        try:
            main(line)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Done(line, code, told.getvalue(), errors.getvalue())


def apart(*words: object, seconds: float = 600) -> Done:
    """Run a command to its end in a process of its own, which takes seconds to begin."""
    line = [sys.executable, "-c", "from voxhint.cli import main; main()", *map(str, words)]
    plain = {**os.environ, "TERM": "dumb", "COLUMNS": "100"}  # without what a terminal adds
    return subprocess.run(
        line, capture_output=True, text=True, timeout=seconds, check=False, env=plain
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Return every mask of a run by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for below in ("masks", "masksTr", "labels")
        for path in sorted((folder / below).glob("*.nii.gz"))
    }
