"""Counts what a newcomer has to take in; `python -m tests.counts` prints a table.

Public names are classes, functions and constants of a file that do not begin with an underscore.
Knobs are those of a recipe and of the machine. Blocks are functions and methods. Class C begins at
a cyclomatic complexity of 11, with a point for each branch, comprehension and boolean operator.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from voxhint.cli.commands import Run
from voxhint.cli.options import flags_of, parser_of
from voxhint.config import Machine, Recipe
from voxhint.config.knob_list import listed

SOURCE = Path(__file__).parents[1] / "src" / "voxhint"
CLASS_C = 11
_BRANCHES = (
    ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.match_case, ast.comprehension,
    ast.Assert,
)  # fmt: skip
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def trees() -> Iterator[ast.Module]:
    """Yield every file of the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield ast.parse(path.read_text("utf-8"))


def public_names(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the public names at the top of a file, and where each is made."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                made = [name]
            case ast.Assign(targets=targets):
                made = [t.id for t in targets if isinstance(t, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                made = [name]
            case _:
                made = []
        yield from ((name, node) for name in made if not name.startswith("_"))


def complexity(function: ast.AST) -> int:
    """Return the cyclomatic complexity of a function, functions inside it left out."""
    total, ahead = 1, list(ast.iter_child_nodes(function))
    while ahead:
        node = ahead.pop()
        if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
            continue
        total += isinstance(node, _BRANCHES)
        total += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
        total += len(node.ifs) if isinstance(node, ast.comprehension) else 0
        ahead += ast.iter_child_nodes(node)
    return total


def counts() -> dict[str, int]:
    """Return every count by its name."""
    names = [(name, node) for tree in trees() for name, node in public_names(tree)]
    documented = [
        ast.get_docstring(node) is not None
        for _, node in names
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef))
    ]
    blocks = [
        complexity(node) for tree in trees() for node in ast.walk(tree)
        if isinstance(node, _FUNCTIONS)
    ]  # fmt: skip
    parser = parser_of("run", Run)
    options = {flag for flag in flags_of(parser) if flag.startswith("--")}
    return {
        "public names": len(names),
        "names documented, %": 100 * sum(documented) // len(documented),
        "knobs": len(listed(Recipe)) + len(listed(Machine)),
        "source lines": sum(
            len(path.read_text("utf-8").splitlines()) for path in SOURCE.rglob("*.py")
        ),
        "class C blocks": sum(block >= CLASS_C for block in blocks),
        "options of run --help": len(options),
        "lines of run --help": len(parser.format_help().splitlines()),
    }


if __name__ == "__main__":
    for name, count in counts().items():
        print(f"{name:<24}{count:>8,}")  # noqa: T201  # a table for people
