"""CSV files as people save them: a byte order mark, CRLF and spaces are forgiven, little else."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxhint.core.errors import BadFileError, BadHintError
from voxhint.files.names import plain
from voxhint.files.problems import Problem, reading

_FARTHEST_MM = 1e5  # no scanner's room is larger than a hundred metres


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table, by column."""

    where: str
    """The file and the row, counted from 1 with the header."""

    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """Return a cell that may be empty, or whose column may be missing."""
        return self.cells.get(column, "")

    def name(self, column: str) -> str:
        """Return a cell that must not be empty.

        Args:
            column: A needed column.

        Returns:
            Its text without surrounding spaces.

        Raises:
            BadHintError: The cell is empty.
        """
        if not self.cells[column]:
            msg = f"{column} is empty; fill it in, or remove the row"
            raise BadHintError(msg)
        return self.cells[column]

    def number(self, column: str) -> float:
        """Return a cell that must be a plain finite number.

        Args:
            column: A needed column.

        Returns:
            Its value.

        Raises:
            BadHintError: It is no number, not finite, or larger than any scanner's room.
        """
        text = self.cells[column]
        try:
            value = float(text) if "_" not in text else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            msg = f"{column} is '{text}'; write a plain number with a decimal point"
            raise BadHintError(msg)
        if abs(value) > _FARTHEST_MM:
            msg = f"{column} is {text}, more than {_FARTHEST_MM:g} mm; give world millimetres"
            raise BadHintError(msg)
        return value


@dataclass(frozen=True, slots=True)
class Table:
    """The rows that have every cell, and what is wrong with the others."""

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


def _text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        BadFileError: It is empty, or not UTF-8.
    """
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in raw:
        msg = f"{path.name}: is UTF-16 or binary, not text in UTF-8; save it as CSV UTF-8"
        raise BadFileError(msg)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        msg = f"{path.name}: row {line} is not UTF-8 text; save it as CSV UTF-8"
        raise BadFileError(msg) from error
    if not text.strip():
        msg = f"{path.name}: is empty; write its header line, or remove it"
        raise BadFileError(msg)
    return text


def _columns(path: Path, names: list[str], needed: tuple[str, ...]) -> None:
    """Refuse a header that lacks a column or has one twice.

    Raises:
        BadFileError: It does.
    """
    missing = [name for name in needed if name not in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if missing:
        hint = " (columns are parted by commas)" if len(names) == 1 else ""
        msg = (
            f"{path.name}: has no column {', '.join(missing)}{hint}; "
            f"its first line must name {','.join(needed)}"
        )
        raise BadFileError(msg)
    if twice:
        msg = f"{path.name}: has column {', '.join(twice)} twice; remove one"
        raise BadFileError(msg)


def read_table(path: Path, where: str, *, needed: tuple[str, ...], known: tuple[str, ...]) -> Table:
    """Read a CSV file with a header line.

    Args:
        path: The file.
        where: How to call it in problems.
        needed: Columns that must be there.
        known: Columns that may be; any other is told of, and passed over.

    Returns:
        Its rows; rows of a wrong length become problems.
    """
    with reading(path):
        lines = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
        names = [name.strip().lower() for name in next(lines)]
        _columns(path, names, needed)
        problems = [
            Problem(where, f"column '{name}' is not read", "rename or remove it", "warning")
            for name in names
            if name not in (*needed, *known)
        ]
        rows = []
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"{where} row {lines.line_num}"
            if len(cells) == len(names):
                row = {name: plain(cell.strip()) for name, cell in zip(names, cells, strict=True)}
                rows.append(Row(place, row))
                continue
            finding = f"has {len(cells)} cells where the header has {len(names)}"
            problems.append(Problem(place, finding, "fill in or remove cells"))
        return Table(tuple(rows), tuple(problems))


def table_text(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return the text of a CSV file: a header and some columns of rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
