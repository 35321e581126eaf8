"""ITK-SNAP's label descriptions: a text file that names the ids of a mask."""

import re
from pathlib import Path

from voxhint.core.errors import BadFileError
from voxhint.files.problems import reading
from voxhint.files.unicode_names import plain

_HEAD = "ITK-SnAP Label Description File"
_ROW = re.compile(r'(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d+\s+\d+\s+"([^"]*)"')


def is_label_description(path: Path) -> bool:
    """Return whether a file begins as ITK-SNAP's label descriptions do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _HEAD.lower().encode() in file.read(256).lower()


def read_label_description(path: Path) -> dict[int, str]:
    """Read the names of ids; id 0, the clear label, is left out.

    Args:
        path: A file of which `is_label_description` is true.

    Returns:
        Names by id.

    Raises:
        BadFileError: A row is no label, or two have one id.

    Source:
        The head of such a file, which names its columns: IDX, R, G, B, A, VIS, MSH, LABEL.
    """
    names: dict[int, str] = {}
    with reading(path):
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            row = _ROW.fullmatch(line.strip())
            if row is None or int(row[1]) in names:
                told = "is no row of a label" if row is None else f"has id {row[1]} again"
                msg = f"{path.name}: line {number} {told}; save it from ITK-SNAP again"
                raise BadFileError(msg)
            names[int(row[1])] = plain(row[2].strip())
    names.pop(0, None)
    return names
