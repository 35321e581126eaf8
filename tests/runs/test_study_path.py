"""A run finds its study again, and says nothing of whose folders they lie in."""

from pathlib import Path

import pytest

from voxhint.runs.study_path import find_study, remember_place, told_place

INPUTS = {"imagesTr": "abc"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "users" / "zaphod"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return home


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("study", "out", "told"),
    [
        ("users/zaphod/study", "users/zaphod/run", "../study"),
        ("users/zaphod/a/study", "users/zaphod/b/run", "../../a/study"),
        ("disk/study", "disk/run", "../study"),
        ("users/zaphod/study", "disk/run", "study"),
    ],
)
def test_the_way_to_a_study_names_no_home(tmp_path: Path, study: str, out: str, told: str) -> None:
    source, run = folder(tmp_path / study), folder(tmp_path / out)
    assert told_place(source, run) == told
    remember_place(source, INPUTS)
    found = find_study(run, {"study": told, "inputs": INPUTS})
    assert found is not None
    assert found.samefile(source)


def test_where_nothing_but_the_root_is_shared_the_name_alone_is_told(tmp_path: Path) -> None:
    assert told_place(tmp_path / "study", Path("/nowhere/run")) == "study"


def test_both_may_be_moved_together(tmp_path: Path) -> None:
    both = folder(tmp_path / "both")
    told = told_place(folder(both / "study"), folder(both / "run"))
    both.rename(tmp_path / "elsewhere")
    found = find_study(tmp_path / "elsewhere" / "run", {"study": told, "inputs": {}})
    assert found is not None
    assert found.is_dir()


def test_a_study_that_is_gone_is_not_found(tmp_path: Path) -> None:
    study, run = folder(tmp_path / "study"), folder(tmp_path / "run")
    remember_place(study, INPUTS)
    study.rmdir()
    for told in ("../study", "study", None):
        assert find_study(run, {"study": told, "inputs": INPUTS}) is None
