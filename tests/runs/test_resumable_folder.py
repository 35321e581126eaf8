"""An output folder knows what it is being made from."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from voxhint.core.errors import OutputError
from voxhint.files.atomic import write_text
from voxhint.runs import (
    MADE,
    Manifest,
    complete,
    is_started,
    locked,
    read_made,
    start,
)

MANIFEST = Manifest(
    verb="train",
    config={"steps": 10, "network": "dynunet", "patch": (1, 2, 3)},
    seed=0,
    inputs={"imagesTr": "abc"},
)


def refusal(out: Path, manifest: Manifest, *, overwrite: bool = False) -> str:
    with pytest.raises(OutputError) as caught:
        start(out, manifest, overwrite=overwrite)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def completed(out: Path) -> Path:
    """Make a folder with one file of work."""
    start(out, MANIFEST, overwrite=False)
    write_text(out / "work", "done")
    complete(out, MANIFEST, {"seconds": 1.5})
    return out


@pytest.mark.parametrize("there", [False, True])
def test_a_new_or_empty_folder_is_opened(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "above" / "out"
    if there:
        out.mkdir(parents=True)
    assert not start(out, MANIFEST, overwrite=False).complete
    assert out.is_dir()


def test_the_same_command_goes_on_and_finds_its_work(tmp_path: Path) -> None:
    start(tmp_path, MANIFEST, overwrite=False)
    write_text(tmp_path / "work", "half")
    for overwrite in (False, True):
        assert not start(tmp_path, MANIFEST, overwrite=overwrite).complete
        assert (tmp_path / "work").read_text("utf-8") == "half"


def test_a_complete_folder_is_left_as_it_is(tmp_path: Path) -> None:
    completed(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for overwrite in (False, True):
        assert start(tmp_path, MANIFEST, overwrite=overwrite).complete
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_is_complete_only_after_complete(tmp_path: Path) -> None:
    start(tmp_path, MANIFEST, overwrite=False)
    with pytest.raises(OutputError, match="holds no complete result"):
        read_made(tmp_path)
    complete(tmp_path, MANIFEST, {"seconds": 1.5})
    made = read_made(tmp_path)
    assert {key: made[key] for key in MANIFEST.to_json()} == MANIFEST.to_json()
    assert made["seconds"] == 1.5
    assert {"voxhint", "torch", "numpy"} <= set(made["versions"])
    assert [path.name for path in tmp_path.iterdir()] == [MADE]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (
            replace(MANIFEST, config={**MANIFEST.config, "steps": 20}),
            "config.steps (was 10, is 20)",
        ),
        (replace(MANIFEST, seed=1), "seed (was 0, is 1)"),
        (replace(MANIFEST, verb="label"), "verb (was train, is label)"),
        (replace(MANIFEST, inputs={"imagesTr": "abd"}), "inputs.imagesTr"),
        (replace(MANIFEST, inputs={}), "inputs.imagesTr"),
    ],
    ids=["knob", "seed", "verb", "input", "input gone"],
)
def test_what_changed_is_named(
    tmp_path: Path, manifest: Manifest, told: str, finished: bool
) -> None:
    if finished:
        completed(tmp_path)
    else:
        start(tmp_path, MANIFEST, overwrite=False)
    text = refusal(tmp_path, manifest)
    assert told in text
    assert "--overwrite" in text
    assert "abd" not in text  # hashes tell a person nothing


def test_of_many_changes_some_are_named_and_the_others_counted(tmp_path: Path) -> None:
    knobs = {f"k{number}": 0 for number in range(9)}
    start(tmp_path, replace(MANIFEST, config=knobs), overwrite=False)
    text = refusal(tmp_path, replace(MANIFEST, config=dict.fromkeys(knobs, 1)))
    assert text.count("was 0") == 4
    assert "and 5 more" in text


@pytest.mark.parametrize("finished", [False, True])
def test_overwrite_starts_anew_where_something_changed(tmp_path: Path, finished: bool) -> None:
    out = tmp_path / "out"
    start(out, MANIFEST, overwrite=False)
    write_text(out / "work", "old")
    if finished:
        complete(out, MANIFEST, {})
    changed = replace(MANIFEST, seed=1)
    assert not start(out, changed, overwrite=True).complete
    assert not (out / "work").exists()
    assert not start(out, changed, overwrite=False).complete


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_refused_and_kept(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    assert "did not make" in refusal(tmp_path, MANIFEST, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "out"
    out.write_text("a file", "utf-8")
    refusal(out, MANIFEST, overwrite=overwrite)
    assert out.read_text("utf-8") == "a file"


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file", "utf-8")
    assert "cannot be used" in refusal(tmp_path / "file" / "out", MANIFEST)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_damaged_record_is_refused(tmp_path: Path, overwrite: bool) -> None:
    completed(tmp_path)
    (tmp_path / MADE).write_text("{", "utf-8")
    assert "damaged" in refusal(tmp_path, MANIFEST, overwrite=overwrite)
    assert (tmp_path / "work").exists()
    with pytest.raises(OutputError, match="holds no complete result"):
        read_made(tmp_path)


def test_half_written_files_of_a_killed_run_are_swept(tmp_path: Path) -> None:
    start(tmp_path, MANIFEST, overwrite=False)
    (tmp_path / "masks").mkdir()
    stale = [
        tmp_path / "masks" / ".c0.0123456789ab.partial.nii.gz",
        tmp_path / "..state.0123456789ab.partial.ckpt",
    ]
    kept = [tmp_path / "masks" / name for name in ("c0.nii.gz", ".my.partial.nii.gz")]
    for path in (*stale, *kept):
        path.write_bytes(b"x")
    start(tmp_path, MANIFEST, overwrite=False)
    assert not any(path.exists() for path in stale)
    assert all(path.exists() for path in kept)


HOLDER = """
import sys, time
from pathlib import Path
from voxhint.runs import locked
with locked(Path(sys.argv[1]), source=Path("nowhere")):
    print("at work", flush=True)
    time.sleep(600)
"""


@contextmanager
def held(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process work in a folder."""
    words = [sys.executable, "-c", HOLDER, str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "at work\n"
        yield process
        process.kill()


def test_two_at_once_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    out, source = tmp_path / "out", tmp_path / "study"
    with (
        held(out),
        pytest.raises(OutputError, match="another voxhint is at work"),
        locked(out, source=source),
    ):
        pytest.fail("two were let in")
    # the killed one left its lock file, and nobody has to wait for it
    assert (out / ".lock").exists()
    with locked(out, source=source):
        assert not start(out, MANIFEST, overwrite=False).complete
    assert {path.name for path in out.iterdir()} == {".job.json", ".outputs.jsonl"}


def test_a_folder_that_nothing_was_put_into_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "out", source=tmp_path / "study"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["study", "study/run", "."])
def test_what_is_read_is_never_written_into(tmp_path: Path, out: str) -> None:
    (tmp_path / "study").mkdir()
    with (
        pytest.raises(OutputError, match="only read"),
        locked(tmp_path / out, source=tmp_path / "study"),
    ):
        pytest.fail("it was let in")
    assert [path.name for path in tmp_path.rglob("*")] == ["study"]


def test_a_foreign_folder_is_not_even_locked(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    before = tmp_path.stat().st_mtime_ns
    with (
        pytest.raises(OutputError, match="did not make"),
        locked(tmp_path, source=Path("nowhere")),
    ):
        pytest.fail("it was let in")
    assert tmp_path.stat().st_mtime_ns == before


def test_work_is_begun_from_start_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not is_started(out)
    start(out, MANIFEST, overwrite=False)
    assert is_started(out)
    complete(out, MANIFEST, {})
    assert is_started(out)


def test_starting_anew_keeps_the_lock_and_a_record_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed(tmp_path)

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with locked(tmp_path, source=Path("nowhere")):
        monkeypatch.setattr("voxhint.runs.resumable_folder._prune", die)
        (tmp_path / "masks").mkdir()
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, replace(MANIFEST, seed=1), overwrite=True)
        assert (tmp_path / ".lock").exists()
        # the rest is known for what it was, and is not taken for what was asked last
        assert "seed (was 0, is 1)" in refusal(tmp_path, replace(MANIFEST, seed=1))
        assert not start(tmp_path, MANIFEST, overwrite=False).complete


def test_manifests_survive_json() -> None:
    assert json.loads(json.dumps(MANIFEST.to_json())) == MANIFEST.to_json()
