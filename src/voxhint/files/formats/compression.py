"""Compressed voxels, unpacked to the byte that their header promises, and their sums checked."""

import bz2
import contextlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from voxhint.core.errors import BadFileError

Packing = Literal["gzip", "zlib", "bzip2"]

_CHUNK = 1 << 20
_BEYOND = 1 << 24  # bytes looked at behind the promised ones, to reach the sum at their end


def packing_of(path: Path) -> Packing | None:
    """Return how a whole file is compressed, by its first bytes, whatever its name says."""
    with path.open("rb") as file:
        return "gzip" if file.read(2) == b"\x1f\x8b" else None


def _inflated(file: BinaryIO, packing: Packing, size: int | None) -> Iterator[bytes]:
    """Yield the bytes of zlib or gzip streams that follow one another.

    Raises:
        EOFError: The file ends inside of one.
        zlib.error: A stream is damaged, or its sum is wrong.
    """
    bits = {"gzip": 31}.get(packing, 47)  # gzip alone, or whichever of the two it is
    stream, left = zlib.decompressobj(bits), size
    while left != 0 and (raw := file.read(_CHUNK if left is None else min(left, _CHUNK))):
        left = None if left is None else left - len(raw)
        while raw:
            if stream.eof:
                raw = raw.lstrip(b"\0")
                if not raw:  # padding to the end
                    return
                stream = zlib.decompressobj(bits)
            yield stream.decompress(raw, _CHUNK)
            raw = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise EOFError


def _pieces(file: BinaryIO, packing: Packing, size: int | None) -> Iterator[bytes]:
    if packing != "bzip2":
        yield from _inflated(file, packing, size)
        return
    with bz2.open(file) as plain:
        while piece := plain.read(_CHUNK):
            yield piece


def first_bytes(path: Path, packing: Packing | None, count: int) -> bytes:
    """Return the first bytes of a file, unpacked; fewer if it ends or is damaged before."""
    with path.open("rb") as file:
        if packing is None:
            return file.read(count)
        head = b""
        with contextlib.suppress(zlib.error, EOFError, OSError):
            for piece in _pieces(file, packing, None):
                head += piece
                if len(head) >= count:
                    break
        return head[:count]


def unpack(
    path: Path,
    packing: Packing,
    promised: int,
    *,
    span: tuple[int, int | None] = (0, None),
    take: Callable[[bytes], object] | None = None,
) -> int:
    """Unpack the bytes that a header promises, their sums checked.

    Args:
        path: The file.
        packing: How it is compressed.
        promised: Bytes there must be.
        span: Where the compressed bytes begin, and how many they are; to the end if None.
        take: Is given the bytes, piece after piece; they count once all of it has ended well.

    Returns:
        How many zeros lie behind them; more than 16 MiB are not counted, nor is the sum at their
        end looked at.

    Raises:
        BadFileError: The stream is damaged, too short, or holds more than zeros behind what is
            promised.
    """
    count = beyond = 0
    try:
        with path.open("rb") as file:
            file.seek(span[0])
            for piece in _pieces(file, packing, span[1]):
                part = piece[: promised - count]
                count += len(part)
                if take is not None:
                    take(part)
                beyond += len(piece) - len(part)
                _require_blank(path, piece[len(part) :], promised)
                if beyond > _BEYOND:
                    break
    except (zlib.error, EOFError, OSError) as error:
        cut = isinstance(error, EOFError)
        why = "they end in the middle of the stream" if cut else f"stream or checksum: {error}"
        msg = f"{path.name}: its compressed voxels are damaged ({why}); copy it again"
        raise BadFileError(msg) from error
    if count < promised:
        msg = (
            f"{path.name}: ends {promised - count} bytes before its header promises; copy it again"
        )
        raise BadFileError(msg)
    return beyond


def _require_blank(path: Path, rest: bytes, promised: int) -> None:
    """Refuse bytes behind the promised ones, as where a header understates what it describes.

    Args:
        path: The file, for the message.
        rest: What lies behind.
        promised: Bytes the header promises.

    Raises:
        BadFileError: They are more than padding.
    """
    if rest.strip(b"\0"):
        msg = (
            f"{path.name}: holds more voxels than its header declares ({promised} bytes); mend its "
            "size and number type, or export it again"
        )
        raise BadFileError(msg)


def plain_beyond(path: Path, promised: int) -> int:
    """Return how many zeros lie behind the promised bytes of a file that is not compressed.

    Raises:
        BadFileError: They are more than zeros.
    """
    size = path.stat().st_size
    if size > promised:
        with path.open("rb") as file:
            file.seek(promised)
            _require_blank(path, file.read(_BEYOND), promised)
    return max(0, size - promised)
