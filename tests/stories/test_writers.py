"""Whatever writes: one at a time in a place, and nothing half-written where the disk is full."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.stories.writers import FULL, WRITING

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def play(*words: object) -> str:
    """Play in a process of its own; return what it prints."""
    line = [sys.executable, "-m", "tests.stories.writers", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study, a finished run, one that was stopped, and data to import."""
    root = tmp_path_factory.mktemp("built") / "world"
    play("build", root)
    return root


@pytest.fixture(scope="module")
def second(built: Path) -> dict[str, Any]:
    return dict(json.loads(play("second", built)))


@pytest.fixture(scope="module")
def full(built: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return dict(json.loads(play("full", built, tmp_path_factory.mktemp("full"))))


def the_error(said: list[str]) -> str:
    (error,) = (line for line in said if line.startswith("error: "))
    assert not any("Traceback" in line for line in said)
    return str(error)


@pytest.mark.parametrize("name", WRITING)
def test_a_second_writer_is_refused_in_one_line(second: dict[str, Any], name: str) -> None:
    end = second[name]
    assert "another voxhint is at work in it" in the_error(end["said"])
    assert (end["code"], end["untouched"]) == (1, True)


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_told_in_one_line_and_the_same_command_goes_on(
    full: dict[str, Any], name: str
) -> None:
    """Files that grow beyond a size cannot be written, as the system has it."""
    for end in full[name]["ends"]:
        assert re.search("File too large|took only a part", the_error(end["said"]))
        assert (end["code"], end["left"]) == (1, [])
    assert full[name]["code"] == 0, full[name]["said"]
    assert full[name]["same"]
