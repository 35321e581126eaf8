"""Play whatever writes where another process is at work, and where files cannot grow.

Run as a process of its own: python -m tests.stories.writers build|second|full FOLDER
"""

import json
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.world import build, commands, digest, ended
from tests.luna16 import make_luna16
from tests.stories.commands import tree

from voxhint.runs.lock import held
from voxhint.verbs.demo import SHOWS

WRITING = (
    "label", "train", "predict", "measure", "report", "resume", "go on", "export", "simulate",
    "register", "demo", "import msd", "import dicom", "import luna16",
)  # fmt: skip
"""Every command that writes, as it is called in `tests.fuzz.world` or here."""

FULL = {
    "label": (100, 3500),
    "predict": (100, 1500),
    "train": (100, 30_000, 300_000),
    "go on": (100, 10_000),
    "measure": (100,),
    "export": (100, 2000),
    "import msd": (100,),
    "import dicom": (100,),
    "import luna16": (100, 2000),
    "simulate": (100,),
    "register": (100, 2000),
}
"""Bytes that a file may have, for each command in turn."""


def made(root: Path) -> None:
    """Write a study, a finished run, one that was stopped, and data to import."""
    root.mkdir(parents=True)
    build(root)
    make_luna16(root)
    dense = Path(shutil.copytree(root / "study" / "labelsTs", root / "study" / "denseTr"))
    for number in range(2):  # simulate asks for masks of training images
        (dense / f"t{number}.nii.gz").rename(dense / f"c{number}.nii.gz")


def words_of(root: Path, name: str) -> tuple[list[str], Path]:
    """Return the words of a command, and the lock that it takes first."""
    out = root / "out"
    more = {
        "simulate": ["simulate", root / "study", "--hint", "points:3", "--out", out],
        "register": ["register", root / "study", "--out", out],
        "import luna16": ["import", "luna16", root / "luna", "--test-subsets", "1", "--out", out],
        "demo": ["demo", "--out", out],
    }
    inside = {
        **dict.fromkeys(("label", "train", "predict"), out / ".lock"),
        "measure": out / ".s.json.lock",
        "report": root / "run" / ".lock",
        "resume": root / "run" / ".lock",
        "go on": root / "part" / ".lock",
        "demo": out / SHOWS[0].name / ".study.lock",
    }
    words = [str(word) for word in more[name]] if name in more else commands(root)[name][0]
    return words, inside.get(name, root / ".out.lock")


def played(words: list[str], most: int | None = None) -> tuple[int, list[str]]:
    """Run a command, its files no larger than some bytes; return its code and what it said."""
    reading, writing = os.pipe()  # which has no size
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        for number in (1, 2):
            os.dup2(writing, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        code = ended(words)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
        said = stream.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def times(folder: Path) -> dict[str, int]:
    """Return when each file was last written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def second(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each command where another process holds its place."""
    for name in WRITING:
        words, lock = words_of(root, name)
        lock.parent.mkdir(parents=True, exist_ok=True)
        before = times(root)
        with held(lock, lock):
            code, said = played(words)
        yield name, {"code": code, "said": said, "untouched": times(root) == before}
        shutil.rmtree(root / "out", ignore_errors=True)


def full(built: Path, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each command where files cannot grow, then where they can."""
    for name, sizes in FULL.items():
        root = Path(shutil.copytree(built, folder / name / "world", symlinks=True))
        (words, lock), out = words_of(root, name), root / ("part" if name == "go on" else "out")
        before, ends = set(times(root)), []
        for size in sizes:
            code, said = played(words, size)
            left = [one for one in times(root) if "partial" in one]
            if lock.parent == root or name == "measure":  # made at once, or not at all
                left += {*times(root)} - before
            ends.append({"code": code, "said": said, "left": left})
        code, said = played(words)
        if name == "go on":
            same = tree(out) == tree(built / "run")
        else:
            other = Path(shutil.copytree(built, folder / f"{name} again" / "world", symlinks=True))
            same = played(words_of(other, name)[0])[0] == 0 and digest(out) == digest(other / "out")
        yield name, {"ends": ends, "code": code, "said": said, "same": same}


def main() -> None:
    """Do a part, and print how each command ended as JSON."""
    what, root = sys.argv[1], Path(sys.argv[2])
    if what == "build":
        made(root)
    elif what == "second":
        sys.stdout.write(json.dumps(dict(second(root))))
    else:
        sys.stdout.write(json.dumps(dict(full(root, Path(sys.argv[3])))))


if __name__ == "__main__":
    main()
