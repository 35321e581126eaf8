"""What a command is given is looked at before anything is loaded, and never ignored."""

import sys

import pytest
from tests.cli.test_main import call, errors


@pytest.mark.parametrize(
    "words",
    [
        ("train", ".", "--out", "o", "--labels", "gone"),
        ("measure", ".", ".", "--compare", "gone"),
        ("measure", ".", ".", "--probabilities", "gone"),
        ("export", ".", "--to", "dicom-seg", "--out", "o", "--dicom", "gone"),
        ("import", "luna16", ".", "--out", "o", "--xml", "gone"),
        ("run", ".", "--out", "o", "--config", "gone"),
    ],
    ids=lambda words: " ".join(words[::6]),
)
def test_every_path_that_is_read_is_looked_for_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("voxhint.verbs")]:
        monkeypatch.delitem(sys.modules, name)
    assert call(*words) == 1
    (line,) = errors(capsys)
    assert "gone" in line
    assert not [name for name in sys.modules if name.startswith("voxhint.verbs")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("models", "--revision", "abc"), "only with --fetch"),
        (("train", ".", "--out", "o", "--labels", ".", "--supervision", "dense"), "leave --labels"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert call(*words) == 1
    assert told in errors(capsys)[0]
