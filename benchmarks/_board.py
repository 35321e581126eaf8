"""Tables of what was measured of maps, kept in a file so that rows can be added."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from voxhint.measure.confidence_intervals import estimate

SCORED = ("what scores a window", "AUC", "passes with the label", "passes without")
COLUMNS = (
    "map|windows with, without|peak inside|raw|raw, oracle|refined|median"
    "|refined minus {base}|raw mL|refined mL, gated|asks of flow, classifier|seconds|scan, h|MB"
)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def spread(found: dict[str, Any] | None) -> str:
    """Return a mean and its interval."""
    if found is None:
        return "-"
    return f"{found['mean']:.3f} ({number(found['low'])} to {number(found['high'])})"


def gained(row: dict[str, Any], base: dict[str, Any] | None) -> str:
    """Return how much larger the refined Dice is than that of the default, window by window."""
    if base is None or row is base:
        return "-"
    pairs = [
        (value - base["dice"][name], subject)
        for (name, value), subject in zip(row["dice"].items(), row["subjects"], strict=True)
        if name in base["dice"]
    ]
    values, subjects = zip(*pairs, strict=True)
    found = estimate(np.array(values)[:, None], subjects, rng=np.random.default_rng(0))
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(areas: dict[str, Any], rows: dict[str, Any], names: Sequence[str], base: str) -> str:
    """Return what was measured so far, rows in the order of names and compared with one of them."""
    scores = [
        [name, spread({"mean": area["auc"], **area}), *(number(x, 2) for x in area["passed"])]
        for name, area in areas.items()
    ]
    lines = []
    places = {name: place for place, name in enumerate(names)}
    for name in sorted(rows, key=lambda name: places.get(re.split("[:,/]", name)[0], len(places))):
        row = rows[name]
        cells = [name, f"{row['present']}, {row['absent']}", number(row["hit"], 2)]
        cells += [spread(row.get("raw")), number(row["oracle"]["mean"]), spread(row["refined"])]
        cells += [number(row["refined"]["median"]), gained(row, rows.get(base))]
        cells += [number(row.get(key), 2) for key in ("raw_ml", "refined_ml")]
        cells += [", ".join(number(ask, 0) for ask in row.get("asks", [None]))]
        cells += [number(row["seconds"], 2), number(row["scan_hours"], 1)]
        cells += [number(row["peak_mb"], 0)]
        lines.append(cells)
    heads = COLUMNS.format(base=base).split("|")
    parts = [table(SCORED, scores)] if scores else []
    return "\n\n".join([*parts, table(heads, lines)]) + "\n"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was measured so far, kept in a file."""

    path: Path
    rows: dict[str, Any]
    areas: dict[str, Any]

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return what an earlier call left, or nothing."""
        told = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return cls(path, told.get("rows", {}), told.get("areas", {}))

    def add(self, name: str, row: Callable[[], dict[str, Any]]) -> None:
        """Measure a row, unless it is there."""
        if name not in self.rows:
            print(f"measure {name}", file=sys.stderr, flush=True)
            self.rows[name] = row()
            self.save()

    def save(self) -> None:
        """Write the numbers."""
        told = {"areas": self.areas, "rows": self.rows}
        self.path.write_text(json.dumps(told, indent=1), "utf-8")
