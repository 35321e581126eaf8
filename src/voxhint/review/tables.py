"""Tables of a report, and how their numbers are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voxhint.measure.confidence_intervals import Estimate

_NOTHING = "\u2013"
"""Stands where there is no value."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number with its interval; written on two lines."""

    value: str
    below: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names its rows; without rows it is left out."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    """Values; a `Cell` is written on two lines, None as a dash."""


def number(value: float | None, digits: int) -> str:
    """Return a number with fixed decimals, or a dash."""
    return _NOTHING if value is None else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """Return a share in per cent, or a dash."""
    return _NOTHING if value is None else f"{100 * value:.0f} %"


def with_interval(estimate: Estimate, digits: int) -> Cell:
    """Return a mean with its interval below."""
    return between(estimate.mean, estimate.low, estimate.high, digits)


def between(value: float | None, low: float | None, high: float | None, digits: int) -> Cell:
    """Return a number with the ends of its interval below, where it has one."""
    if low is None or high is None:
        return Cell(number(value, digits))
    return Cell(number(value, digits), f"{number(low, digits)} to {number(high, digits)}")


def duration(seconds: float) -> str:
    """Return a time in the unit a person would use."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def flatten(values: Mapping[str, Any], *, under: str = "") -> list[tuple[str, str]]:
    """Return nested settings as rows of dotted names and values."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, under=f"{under}{name}.")
        elif isinstance(value, list | tuple):
            rows.append((f"{under}{name}", ", ".join(map(str, value))))
        else:
            rows.append((f"{under}{name}", str(value)))
    return rows
