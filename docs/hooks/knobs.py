"""Write the tables of knobs from `voxhint.config`, so that they are never stale."""

import re
from typing import Any

from voxhint.config import Machine, Recipe
from voxhint.config.knob_list import Knob, listed

_MARK = re.compile(r"<!-- knobs of ([a-z0-9_.]+) -->")
_HEAD = "| knob | takes | default | meaning |\n|---|---|---|---|"


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """Return a page with each mark `<!-- knobs of TABLE -->` replaced by the knobs of a table."""
    return _MARK.sub(lambda mark: table(mark[1]), markdown)


def table(name: str) -> str:
    """Return the knobs of one table of a recipe, without those of tables inside it.

    Args:
        name: Such as `label.tags`, or `machine`.
    """
    kind = Machine if name == "machine" else Recipe
    above = "machine." if name == "machine" else ""
    rows = [_row(knob) for knob in listed(kind, above) if knob.name.rpartition(".")[0] == name]
    return "\n".join([_HEAD, *rows])


def _row(knob: Knob) -> str:
    name = knob.name.rpartition(".")[2]
    shown = f"`--{name.replace('_', '-')}`" if knob.name.startswith("machine.") else f"`{name}`"
    return f"| {shown} | {knob.takes} | {_default(knob.default)} | {knob.text} |"


def _default(value: object) -> str:
    match value:
        case None | ():
            return ""
        case bool():
            return "on" if value else "off"
        case _:
            return f"`{value}`"
