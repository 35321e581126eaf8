"""Every knob as a row: its full name, what it takes, its default, and what it does."""

import ast
import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le

from voxhint.config.ranges import Knobs

_TEXTS: dict[type[Any], dict[str, str]] = {}  # what was read of the source already
_WORDS = {bool: "on or off", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob."""

    name: str
    """With its tables, such as `label.tags.method`."""

    hint: Any
    """Its type as annotated."""

    default: object
    text: str

    @property
    def takes(self) -> str:
        """Return in words what it may be set to."""
        return takes(self.hint)


def listed(kind: type[Any], above: str = "") -> tuple[Knob, ...]:
    """Return the knobs of a class, tables inside it included.

    Args:
        kind: A class of knobs.
        above: Name of the table that it is, with a dot at the end.
    """
    hints, told = get_type_hints(kind, include_extras=True), texts(kind)
    knobs: list[Knob] = []
    for each in dataclasses.fields(kind):
        hint = hints[each.name]
        if isinstance(hint, type) and issubclass(hint, Knobs):
            knobs += listed(hint, f"{above}{each.name}.")
        else:
            knobs.append(Knob(above + each.name, hint, each.default, told.get(each.name, "")))
    return tuple(knobs)


def texts(kind: type[Any]) -> Mapping[str, str]:
    """Return the docstring of each field of a dataclass."""
    if kind in _TEXTS:
        return _TEXTS[kind]
    told = _TEXTS[kind] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (tree,) = ast.parse(inspect.getsource(base)).body
        for each, text in pairwise(tree.body if isinstance(tree, ast.ClassDef) else []):
            if isinstance(each, ast.AnnAssign) and isinstance(text, ast.Expr):
                told[ast.unparse(each.target)] = " ".join(str(ast.literal_eval(text.value)).split())
    return told


def takes(hint: Any) -> str:  # noqa: ANN401
    """Return in words what a value of a type may be."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(map(str, inner))
    if origin is tuple:
        return f"any of {takes(inner[0])}" if inner[-1] is Ellipsis else f"{len(inner)} numbers"
    if origin in (Union, UnionType):
        return takes(next(part for part in inner if part is not NoneType))
    marks = getattr(hint, "__metadata__", ())
    bounds = [told for told in map(_bound, marks) if told]
    return " ".join([_WORDS.get(getattr(hint, "__origin__", hint), "path"), *bounds])


def _bound(mark: object) -> str:
    match mark:
        case Ge(ge):
            return f"from {ge}"
        case Gt(gt):
            return f"above {gt}"
        case Le(le):
            return f"to {le}"
        case _:
            return ""
