"""Rules of the house that no linter knows."""

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tests.counts import counts
from tests.phantoms import make_study

from voxhint.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
ROOMS = sorted(path.parent for path in ROOT.glob("src/voxhint/*/__init__.py"))
FILES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/**/*.py")])
SCRIPTS = sorted([*ROOT.glob("scripts/*"), ROOT / ".ci" / "run"])

LINES = 400
NAMES = 12
ROOMY = {"core": 17, "prepare": 15}
"""Rooms that offer more names than they should; these numbers only ever shrink."""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_no_file_is_longer_than_a_person_reads_in_one_sitting() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert not {str(path): count for path, count in lines.items() if count > LINES}


def test_no_file_turns_its_annotations_into_strings() -> None:
    future = [
        path.name
        for path in FILES
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    assert not future


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_is_for_and_offers_a_dozen_names_at_most(room: Path) -> None:
    tree = ast.parse((room / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree)
    offered = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert sum(map(len, offered)) <= ROOMY.get(room.name, NAMES)


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_stands_in_the_docs_and_has_a_story(verb: str) -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    assert re.search(rf"^\| `voxhint {verb}\b", page, re.MULTILINE)
    stories = "\n".join(path.read_text("utf-8") for path in ROOT.glob("tests/stories/test_*.py"))
    assert f'"{verb}"' in stories


LIMITS = {
    "knobs": 70,
    "class C blocks": 10,
    "options of run --help": 25,
    "lines of run --help": 120,
}
"""What may be counted at most, by `scripts/counts`."""


def test_a_newcomer_has_no_more_to_take_in_than_was_agreed() -> None:
    counted = counts()
    assert {name: counted[name] for name in LIMITS if counted[name] > LIMITS[name]} == {}
    assert counted["names documented, %"] == 100


def test_the_version_is_told_once() -> None:
    version = project()["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def locked_versions() -> dict[str, Version]:
    return {
        canonicalize_name(name): Version(version)
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if not line.startswith("#")
        for name, _, version in [line.partition("==")]
    }


def test_every_dependency_is_locked_at_a_version_it_allows() -> None:
    locked = locked_versions()
    told = project()["project"]
    extras = told["optional-dependencies"].values()
    wanted = [Requirement(text) for part in (told["dependencies"], *extras) for text in part]
    assert not [
        str(need)
        for need in wanted
        if canonicalize_name(need.name) not in locked
        or locked[canonicalize_name(need.name)] not in need.specifier
    ]
    assert not [name for name, version in locked.items() if version.local]


def needed(name: str, extras: Iterable[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what an installed package needs on this machine, with the extras asked of it."""
    for text in requires(name) or ():
        need = Requirement(text)
        wanted = need.marker is None or any(
            need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if wanted:
            yield canonicalize_name(need.name), frozenset(need.extras)


def test_what_the_dependencies_need_is_locked_too() -> None:
    locked = locked_versions()
    ahead: list[tuple[str, frozenset[str]]] = [("voxhint", frozenset({"dev", "docs"}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while ahead:
        package = ahead.pop()
        seen.add(package)
        with contextlib.suppress(PackageNotFoundError):  # docs need not be installed
            ahead += [more for more in needed(*package) if more not in seen]
    cuda = {name for name, _ in seen if name.startswith(("nvidia", "cuda", "triton"))}
    assert not {name for name, _ in seen} - locked.keys() - cuda - {"voxhint", "setuptools"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_stops_at_the_first_failure_and_may_be_run(script: Path) -> None:
    assert "set -euo pipefail" in script.read_text("utf-8")
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


LOOKING = """
import sys
from voxhint.cli import main
for words in {commands!r}:
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, (words, end.code)
    heavy = [name for name in ("torch", "monai", "lightning_fabric") if name in sys.modules]
    assert not heavy, (words, heavy)
"""


def test_looking_at_data_loads_no_torch(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", hints=("points", "tags"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "made.json").write_text(json.dumps({"verb": "run", "study": str(study)}))
    truth = str(study / "labelsTs")
    commands = [
        ["--help"],
        ["run", "--help"],
        ["check", str(study)],
        ["measure", truth, truth, "--out", str(run / "scores.json")],
        ["report", str(run)],
        ["models"],
    ]
    code = LOOKING.format(commands=commands)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (run / "report.html").exists()
