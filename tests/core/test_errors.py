"""Errors tell what was being done when they arose."""

import pytest

from voxhint.core import LabelSet, errors
from voxhint.core.errors import BadHintError, VoxhintError, about, printable


def test_about_adds_what_was_worked_on_to_an_error_of_ours() -> None:
    with pytest.raises(BadHintError) as caught, about("study"), about("case c1"):
        LabelSet(("background",), (0,)).number("liver")
    assert caught.value.__notes__ == ["while working on case c1", "while working on study"]
    assert "'liver'" in str(caught.value)


def test_about_leaves_other_errors_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError) as caught, about("case c1"):
        _ = 1 / 0
    assert not hasattr(caught.value, "__notes__")


def test_about_says_nothing_when_nothing_goes_wrong() -> None:
    with about("case c1"):
        done = True
    assert done


def test_every_error_of_ours_is_caught_as_one_kind() -> None:
    kinds = [v for k, v in vars(errors).items() if k.endswith("Error")]
    assert len(kinds) > 1
    assert all(issubclass(kind, VoxhintError) for kind in kinds)


def test_what_is_printed_moves_no_cursor_and_stays_readable() -> None:
    assert printable("Zoë 脳: 1 < 2") == "Zoë 脳: 1 < 2"
    assert printable("a\x1b[2Jb\x7f\udce9") == "a\\x1b[2Jb\\x7f\\udce9"
