"""CSV files as people and spreadsheets save them, read where there is one way to read them."""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from voxhint.core.errors import BadFileError, BadHintError
from voxhint.files.problems import Problem, reading
from voxhint.files.unicode_names import plain

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_PARTED_BY = (",", ";", "\t")
_NAMED = re.compile(r"sep=.\r?\n")  # a first line of spreadsheets
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet reads as a formula
_NAMES = ("case", "label", "state", "subject", "site", "frame", "seriesuid")
_FARTHEST_MM = 1e5  # no scanner's room is larger than a hundred metres


def _number(text: str, *, comma: bool) -> float:
    """Return a number of a table that may write decimal commas; NaN if the text is none."""
    if comma and _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    elif comma and "." in text:  # it may part thousands
        return math.nan
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table, by column."""

    where: str
    """The file and the row, counted from 1 with the header."""

    cells: Mapping[str, str]
    comma: bool = False
    """Whether numbers are written with a decimal comma."""

    def text(self, column: str) -> str:
        """Return a cell that may be empty, or whose column may be missing."""
        return self.cells.get(column, "")

    def name(self, column: str) -> str:
        """Return a cell that must not be empty.

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

        Returns:
            Its value.

        Raises:
            BadHintError: It is no number, not finite, or larger than any scanner's room.
        """
        text = self.cells[column]
        value = _number(text, comma=self.comma)
        if not math.isfinite(value):
            sign = "comma, as in other rows" if self.comma else "point"
            msg = f"{column} is '{text}'; write a plain number with a decimal {sign}"
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


def _parted_by(text: str, needed: tuple[str, ...]) -> str:
    """Return the sign between the cells: a comma, unless only another gives the needed columns."""
    head = text.lstrip("\r\n").splitlines()[0]
    fitting = [
        sign
        for sign in _PARTED_BY
        if set(needed) <= {name.strip(' "').lower() for name in head.split(sign)}
    ]
    return fitting[0] if len(fitting) == 1 else ","


def _cells(rows: Iterable[Row], names: Iterable[str]) -> Iterator[str]:
    """Yield the cells that hold numbers, which names of cases and labels are not."""
    numeric = [name for name in names if name not in _NAMES]
    for row in rows:
        yield from (row.cells[name] for name in numeric)


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
        text = _text(path)
        text = text[named.end() :] if (named := _NAMED.match(text)) else text
        sign = _parted_by(text, needed)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
        names = [name.strip().lower() for name in next(lines)]
        _columns(path, names, needed)
        problems = [
            Problem(where, f"column '{name}' is not read", "rename or remove it", "warning")
            for name in _others(names, {*needed, *known})
        ]
        rows = []
        for line in lines:
            cells = [cell.strip() for cell in line]
            if not any(cells):
                continue
            place = f"{where} row {lines.line_num}"
            if len(cells) == len(names):
                texts = map(plain, map(_without_quote, cells))
                rows.append(Row(place, dict(zip(names, texts, strict=True))))
                continue
            finding = f"has {len(cells)} cells where the header has {len(names)}"
            problems.append(Problem(place, finding, "fill in or remove cells"))
        commas = sign != "," and any(map(_DECIMAL_COMMA.fullmatch, _cells(rows, names)))
        return Table(tuple(replace(row, comma=commas) for row in rows), tuple(problems))


def _others(names: Sequence[str], read: Set[str]) -> list[str]:
    return [name for name in names if name not in read]


def _quoted(cell: str) -> str:
    """Return a cell so that no spreadsheet runs it: behind a quote if it is like a formula."""
    try:
        float(cell)
    except ValueError:
        return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell
    return cell


def _without_quote(cell: str) -> str:
    """Return a cell as it was before `_quoted`."""
    bare = cell.removeprefix("'")
    return bare if bare.lstrip("'").startswith(_FORMULA) else cell


def table_text(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return the text of a CSV file: a header and some columns of rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_quoted(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue()
