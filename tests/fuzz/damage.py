"""Damage that nobody planned: bytes changed, cut, doubled and swapped at random."""

import gzip
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

CASES = 3  # of each folder of images

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
