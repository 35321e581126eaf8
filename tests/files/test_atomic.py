"""A file is there whole, or as it was before."""

import json
from pathlib import Path

import pytest

from voxhint.core.errors import OutputError
from voxhint.files.atomic import replacing, write_json, write_text


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.nii.gz", "1.2.3.nii.gz", "a.json"])
def test_the_hidden_name_keeps_the_suffix(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as partial:
        partial.write_text("x")
        assert partial.name.startswith(".")
        assert partial.suffix == (tmp_path / name).suffix
        assert not (tmp_path / name).exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "c.json", {"ä": [1, 2]})
    assert json.loads((tmp_path / "a/b/c.json").read_text(encoding="utf-8")) == {"ä": [1, 2]}


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_writing_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError), replacing(tmp_path / "a.txt"):
        pass
