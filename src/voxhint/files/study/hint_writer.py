"""Hints to disk, in the formats a study's `hints` folder is read from."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import assert_never

import numpy as np
from jaxtyping import Float64

from voxhint.core.errors import BadHintError, about
from voxhint.core.hints import Box, Diameter, Hint, Points, Soft, Strokes, Tag
from voxhint.core.labels import UNDRAWN, LabelSet, file_name
from voxhint.files.atomic import write_text
from voxhint.files.csv_tables import table_text
from voxhint.files.hint_tables import columns_of
from voxhint.files.images import write_ids, write_probability

_Rows = list[tuple[str, ...]]


def write_hints(folder: Path, hints: Mapping[str, tuple[Hint, ...]], labels: LabelSet) -> None:
    """Write the hints of a study: a table per kind of mark, an image per drawn case.

    Places are written to a ten-thousandth of a millimetre. Several drawings of one kind in a case
    are laid over each other, the last on top.

    Args:
        folder: The study's `hints` folder; made if it is missing.
        hints: The hints of each case.
        labels: The study's.

    Raises:
        BadHintError: A hint names an unknown label, or the drawings of a case do not fit together.
    """
    tables: dict[str, _Rows] = {}
    for case, given in hints.items():
        with about(f"case {case}"):
            for hint in given:
                _require_known(hint, labels)
                if isinstance(hint, Soft):
                    path = folder / "soft" / f"{case}__{file_name(hint.label)}.nii.gz"
                    write_probability(path, hint.probability, hint.grid)
                elif not isinstance(hint, Strokes):
                    name, rows = _rows(case, hint)
                    tables.setdefault(name, []).extend(rows)
            for name in ("scribbles", "slices"):
                _write_strokes(folder / name / f"{case}.nii.gz", _drawings(given, name), labels)
    for name, rows in tables.items():
        write_text(folder / name, _table(name, rows))


def _require_known(hint: Hint, labels: LabelSet) -> None:
    """Refuse a hint of an unknown label; drawings are looked up when they are written."""
    if not isinstance(hint, Strokes):
        labels.number(hint.label)


def _rows(case: str, hint: Tag | Points | Box | Diameter) -> tuple[str, _Rows]:
    """Return the table a mark belongs in, and its rows there."""
    match hint:
        case Tag():
            heights = () if hint.z_range_mm is None else hint.z_range_mm
            return "tags.csv", [(case, hint.label, hint.state, *_numbers(heights))]
        case Points():
            clicks = zip(hint.positions_mm, hint.confidence, strict=True)
            return "points.csv", [
                (case, hint.label, *_numbers(place), *_sureness(float(sure)))
                for place, sure in clicks
            ]
        case Box():
            ends = (*_numbers(hint.low_mm), *_numbers(hint.high_mm))
            return "boxes.csv", [(case, hint.label, *ends)]
        case Diameter():
            ball = (*_numbers(hint.centre_mm), *_numbers((hint.diameter_mm,)))
            return "diameters.csv", [(case, hint.label, *ball)]
        case _:
            assert_never(hint)


def _drawings(given: tuple[Hint, ...], name: str) -> list[Strokes]:
    return [h for h in given if isinstance(h, Strokes) and h.complete == (name == "slices")]


def _write_strokes(path: Path, drawings: list[Strokes], labels: LabelSet) -> None:
    """Write the drawings of one kind in one case as one image of file ids.

    Raises:
        BadHintError: They lie on different grids.
    """
    if not drawings:
        return
    classes, grid = drawings[0].classes, drawings[0].grid
    for other in drawings[1:]:
        if not grid.same(other.grid):
            msg = f"{path.parent.name} lie on two grids; draw them all on one channel"
            raise BadHintError(msg)
        classes = np.where(other.classes == UNDRAWN, classes, other.classes)
    write_ids(path, labels.to_ids(classes), grid)


def _numbers(values: Iterable[float] | Float64[np.ndarray, " n"]) -> tuple[str, ...]:
    return tuple(f"{float(value):.4f}" for value in values)


def _sureness(confidence: float) -> tuple[str, ...]:
    return () if confidence == 1 else (f"{confidence:.6g}",)


def _table(name: str, rows: _Rows) -> str:
    """Return a table as CSV; columns that no row fills are left out."""
    extra = {"tags.csv": ("z_min", "z_max"), "points.csv": ("confidence",)}.get(name, ())
    header = (*columns_of(name), *extra)
    width = max(len(row) for row in rows) if rows else len(columns_of(name))
    cells = [dict(zip(header, row, strict=False)) for row in rows]
    return table_text(cells, header[:width])
