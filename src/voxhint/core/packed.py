"""Arrays as nnInteractive's remote protocol sends them: a header and blocks packed by Blosc.

Source of the layout: the protocol of nnInteractive 2.6 (wire version 1).
"""

import struct
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from voxhint.core.errors import BadFileError

_HEAD = struct.Struct("<4sBBBB")  # magic, version, codec, axes, length of the type's name
_BLOCK = struct.Struct("<QQ")  # bytes of a block, unpacked and packed
_MAGIC, _VERSION, _ZSTD = b"NNIA", 1, 1
_CODECS = (1, 2)
_LARGEST_BLOCK = 1 << 30
_TYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_FLOATS = ("float16", "float32", "float64")


def pack(array: np.ndarray) -> bytes:
    """Return an array as it travels.

    Args:
        array: Whole numbers, truth values or floats.
    """
    import blosc2  # takes a second to load

    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    name = array.dtype.name.encode()
    data = memoryview(array.tobytes())
    starts = range(0, data.nbytes, _LARGEST_BLOCK)
    parts = [
        _HEAD.pack(_MAGIC, _VERSION, _ZSTD, array.ndim, len(name)),
        name,
        struct.pack(f"<{array.ndim}q", *array.shape),
        struct.pack("<I", len(starts)),
    ]
    for start in starts:
        block = data[start : start + _LARGEST_BLOCK]
        packed = blosc2.compress2(block, typesize=array.itemsize, codec=blosc2.Codec.ZSTD, clevel=3)
        parts += [_BLOCK.pack(block.nbytes, len(packed)), packed]
    return b"".join(parts)


def unpack(data: bytes, *, most: int) -> np.ndarray:
    """Return the array that travelled.

    Args:
        data: As `pack` makes it.
        most: Bytes of the array at most.

    Raises:
        BadFileError: It is none, or too large.
    """
    try:
        return _unpacked(data, most)
    except (struct.error, ValueError, TypeError, RuntimeError):
        msg = "what came is no packed array of nnInteractive's protocol; use its client 2.6"
        raise BadFileError(msg) from None


def _unpacked(data: bytes, most: int) -> np.ndarray:
    """Return the array that travelled.

    Raises:
        BadFileError: It is too large.
        ValueError: Its blocks are not as long as they say.
    """
    import blosc2  # takes a second to load

    dtype, shape, at = _header(data)
    size = prod(shape) * dtype.itemsize
    if size > most:
        msg = f"an array of {size} bytes came, and {most} are the most; send a smaller one"
        raise BadFileError(msg)
    raw = bytearray()
    for block, length in _blocks(data, at):
        if blosc2.get_cbuffer_sizes(block)[0] != length or len(raw) + length > size:
            raise ValueError(length)
        raw += blosc2.decompress2(block)
    if len(raw) != size:
        raise ValueError(size)
    return np.frombuffer(bytes(raw), dtype).reshape(shape)


def _header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return type and shape, and where the blocks begin.

    Raises:
        ValueError: It is none that we know.
    """
    magic, version, codec, axes, length = _HEAD.unpack_from(data)
    name = data[_HEAD.size : _HEAD.size + length].decode("ascii")
    if (magic, version) != (_MAGIC, _VERSION) or codec not in _CODECS:
        raise ValueError(magic)
    if name not in (*_TYPES, *_FLOATS):
        raise ValueError(name)
    at = _HEAD.size + length
    shape = struct.unpack_from(f"<{axes}q", data, at)
    if any(n < 0 for n in shape):
        raise ValueError(shape)
    return np.dtype(name).newbyteorder("<"), shape, at + 8 * axes


def _blocks(data: bytes, at: int) -> Iterator[tuple[bytes, int]]:
    """Yield each packed block and the bytes it holds."""
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(count):
        length, packed = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        yield data[at : at + packed], length
        at += packed
