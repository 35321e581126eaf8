"""A handful of rounds of `scripts/fuzz`, and that its judge lets nothing odd pass."""

from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.judge import finding
from tests.fuzz.table import Meaning, rows
from tests.fuzz.world import Outcome, commands, play, write_study

FINE = Outcome(0, ("/out",), "a")
OTHER = Outcome(0, ("/out",), "b")
TOLD = Outcome(0, ("warning: odd",), "b", frozenset({"warning: odd"}))
REFUSED = Outcome(1, ("error: odd; mend it",), "")


@pytest.mark.parametrize(
    ("meaning", "outcome", "found"),
    [
        ("same", FINE, ""),
        ("same", OTHER, "silent"),
        ("same", TOLD, "silent"),
        ("same", REFUSED, "refused"),
        ("changed", FINE, ""),
        ("changed", OTHER, "silent"),
        ("changed", TOLD, ""),
        ("changed", REFUSED, ""),
        ("unknowable", OTHER, ""),
        ("unknowable", Outcome(1, ("no reason",), ""), "without a reason"),
        ("unknowable", Outcome(1, ("Traceback (most recent call last):",), ""), "exit code 1"),
        ("unknowable", Outcome(70, ("error: ours",), ""), "exit code 70"),
        ("unknowable", Outcome(-11, (), ""), "signal 11"),
        ("unknowable", Outcome(0, ("\x1b[2J",), ""), "should not be"),
    ],
)
def test_the_judge_knows_what_each_meaning_allows(
    meaning: Meaning, outcome: Outcome, found: str
) -> None:
    said = finding(meaning, FINE, outcome)
    assert found in said
    assert bool(said) == bool(found)


def test_what_may_be_refused_is_no_finding() -> None:
    assert not finding("same", FINE, REFUSED, may_refuse=True)


def test_every_command_is_changed_in_each_way() -> None:
    told = {(row.meaning, command) for row in rows() for command in row.commands}
    reading = {*commands(Path())} - {"import msd"}  # it links files without reading them
    assert {("changed", command) for command in reading} <= told
    assert {"check", "label", "predict", "import msd", "import dicom"} <= {
        command for meaning, command in told if meaning == "same"
    }


CHOSEN = ("rows shuffled", "hint of a test case", "drawing moved")


@pytest.mark.parametrize("what", CHOSEN)
def test_a_round_finds_nothing(tmp_path: Path, what: str) -> None:
    write_study(tmp_path / "study")
    before = play(tmp_path, "check")
    assert before.code == 0, before.said
    (row,) = (row for row in rows() if row.what == what and "check" in row.commands)
    row.change(sorted(tmp_path.glob(row.files))[0], np.random.default_rng(0))
    assert not finding(row.meaning, before, play(tmp_path, "check"))
