"""Zip files: unpacked with care, and written so that the same content gives the same bytes."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError
from voxhint.files.atomic import replacing

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first a zip can say
_LEVEL = 6


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip.

    Args:
        path: The file.
        folder: Where to; names that lead out of it are cut.

    Raises:
        BadFileError: It is damaged, locked, or larger than the room on the disk.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(item.file_size for item in packed.infolist())
            free = shutil.disk_usage(folder.parent).free
            if size > free:
                msg = (
                    f"{path.name}: unpacks to {size / 2**30:.1f} GiB where {free / 2**30:.1f} are "
                    "free; make room, or unpack it elsewhere"
                )
                raise BadFileError(msg)
            packed.extractall(folder)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, EOFError, OSError) as error:
        why = "is locked" if isinstance(error, RuntimeError) else "is damaged"
        msg = f"{path.name}: {why} and cannot be unpacked; pack it again without a password"
        raise BadFileError(msg) from None


def is_zip(path: Path) -> bool:
    """Return whether a file is called a zip."""
    return path.is_file() and path.suffix.lower() == ".zip"


def pack(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip whole or not at all."""
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as packed:
        for name, content in sorted(files.items()):
            item = zipfile.ZipInfo(name, _EPOCH)
            packed.writestr(item, content, zipfile.ZIP_DEFLATED, _LEVEL)


def read_packed(path: Path, name: str) -> dict[str, Any]:
    """Return a JSON object that lies in a zip.

    Args:
        path: The zip.
        name: Of the file in it.

    Raises:
        BadFileError: It is not there, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            told = json.loads(packed.read(name))
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, EOFError, OSError) as error:
        msg = (
            f"{path.name}: holds no {name} that can be read ({type(error).__name__}); copy it again"
        )
        raise BadFileError(msg) from None
    if not isinstance(told, dict):
        msg = f"{path.name}: {name} is no JSON object; copy it again"
        raise BadFileError(msg)
    return told
