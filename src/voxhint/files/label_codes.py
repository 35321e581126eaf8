"""Codes of labels, as DICOM wants them: what kind of thing a segment is, and which.

Source:
    SNOMED CT concepts that DICOM PS3.16 lists, among others in CID 7191, 7192 and 7194.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from voxhint.core.colours import colour_of
from voxhint.core.errors import BadFileError
from voxhint.files.csv_tables import Row, read_table

_NAME = "codes.csv"
"""Of the table that comes along, and of a study's own."""

_NEEDED = ("label", "category_code", "category_meaning", "type_code", "type_meaning")
_KNOWN = ("side", "scheme", "colour")
_SCHEME = "SCT"
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")  # of "LeftParotid" or "left_parotid"
_SIDES = {
    **dict.fromkeys(("left", "lt", "lft", "l"), "left"),
    **dict.fromkeys(("right", "rt", "rgt", "r"), "right"),
}
_COLOUR = re.compile("#[0-9a-fA-F]{6}")
_LONGEST = 64  # characters of a meaning; a code has 16 at most
_LONGEST_CODE = 16
_TOLD = 4
_EXAMPLE = "49755003,Morphologically Abnormal Structure,52988006,Lesion"


@dataclass(frozen=True, slots=True)
class Concept:
    """One coded word."""

    value: str
    scheme: str
    meaning: str


_SIDE_CODES = {
    "left": Concept("7771000", _SCHEME, "Left"),
    "right": Concept("24028007", _SCHEME, "Right"),
    "both": Concept("51440002", _SCHEME, "Right and left"),
}
"""Of paired organs (DICOM PS3.16, CID 244)."""


@dataclass(frozen=True, slots=True)
class Code:
    """What a label stands for."""

    category: Concept
    type: Concept
    side: Concept | None


@dataclass(frozen=True, slots=True)
class Segment:
    """How a label is handed on."""

    label: str
    colour: str
    """#RRGGBB."""

    code: Code | None
    """None where no table tells it."""


def segments_of(labels: Sequence[str], study: Path) -> tuple[Segment, ...]:
    """Return how labels are handed on, by the study's own table, else by the one of voxhint.

    Args:
        labels: Names of the foreground labels, in the order of their classes.
        study: Its folder, which may hold a `codes.csv`.

    Returns:
        A segment for each.
    """
    own = _read(study / _NAME) if (study / _NAME).is_file() else {}
    with as_file(files("voxhint.files") / _NAME) as path:
        shipped = _read(path)
    return tuple(
        _segment(label, (own, shipped), colour_of(number)) for number, label in enumerate(labels, 1)
    )


def require_codes(segments: Sequence[Segment]) -> None:
    """Refuse labels without a code.

    Raises:
        BadFileError: There is one; the text tells the row to add.
    """
    unknown = [segment.label for segment in segments if segment.code is None]
    if not unknown:
        return
    label = f'"{unknown[0]}"' if "," in unknown[0] else unknown[0]
    more = f" (and {len(unknown) - 1} more: {', '.join(unknown[1:_TOLD])})" if unknown[1:] else ""
    msg = (
        f"label '{unknown[0]}'{more} has no SNOMED CT code, which DICOM asks for; add {_NAME} to "
        f"the study with the line {','.join(_NEEDED)} and a row such as {label},{_EXAMPLE}"
    )
    raise BadFileError(msg)


def _segment(label: str, tables: Sequence[Mapping[str, Row]], colour: str) -> Segment:
    for words, side in _readings(label):
        row = next((table[words] for table in tables if words in table), None)
        if row is not None:
            scheme = row.text("scheme") or _SCHEME
            category, kind = (
                Concept(row.cells[f"{part}_code"], scheme, row.cells[f"{part}_meaning"])
                for part in ("category", "type")
            )
            which = _SIDE_CODES.get(row.text("side").lower() or side)
            return Segment(label, row.text("colour") or colour, Code(category, kind, which))
    return Segment(label, colour, None)


def _readings(label: str) -> Iterator[tuple[str, str]]:
    """Yield what a label may be called in a table, and which side it then is of.

    `KidneyLeft`, `kidney_l` and `Left kidney` are a kidney; `left ventricle` is a whole name.
    """
    yield _plain(label), ""
    for words in (_plain(label).split(), [word.casefold() for word in _WORDS.findall(label)]):
        yield " ".join(words), ""
        sides = {_SIDES[word] for word in words if word in _SIDES}
        if len(sides) == 1:
            yield " ".join(word for word in words if word not in _SIDES), sides.pop()


def _plain(label: str) -> str:
    return " ".join(re.split(r"[\W_]+", label.casefold())).strip()


def _read(path: Path) -> dict[str, Row]:
    """Read a table of codes.

    Returns:
        Its rows by label.

    Raises:
        BadFileError: A row lacks a cell, or a cell is too long for DICOM.
    """
    table = read_table(path, _NAME, needed=_NEEDED, known=_KNOWN)
    for problem in table.problems:
        if problem.severity == "error":
            raise BadFileError(str(problem))
    return {_plain(row.cells["label"]): row for row in table.rows if _sound(row)}


def _sound(row: Row) -> bool:
    """Refuse a row that DICOM could not hold.

    Returns:
        True.

    Raises:
        BadFileError: It is one.
    """
    side, colour = row.text("side").lower(), row.text("colour")
    wrong = [
        f"{name} is {'empty' if not row.cells[name] else 'too long'}"
        for name in _NEEDED
        if not 0 < len(row.cells[name]) <= (_LONGEST_CODE if "code" in name else _LONGEST)
    ]
    wrong += (
        [f"side is '{side}', not left, right or both"] if side and side not in _SIDE_CODES else []
    )
    bad_colour = colour and not _COLOUR.fullmatch(colour)
    wrong += [f"colour is '{colour}', not as #RRGGBB"] if bad_colour else []
    if wrong:
        msg = f"{row.where}: {', '.join(wrong)}; mend the row"
        raise BadFileError(msg)
    return True
