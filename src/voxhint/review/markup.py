"""Safe HTML from plain values: text, tables, pictures, folds."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from voxhint.measure.estimate import Estimate

_NOTHING = "\u2013"


@dataclass(frozen=True, slots=True)
class Cell:
    """A number with its interval; written on two lines."""

    value: str
    below: str = ""


def text(value: object) -> str:
    """Return a value as HTML text."""
    return html.escape(str(value), quote=True)


def paragraph(words: str, *, kind: str = "") -> str:
    """Return a paragraph; `kind` is its CSS class."""
    return f"<p{_class(kind)}>{text(words)}</p>\n"


def section(title: str, *parts: str) -> str:
    """Return a section with a heading, or nothing if all its parts are empty."""
    body = "".join(parts)
    return f"<section>\n<h2>{text(title)}</h2>\n{body}</section>\n" if body else ""


def fold(title: str, body: str) -> str:
    """Return a part that is closed until a reader opens it."""
    return f"<details>\n<summary>{text(title)}</summary>\n{body}</details>\n" if body else ""


def listing(items: Sequence[object]) -> str:
    """Return a bullet list, or nothing."""
    lines = "".join(f"<li>{text(item)}</li>\n" for item in items)
    return f"<ul>\n{lines}</ul>\n" if lines else ""


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table whose first column names its rows, or nothing if it has no rows.

    Args:
        caption: What the table shows.
        head: Names of the columns.
        rows: Values; a `Cell` is written on two lines, None as a dash.

    Returns:
        HTML that may scroll sideways within the page.
    """
    if not rows:
        return ""
    names = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    lines = "".join(f"<tr>{_row(row)}</tr>\n" for row in rows)
    return (
        f'<div class="wide"><table>\n<caption>{text(caption)}</caption>\n'
        f"<thead><tr>{names}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>\n"
    )


def picture(png: bytes, *, alt: str, caption: str) -> str:
    """Return a picture that is part of the page."""
    data = base64.b64encode(png).decode()
    return (
        f'<figure>\n<img alt="{text(alt)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{text(caption)}</figcaption>\n</figure>\n"
    )


def page(title: str, *parts: str) -> str:
    """Return a whole page that needs nothing from elsewhere."""
    style = files("voxhint.review").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{''.join(parts)}</main>\n</body>\n</html>\n"
    )


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


def _row(values: Sequence[object]) -> str:
    first, *others = values
    return f'<th scope="row">{text(first)}</th>' + "".join(
        f"<td>{_inner(value)}</td>" for value in others
    )


def _inner(value: object) -> str:
    if isinstance(value, Cell):
        below = f"<br><small>{text(value.below)}</small>" if value.below else ""
        return text(value.value) + below
    return text(_NOTHING if value is None else value)


def _class(kind: str) -> str:
    return f' class="{text(kind)}"' if kind else ""
