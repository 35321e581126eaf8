"""Where the voxels of a MetaImage or NRRD file lie, and their bytes, all of them and no others.

ITK hands out uninitialised memory where compressed bytes are damaged, where a list of files is too
short, and where a header leaves out a size it may leave out. So it reads headers, and we voxels.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped

from voxhint.core.errors import BadFileError
from voxhint.files.formats.compression import Packing, plain_beyond, unpack
from voxhint.files.header_limits import require_sane

_Form = Literal["raw", "text", "hex"] | Packing

_LONGEST_HEADER = 2**20
_MOST_FILES = 100_000
_NUMBERED = re.compile(r"[^%]*%0?\d*d[^%]*")
_YES = ("t", "y", "1")
_ENCODINGS: dict[str, _Form] = {
    "raw": "raw",
    **dict.fromkeys(("txt", "text", "ascii"), "text"),
    "hex": "hex",
    **dict.fromkeys(("gz", "gzip"), "gzip"),
    **dict.fromkeys(("bz2", "bzip2"), "bzip2"),
}


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a MetaImage or NRRD file, names in small letters without spaces."""

    path: Path
    fields: dict[str, str]
    names: tuple[str, ...]
    """Lines behind the fields of a detached header: files in a list."""

    end: int
    """Where voxels begin that lie in the same file."""

    @property
    def nrrd(self) -> bool:
        """Return whether it is NRRD."""
        return self.path.suffix.lower() == ".nrrd"

    def number(self, name: str) -> int:
        """Return a whole number among the fields, 0 if it is not there.

        Raises:
            BadFileError: It is no whole number.
        """
        text = self.fields.get(name, "0")
        if not re.fullmatch(r"-?\d{1,18}", text):
            msg = f"{self.path.name}: header says {name} = {text[:20]!r}; write a whole number"
            raise BadFileError(msg)
        return int(text)

    def yes(self, name: str) -> bool:
        """Return whether a field of MetaImage says yes."""
        return self.fields.get(name, "").lower().startswith(_YES)


def read_header(path: Path) -> Header:
    """Read the lines "key = value" or "key: value" at the head of a file.

    Args:
        path: A .mha, .mhd or .nrrd file.

    Returns:
        Its fields, as they stand.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST_HEADER)
    nrrd, end = path.suffix.lower() == ".nrrd", 0
    sign, data = (":", "datafile") if nrrd else ("=", "elementdatafile")
    fields: dict[str, str] = {}
    lines = head.splitlines(keepends=True)
    for number, line in enumerate(lines):
        end += len(line)
        text = line.decode("latin-1").strip()
        key, _, value = text.partition(sign)
        key = key.replace(" ", "").lower()
        if nrrd and not text:  # an empty line ends the header of NRRD
            return Header(path, fields, (), end)
        if not text.startswith("#") and not value.startswith("="):
            fields[key] = value.strip()
        if key == data and _is_list(value):
            return Header(path, fields, _rest(lines[number + 1 :]), end)
        if key == "elementdatafile":
            break
    return Header(path, fields, (), end)


def _is_list(value: str) -> bool:
    return value.split()[:1] == ["LIST"]


def _rest(lines: list[bytes]) -> tuple[str, ...]:
    return tuple(text for line in lines if (text := line.decode("latin-1").strip()))


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive voxels in one file."""

    path: Path
    start: int
    size: int | None = None
    """Bytes as stored; to the end of the file if None."""


@dataclass(frozen=True, slots=True)
class Voxels:
    """Where the voxels of an image lie, and how they are written."""

    header: Header
    parts: tuple[_Part, ...]
    form: _Form
    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    skipped: int = 0
    """Bytes to leave out once a part is unpacked."""

    @property
    def promised(self) -> int:
        """Return how many bytes each part holds, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize // len(self.parts)


def data_files(header: Header) -> tuple[Path, ...]:
    """Return the files that hold the voxels; the file itself where they lie behind its header.

    Args:
        header: Of a MetaImage or NRRD file.

    Raises:
        BadFileError: It names none, or far too many.
    """
    field = "datafile" if header.nrrd else "elementdatafile"
    said = header.fields.get(field, "LOCAL" if header.nrrd else "").strip('"')
    folder, words = header.path.parent, said.split()
    if not words:
        msg = f"{header.path.name}: header names no file of voxels; write LOCAL or a file name"
        raise BadFileError(msg)
    if said.upper() == "LOCAL":
        return (header.path,)
    if _is_list(said):
        return tuple(folder / name for name in header.names)
    named = _numbered(words)
    if named is None:
        return (folder / said,)
    if not 0 < len(named) <= _MOST_FILES:
        msg = f"{header.path.name}: header names {len(named)} files of voxels; mend {said!r}"
        raise BadFileError(msg)
    return tuple(folder / (words[0] % number) for number in named)


def _numbered(words: list[str]) -> range | None:
    """Return the numbers of files that are called by a pattern, as "slice%03d.raw 1 20 1"."""
    numbers = [int(word) for word in words[1:4] if re.fullmatch(r"-?\d{1,9}", word)]
    if len(numbers) < 2 or not _NUMBERED.fullmatch(words[0]):
        return None
    first, last, step = (*numbers, 1)[:3]
    return range(first, last + (1 if step > 0 else -1), step or 1)


def voxels_of(path: Path, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Voxels:
    """Find the voxels of an image, and refuse what cannot hold them, by its size alone.

    Args:
        path: A .mha, .mhd or .nrrd file.
        shape: Voxels along each axis, as ITK read it.
        dtype: The type of a voxel, as ITK read it.

    Returns:
        Where they lie.

    Raises:
        BadFileError: They are missing, too few, too many, or written in a way that is not read.
    """
    header = read_header(path)
    require_sane(path, shape, 0, stored=0, compressed=False)
    files = data_files(header)
    found = (_nrrd if header.nrrd else _meta)(header, files, shape, dtype)
    for part in found.parts:
        if not part.path.is_file():
            beside = part.path.name
            msg = f"{path.name}: its voxels should lie in {beside}, which is missing; copy both"
            raise BadFileError(msg)
        _require_room(found, part)
    return found


def _require_room(found: Voxels, part: _Part) -> None:
    """Refuse a part whose file is too small, or holds voxels that the header does not speak of.

    Raises:
        BadFileError: It is.
    """
    name, stored = found.header.path, part.path.stat().st_size - part.start
    if part.size is not None and part.size > stored:
        short = part.size - stored
        msg = f"{name.name}: ends {short} bytes before its header promises; copy it again"
        raise BadFileError(msg)
    least = {"raw": found.promised, "hex": 2 * found.promised}.get(found.form, 0)
    if found.form == "text":
        least = 2 * (math.prod(found.shape) // len(found.parts)) - 1
    packed = found.form in {"gzip", "zlib"}
    require_sane(
        name, found.shape, found.promised if packed else least, stored=stored, compressed=packed
    )
    if found.form == "raw":
        plain_beyond(part.path, part.start + found.promised)


def _nrrd(
    header: Header, files: tuple[Path, ...], shape: tuple[int, ...], dtype: "np.dtype[Any]"
) -> Voxels:
    said = header.fields.get("encoding", "raw").lower()
    form = _ENCODINGS.get(said)
    if form is None:
        msg = f"{header.path.name}: encoding {said[:20]!r} is not read; write it as raw or gzip"
        raise BadFileError(msg)
    skipped = header.number("byteskip")
    big = header.fields.get("endian", "little").lower().startswith("big")
    found = Voxels(header, tuple(_Part(p, 0) for p in files), form, _ordered(dtype, big=big), shape)
    begin = header.end if files == (header.path,) else 0
    raw = found.promised if form == "raw" else None
    parts = [_Part(file, _behind(header, file, begin, raw)) for file in files]
    later = max(0, skipped) if form in {"gzip", "bzip2"} else 0
    return Voxels(header, tuple(parts), form, found.dtype, shape, later)


def _behind(header: Header, file: Path, begin: int, raw: int | None) -> int:
    """Return where voxels of NRRD begin behind what is skipped; of raw ones the bytes are given."""
    if not file.is_file():
        return begin
    start = _behind_lines(file, begin, header.number("lineskip"))
    if raw is None:
        return start
    skipped = header.number("byteskip")
    return start + skipped if skipped >= 0 else max(start, file.stat().st_size - raw)


def _behind_lines(file: Path, start: int, lines: int) -> int:
    with file.open("rb") as opened:
        opened.seek(start)
        for _ in range(min(lines, _MOST_FILES)):
            opened.readline(_LONGEST_HEADER)
        return opened.tell()


def _meta(
    header: Header, files: tuple[Path, ...], shape: tuple[int, ...], dtype: "np.dtype[Any]"
) -> Voxels:
    form: _Form = "zlib" if header.yes("compresseddata") else "raw"
    if header.fields.get("binarydata", "true").lower().startswith(("f", "n", "0")):
        form = "text"
    if len(files) != (count := _count(header, shape)):
        many = f"names {len(files)} files of voxels where its size asks for {count}"
        msg = f"{header.path.name}: {many}; mend the list, or export it again"
        raise BadFileError(msg)
    size = header.number("compresseddatasize")
    begin = _begin(header, files, math.prod(shape) * dtype.itemsize // len(files))
    stored = size if form == "zlib" and size > 0 and len(files) == 1 else None
    big = header.yes("binarydatabyteordermsb") or header.yes("elementbyteordermsb")
    parts = tuple(_Part(file, begin, stored) for file in files)
    return Voxels(header, parts, form, _ordered(dtype, big=big), shape)


def _begin(header: Header, files: tuple[Path, ...], size: int) -> int:
    """Return the byte at which the voxels of a MetaImage begin, of each file.

    Raises:
        BadFileError: They would begin in the header.
    """
    start, begin = header.number("headersize"), header.end if files == (header.path,) else 0
    if start < 0:  # voxels end where the file does
        return max(begin, files[0].stat().st_size - size) if files[0].is_file() else begin
    if 0 < start < begin:
        name = header.path.name
        msg = f"{name}: header says its voxels begin inside it, at byte {start}; export it again"
        raise BadFileError(msg)
    return max(begin, start)


def _count(header: Header, shape: tuple[int, ...]) -> int:
    """Return how many files a MetaImage of this size is spread over."""
    words = header.fields["elementdatafile"].split()
    if words[0] != "LIST":
        return math.prod(shape[-1:]) if "%" in words[0] else 1
    axes = int(words[1][0]) if len(words) > 1 and words[1][:1].isdigit() else len(shape) - 1
    return math.prod(shape[axes:])


def _ordered(dtype: "np.dtype[Any]", *, big: bool) -> "np.dtype[Any]":
    return dtype.newbyteorder(">" if big else "<")


def read_voxels(found: Voxels) -> Shaped[np.ndarray, "..."]:
    """Return the voxels, the first axis of the image last.

    Returns:
        An array of the reversed shape, in the byte order of this machine.

    Raises:
        BadFileError: Bytes are damaged, too few or too many.
    """
    read: Callable[[Voxels, _Part], Shaped[np.ndarray, " n"]] = {
        "raw": _raw,
        "text": _text,
        "hex": _hex,
    }.get(found.form, _packed)
    flat = np.concatenate([read(found, part) for part in found.parts])
    return flat.astype(found.dtype.newbyteorder("="), copy=False).reshape(found.shape[::-1])


def _raw(found: Voxels, part: _Part) -> Shaped[np.ndarray, " n"]:
    count = found.promised // found.dtype.itemsize
    return np.fromfile(part.path, found.dtype, count, offset=part.start)


def _packed(found: Voxels, part: _Part) -> Shaped[np.ndarray, " n"]:
    packing: Packing = "gzip"
    if found.form in ("zlib", "bzip2"):
        packing = found.form
    size, span = found.promised + found.skipped, (part.start, part.size)
    content = bytearray()
    unpack(part.path, packing, size, span=span, take=content.extend)
    return np.frombuffer(content, found.dtype, offset=found.skipped)


def _content(part: _Part) -> bytes:
    with part.path.open("rb") as file:
        file.seek(part.start)
        return file.read()


def _hex(found: Voxels, part: _Part) -> Shaped[np.ndarray, " n"]:
    content = bytes.fromhex(_content(part).decode("latin-1"))
    _require_count(found, len(content), found.promised, "bytes")
    return np.frombuffer(content, found.dtype)


def _text(found: Voxels, part: _Part) -> Shaped[np.ndarray, " n"]:
    words = _content(part).replace(b",", b" ").split()
    _require_count(found, len(words), found.promised // found.dtype.itemsize, "numbers")
    return np.array(words).astype(found.dtype)


def _require_count(found: Voxels, count: int, promised: int, what: str) -> None:
    if count != promised:
        msg = (
            f"{found.header.path.name}: holds {count} {what} of voxels where its header promises "
            f"{promised}; export it again"
        )
        raise BadFileError(msg)
