"""A folder that is made at once is there whole or not at all, made by one, and nobody's loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from voxhint.core.errors import OutputError
from voxhint.files.atomic import MADE, write_json
from voxhint.runs import atomic_folder, read_made
from voxhint.runs.files_unchanged import differences


def make(out: Path, text: str = "one", *, verb: str = "simulate", overwrite: bool = False) -> Path:
    with atomic_folder(out, verb=verb, overwrite=overwrite) as folder:
        (folder / "hints").mkdir()
        (folder / "hints" / "tags.csv").write_text(text)
        (folder / "image").symlink_to(out.parent / "elsewhere")
        write_json(folder / MADE, {"verb": verb})
    return out


def refusal(out: Path, **how: object) -> str:
    with pytest.raises(OutputError) as caught:
        make(out, "two", overwrite=True, **how)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_what_was_made_is_recorded_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    out = make(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208 - hidden files count
    assert set(read_made(out)["outputs"]) == {"hints/tags.csv", "image"}
    assert str(tmp_path) not in (out / MADE).read_text()
    assert not any((differences(out).gone, differences(out).changed, differences(out).foreign))


def test_what_nobody_changed_may_be_replaced(tmp_path: Path) -> None:
    make(tmp_path / "out")
    make(tmp_path / "out", "two", overwrite=True)
    assert (tmp_path / "out" / "hints" / "tags.csv").read_text() == "two"
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208


@pytest.mark.parametrize("name", ["hints/points.csv", "hints/tags.csv", "note", ".note", "image"])
def test_what_a_person_did_is_refused_by_name_and_kept(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "out") / name
    path.unlink(missing_ok=True)
    path.write_text("by hand")
    assert name in refusal(tmp_path / "out")
    assert path.read_text() == "by hand"


def test_what_a_person_does_meanwhile_is_kept(tmp_path: Path) -> None:
    out = make(tmp_path / "out")

    def meet() -> None:
        with atomic_folder(out, verb="simulate", overwrite=True) as folder:
            write_json(folder / MADE, {"verb": "simulate"})
            (out / "note").write_text("by hand")

    with pytest.raises(OutputError, match="note"):
        meet()
    assert (out / "note").read_text() == "by hand"


def test_what_another_verb_made_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "out", verb="import dicom")
    assert "import dicom" in refusal(tmp_path / "out")


def test_a_neighbours_hidden_folder_is_not_touched(tmp_path: Path) -> None:
    kept = [".out.partial", ".out.0123456789ab.partial", ".other.0123456789ab.partial"]
    for name in kept:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years of work")
    make(tmp_path / "out")
    assert all((tmp_path / name / "thesis.txt").exists() for name in kept)


DYING = """
import os, signal, sys
from pathlib import Path
from voxhint.runs import atomic_folder
with atomic_folder(Path(sys.argv[1]), verb="simulate") as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    input()
"""


def test_two_never_fill_one_folder_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-c", DYING, str(out)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stdin=pipe, text=True) as process:
        assert process.stdout
        left = Path(process.stdout.readline().strip())
        assert "another voxhint is at work" in refusal(out)
        process.kill()
    assert (left / "half").exists()
    make(out)
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        make(tmp_path / "file" / "out")
    with pytest.raises(OutputError, match="is no folder"):
        make(tmp_path / "file")
    assert json.dumps(os.listdir(tmp_path)) == '["file"]'  # noqa: PTH208


def test_an_error_inside_names_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "image").mkdir()
        write_json(folder / "image", {})  # as on a full disk

    with (
        pytest.raises(OutputError) as caught,
        atomic_folder(tmp_path / "out", verb="simulate") as folder,
    ):
        fill(folder)
    assert str(caught.value).startswith(f"{tmp_path / 'out' / 'image'}: cannot be written")
    assert "partial" not in str(caught.value)
