"""Write the page of every knob from the source of `voxhint.config`, so that it is never stale."""

import ast
from pathlib import Path
from typing import Any

_MARK = "<!-- every knob -->"


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """Return a page with its mark replaced by the tables."""
    return markdown.replace(_MARK, tables()) if _MARK in markdown else markdown


def tables() -> str:
    """Return a table for each config class, in the order of the file."""
    source = Path(__file__).parents[2] / "src" / "voxhint" / "config.py"
    parts = []
    for node in ast.parse(source.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name != "Recipe":
            title = node.name.removesuffix("Config").lower()
            rows = "\n".join(_rows(node))
            parts.append(
                f"## {title}\n\n{ast.get_docstring(node)}\n\n"
                f"| flag | in a recipe | default | |\n|---|---|---|---|\n{rows}\n"
            )
    return "\n".join(parts)


def _rows(node: ast.ClassDef) -> list[str]:
    rows = []
    for field, told in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(told, ast.Expr):
            name, default = ast.unparse(field.target), ast.unparse(field.value or ast.Constant(""))
            text = ast.literal_eval(told.value)
            rows.append(f"| `--{name.replace('_', '-')}` | `{name}` | `{default}` | {text} |")
    return rows
