"""Break the files of a study at random, and look for anything but one clear line of `check`.

Every round breaks a fresh copy of a few cases; what a round does follows from the seed and its
number alone, so that `--seed S --only N` does it again.
"""

import argparse
import gzip
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.phantoms import make_study
from tests.spoil import converted

from voxhint.verbs.check import check

CASES = 3  # of each folder of images
ROOM = 3 << 30  # bytes a check of a few cases may add to what this process has
PATIENCE = 30  # seconds a check may take
STARVED = "needs more memory"  # how a reader tells of a MemoryError

ODD = (b"", b"-1", b"0", b"255", b"100", b"1e30", b"-1e308", b"nan", b"inf", b"9" * 3000)

Chance = np.random.Generator
Change = Callable[[bytearray, bytes, Chance], bytearray]


def _flip(content: bytearray, _other: bytes, chance: Chance) -> bytearray:
    """Change some bytes, often of the header."""
    reach = len(content) if chance.random() < 0.5 else min(len(content), 400)
    for place in chance.integers(reach, size=int(chance.integers(1, 9))):
        content[place] = chance.choice([0, 0xFF, 0x7F, int(chance.integers(256))])
    return content


def _truncate(content: bytearray, _other: bytes, chance: Chance) -> bytearray:
    return content[: int(chance.integers(len(content)))]


def _duplicate(content: bytearray, _other: bytes, chance: Chance) -> bytearray:
    low, high = sorted(chance.integers(len(content) + 1, size=2))
    return content[:high] + content[low:]


def _remove(content: bytearray, _other: bytes, chance: Chance) -> bytearray:
    low = int(chance.integers(len(content)))
    return content[:low] + content[low + int(chance.integers(1, 64)) :]


def _splice(content: bytearray, other: bytes, chance: Chance) -> bytearray:
    return content[: int(chance.integers(len(content)))] + other[int(chance.integers(len(other))) :]


def _swap(_content: bytearray, other: bytes, _chance: Chance) -> bytearray:
    return bytearray(other)


def _renumber(content: bytearray, _other: bytes, chance: Chance) -> bytearray:
    """Put an odd number in the place of one near the beginning, where headers and tables are."""
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", content[:2000]))
    if numbers:
        low, high = numbers[int(chance.integers(len(numbers)))].span()
        content[low:high] = ODD[int(chance.integers(len(ODD)))]
    return content


CHANGES: tuple[Change, ...] = (
    _flip,
    _renumber,
    _renumber,
    _truncate,
    _duplicate,
    _remove,
    _splice,
    _swap,
)


def sample(study: Path, folder: Path) -> Path:
    """Copy a study with a few of its cases, without the rows of tables that speak of others."""
    kept: set[str] = set()
    for below in ("imagesTr", "imagesTs"):
        names = sorted(path.name for path in study.glob(f"{below}/*"))
        kept |= {name.rpartition("_")[0] for name in names[: CASES if below == "imagesTr" else 1]}
    for path in sorted(study.rglob("*")):
        place = folder / path.relative_to(study)
        if path.is_dir() or place.name == "made.json":
            continue
        named = path.relative_to(study).parts
        if named[0] in ("imagesTr", "imagesTs", "labelsTr", "labelsTs", "denseTr") or (
            named[0] == "hints" and len(named) > 2
        ):
            case = named[-1] if named[0] == "hints" else named[1]
            if kept and not any(case.startswith(name) for name in kept):
                continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv" and kept:
            header, *rows = path.read_text("utf-8").splitlines()
            said = [row for row in rows if row.partition(",")[0] in kept]
            place.write_text("\n".join([header, *said]), "utf-8")
        else:
            shutil.copyfile(path, place)
    return folder


def invented(folder: Path) -> Path:
    """Write a phantom study with every kind of hint, and with every format of image."""
    make_study(
        folder,
        hints=("tags", "points", "boxes", "diameters", "scribbles", "slices", "soft"),
        cases=3,
    )
    for case, suffix in (("c0", ".mha"), ("c1", ".nrrd"), ("c2", ".mhd")):
        converted(f"imagesTr/{case}_0000.nii.gz", suffix)(folder)
    return folder


def _unpacked(content: bytes) -> bytes | None:
    """Return what is inside a gzip file; None if it is none, or was broken before."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None


def mutate(study: Path, chance: Chance) -> str:
    """Break one file of a study, inside its compression half of the time; return what was done."""
    files = sorted(path for path in study.rglob("*") if path.is_file())
    path, other = (files[int(place)] for place in chance.integers(len(files), size=2))
    change = CHANGES[int(chance.integers(len(CHANGES)))]
    content, more = path.read_bytes(), other.read_bytes()
    unpacked = _unpacked(content) if chance.random() < 0.5 else None
    inside = bytearray(content if unpacked is None else unpacked)
    if inside and more:
        inside = change(inside, more, chance)
    path.write_bytes(bytes(inside) if unpacked is None else gzip.compress(bytes(inside), 1))
    return f"{change.__name__.strip('_')} {path.relative_to(study)}"


def _look(study: Path) -> str:
    """Return what is wrong with how a study is checked: nothing, if all is well."""
    problems, _ = check(study)
    for problem in problems:
        line = str(problem)
        if not line.isprintable() or STARVED in line:
            return f"a line that should not be: {line!r}"
    return ""


def _child(study: Path, write: int) -> None:
    """Check a study under limits and write what is wrong to a pipe; never returns."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(PATIENCE)
    try:
        said = _look(study)
    except BaseException:  # noqa: BLE001 - whatever it is, it is what we look for
        said = traceback.format_exc()
    os.write(write, said.encode("utf-8", "backslashreplace")[-4000:])
    os._exit(0)


def checked(study: Path) -> str:
    """Check a study in a process of its own; return what is wrong with how it ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _child(study, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return f"ended by {name}" + (f" after {PATIENCE} s" if name == "SIGALRM" else "")
    return said


def main() -> int:
    """Break and check until the time is up; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", type=Path, help="a study; a phantom if none is given")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the one round to do again")
    words = parser.parse_args()
    found, number, began = 0, words.only or 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good"
        sample(words.study, good) if words.study else invented(good)
        while time.monotonic() - began < words.seconds:
            broken = Path(folder) / "broken"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(good, broken)
            chance = np.random.default_rng([words.seed, number])
            done = "; ".join(mutate(broken, chance) for _ in range(int(chance.integers(1, 3))))
            if said := checked(broken):
                found += 1
                sys.stdout.write(f"--seed {words.seed} --only {number}: {done}\n{said}\n")
            number += 1
            if words.only is not None:
                break
    rounds = number - (words.only or 0)
    sys.stdout.write(f"{rounds} broken studies checked, {found} not told in clear lines\n")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
