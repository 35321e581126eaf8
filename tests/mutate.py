"""Break constants and operators of a room at random, and count what no test notices.

usage: scripts/mutate ROOM [--count 20] [--seed 0] [--most 0.2] [--tests TESTS ...]

Each time one number or operator of src/voxhint/ROOM is changed in a copy, and the tests (those of
tests/ROOM if none are named) run against it. Exits with 1 if more than the share --most survives.
The checkout itself is never changed.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 600  # that the tests may take; a change that never ends is noticed too
SWAPS = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Eq: "!=",
    ast.And: "or",
    ast.Or: "and",
}
Change = tuple[Path, int, int, str]  # a file, from and up to which byte, and what stands there now


def spot(source: bytes, line: int | None, column: int | None) -> int:
    assert line is not None
    assert column is not None
    return sum(len(row) + 1 for row in source.split(b"\n")[: line - 1]) + column


def changes(path: Path) -> Iterator[Change]:
    """Yield every change of a file: numbers a fifth and one larger, operators against others."""
    source = path.read_bytes()
    tree = ast.parse(source)
    quiet = {
        child
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
        for child in ast.walk(part)
    }
    for node in (node for node in ast.walk(tree) if node not in quiet):
        value = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(node, ast.expr):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            first = spot(source, node.lineno, node.col_offset)
            last = spot(source, node.end_lineno, node.end_col_offset)
            yield (
                path,
                first,
                last,
                str(value + 1 if isinstance(value, int) else value * 1.2 + 1e-6),
            )
        elif isinstance(node, ast.BinOp | ast.Compare | ast.BoolOp):
            yield from swapped(path, source, node)


def swapped(
    path: Path, source: bytes, node: ast.BinOp | ast.Compare | ast.BoolOp
) -> Iterator[Change]:
    sign: ast.AST
    if isinstance(node, ast.BinOp):
        before, sign, after = node.left, node.op, node.right
    elif isinstance(node, ast.Compare):
        before, sign, after = node.left, node.ops[0], node.comparators[0]
    else:
        before, sign, after = node.values[0], node.op, node.values[1]
    if type(sign) not in SWAPS:
        return
    first = spot(source, before.end_lineno, before.end_col_offset)
    last = spot(source, after.lineno, after.col_offset)
    between = source[first:last]
    for text in (b"<=", b">=", b"==", b"<", b">", b"+", b"-", b"*", b"/", b"and", b"or"):
        if between.count(text) == 1:
            at = first + between.index(text)
            yield path, at, at + len(text), SWAPS[type(sign)]
            return


def forget_compiled(copy: Path) -> None:
    for compiled in copy.rglob("*.nb[ic]"):
        compiled.unlink()


def noticed(change: Change, tests: list[str], copy: Path) -> bool:
    """Return whether a test fails once the change is made in a copy of the source."""
    path, first, last, text = change
    source, target = path.read_bytes(), copy / path.relative_to(ROOT / "src")
    if b"numba" in source:  # what others call of it is compiled into them
        forget_compiled(copy)
    target.write_bytes(source[:first] + text.encode() + source[last:])
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        run = subprocess.run(
            words, check=False, cwd=ROOT, env=env, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        shutil.copy2(path, target)
        if b"numba" in source:
            forget_compiled(copy)
    if run.returncode not in (0, 1, 2):
        sys.exit(f"the tests did not run: {run.stdout.decode()[-2000:]}")
    return run.returncode != 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room")
    parser.add_argument("--tests", nargs="*")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=float, default=0.2)
    args = parser.parse_args()
    files = sorted((ROOT / "src/voxhint" / args.room).rglob("*.py"))
    every = [change for path in files for change in changes(path)]
    if not every:
        sys.exit(f"src/voxhint/{args.room} holds nothing to break; name a room")
    chosen = random.Random(args.seed).sample(every, min(args.count, len(every)))
    golden = sorted(map(str, Path("tests", args.room).glob("test_golden*.py")))  # most tell at once
    tests = args.tests or [*golden, f"tests/{args.room}"]
    survived = 0
    place = tempfile.TemporaryDirectory()  # one for all: what numba compiled is kept in it
    copy = Path(place.name) / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("*.pyc", "page"))
    for change in chosen:
        path, first, last, text = change
        source = path.read_bytes()
        line = source[:first].count(b"\n") + 1
        found = noticed(change, tests, copy)
        survived += not found
        word = "noticed " if found else "SURVIVED"
        old = source[first:last].decode()
        sys.stdout.write(f"{word} {path.relative_to(ROOT)}:{line}: {old} -> {text}\n")
        sys.stdout.flush()
    place.cleanup()
    sys.stdout.write(f"{survived} of {len(chosen)} survived ({len(every)} changes are possible)\n")
    return int(survived > args.most * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
