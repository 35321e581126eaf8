"""Progress for people: plain lines in a log, one changing line on a terminal."""

import pytest

from voxhint.cli.progress import Teller


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller()
    teller("train", 0, 2, "loss 1.000")
    teller("train", 2, 2, "")
    teller.close()
    told = capsys.readouterr()
    assert not told.out
    first, last = told.err.splitlines()
    assert first.startswith("train: 0 of 2, loss 1.000, peak ")
    assert last.startswith("train: 2 of 2, peak ")
    assert "\r" not in told.err
    assert "\x1b" not in told.err


def test_a_log_gets_a_line_now_and_then_and_always_the_last(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    teller = Teller()
    for done in range(101):
        teller("train", done, 100, "")
        clock[0] += 1
    lines = capsys.readouterr().err.splitlines()
    assert 8 <= len(lines) <= 14
    assert lines[-1].startswith("train: 100 of 100")


def test_the_time_left_counts_only_what_this_run_did(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    teller = Teller()
    teller("train", 50, 100, "")  # goes on from a checkpoint
    clock[0] += 60
    teller("train", 60, 100, "")
    first, second = capsys.readouterr().err.splitlines()
    assert "left" not in first
    assert "4 min left" in second


def test_another_step_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller()
    for what in ("label", "train", "predict"):
        teller(what, 0, 9, "")
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(quiet=True)
    teller("train", 1, 1, "")
    teller.close()
    assert capsys.readouterr() == ("", "")


def test_notes_with_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Teller()("train", 0, 2, "case [a]")
    assert "case [a]" in capsys.readouterr().err


@pytest.mark.parametrize("live", [False, True])
def test_notes_do_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, live: bool
) -> None:
    teller = Teller()
    monkeypatch.setattr(teller, "_live", live)
    teller("train", 0, 2, "case \x1b[2J\n7")
    told = capsys.readouterr().err
    assert "case \\x1b[2J\\n7" in told
    assert told.strip("\r\n").isprintable()
