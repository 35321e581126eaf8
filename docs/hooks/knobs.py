"""Write the page of every knob from `voxhint.config`, so that it is never stale."""

import ast
import dataclasses
import inspect
from itertools import pairwise
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le

from voxhint import config

_MARK = "<!-- every knob -->"
_WORDS = {bool: "a switch", int: "whole number", float: "number", str: "text", NoneType: "nothing"}


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """Return a page with its mark replaced by the tables."""
    return markdown.replace(_MARK, tables()) if _MARK in markdown else markdown


def tables() -> str:
    """Return a table for each part of a recipe, and one for the machine."""
    parts = {field.name: _class_of(field) for field in dataclasses.fields(config.Recipe)}
    pages = [_page(f"`[{name}]`", kind) for name, kind in parts.items()]
    return "\n".join([*pages, _page("Machine", config.Machine)])


def _class_of(field: dataclasses.Field[Any]) -> type[Any]:
    kind: type[Any] = get_type_hints(config.Recipe)[field.name]
    return kind


def _page(title: str, kind: type[Any]) -> str:
    told, hints = _told(kind), get_type_hints(kind, include_extras=True)
    rows = [
        f"| `{field.name}` | `--{field.name.replace('_', '-')}` | {_takes(hints[field.name])} "
        f"| {_default(field.default)} | {told[field.name]} |"
        for field in dataclasses.fields(kind)
    ]
    head = "| knob | flag | takes | default | meaning |\n|---|---|---|---|---|"
    return f"## {title}\n\n{kind.__doc__}\n\n{head}\n" + "\n".join(rows) + "\n"


def _told(kind: type[Any]) -> dict[str, str]:
    """Return the docstring of each field."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        ast.unparse(field.target): " ".join(str(ast.literal_eval(text.value)).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _takes(hint: Any) -> str:  # noqa: ANN401
    """Return in words what a knob may be set to."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return f"any of {_takes(get_args(hint)[0])}"
    choices = [part for part in get_args(hint) if part is not NoneType]
    if NoneType in get_args(hint):
        return _takes(choices[0])
    bounds = [_bound(mark) for mark in getattr(hint, "__metadata__", ())]
    return " ".join([_WORDS[getattr(hint, "__origin__", hint)], *bounds])


def _bound(mark: object) -> str:
    match mark:
        case Ge(ge):
            return f"from {ge}"
        case Gt(gt):
            return f"above {gt}"
        case Le(le):
            return f"to {le}"
        case _:
            return str(mark)


def _default(value: object) -> str:
    match value:
        case None | ():
            return ""
        case bool():
            return "on" if value else "off"
        case _:
            return f"`{value}`"
