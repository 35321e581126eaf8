"""Run the command line as a user does: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def voxhint(*words: object, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=seconds, check=False, env=plain()
    )


def command(*words: object) -> list[str]:
    """Return the words to start a command with this interpreter."""
    main = "from voxhint.cli import main; main()"
    return [sys.executable, "-c", main, *map(str, words)]


def plain() -> dict[str, str]:
    """Return the environment without what a terminal adds."""
    return {**os.environ, "TERM": "dumb", "COLUMNS": "100"}


def tree(folder: Path) -> dict[str, bytes]:
    """Return every mask of a run by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for below in ("masks", "masksTr", "labels")
        for path in sorted((folder / below).glob("*.nii.gz"))
    }
