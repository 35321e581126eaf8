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
from voxhint.verbs.folders import MADE
from voxhint.verbs.job import Ticket, alone, begun, finish, hash_of, read_made, start, study_inputs

TICKET = Ticket(
    verb="train",
    config={"steps": 10, "network": "dynunet", "patch": (1, 2, 3)},
    seed=0,
    inputs={"imagesTr": "abc"},
)


def refusal(out: Path, ticket: Ticket, *, overwrite: bool = False) -> str:
    with pytest.raises(OutputError) as caught:
        start(out, ticket, overwrite=overwrite)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def complete(out: Path) -> Path:
    """Make a folder with one file of work."""
    start(out, TICKET, overwrite=False)
    (out / "work").write_text("done", "utf-8")
    finish(out, TICKET, {"seconds": 1.5})
    return out


@pytest.mark.parametrize("there", [False, True])
def test_a_new_or_empty_folder_is_opened(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "above" / "out"
    if there:
        out.mkdir(parents=True)
    assert not start(out, TICKET, overwrite=False)
    assert out.is_dir()


def test_the_same_command_goes_on_and_finds_its_work(tmp_path: Path) -> None:
    start(tmp_path, TICKET, overwrite=False)
    (tmp_path / "work").write_text("half", "utf-8")
    for overwrite in (False, True):
        assert not start(tmp_path, TICKET, overwrite=overwrite)
        assert (tmp_path / "work").read_text("utf-8") == "half"


def test_a_complete_folder_is_left_as_it_is(tmp_path: Path) -> None:
    complete(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for overwrite in (False, True):
        assert start(tmp_path, TICKET, overwrite=overwrite)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_is_complete_only_after_finish(tmp_path: Path) -> None:
    start(tmp_path, TICKET, overwrite=False)
    with pytest.raises(OutputError, match="holds no complete result"):
        read_made(tmp_path)
    finish(tmp_path, TICKET, {"seconds": 1.5})
    made = read_made(tmp_path)
    assert {key: made[key] for key in TICKET.to_json()} == TICKET.to_json()
    assert made["seconds"] == 1.5
    assert {"voxhint", "torch", "numpy"} <= set(made["versions"])
    assert [path.name for path in tmp_path.iterdir()] == [MADE]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("ticket", "told"),
    [
        (replace(TICKET, config={**TICKET.config, "steps": 20}), "config.steps (was 10, is 20)"),
        (replace(TICKET, seed=1), "seed (was 0, is 1)"),
        (replace(TICKET, verb="label"), "verb (was train, is label)"),
        (replace(TICKET, inputs={"imagesTr": "abd"}), "inputs.imagesTr"),
        (replace(TICKET, inputs={}), "inputs.imagesTr"),
    ],
    ids=["knob", "seed", "verb", "input", "input gone"],
)
def test_what_changed_is_named(tmp_path: Path, ticket: Ticket, told: str, finished: bool) -> None:
    if finished:
        complete(tmp_path)
    else:
        start(tmp_path, TICKET, overwrite=False)
    text = refusal(tmp_path, ticket)
    assert told in text
    assert "--overwrite" in text
    assert "abd" not in text  # hashes tell a person nothing


def test_of_many_changes_some_are_named_and_the_others_counted(tmp_path: Path) -> None:
    knobs = {f"k{number}": 0 for number in range(9)}
    start(tmp_path, replace(TICKET, config=knobs), overwrite=False)
    text = refusal(tmp_path, replace(TICKET, config=dict.fromkeys(knobs, 1)))
    assert text.count("was 0") == 4
    assert "and 5 more" in text


@pytest.mark.parametrize("finished", [False, True])
def test_overwrite_starts_anew_where_something_changed(tmp_path: Path, finished: bool) -> None:
    out = tmp_path / "out"
    start(out, TICKET, overwrite=False)
    (out / "work").write_text("old", "utf-8")
    if finished:
        finish(out, TICKET, {})
    changed = replace(TICKET, seed=1)
    assert not start(out, changed, overwrite=True)
    assert not (out / "work").exists()
    assert not start(out, changed, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_is_refused_and_kept(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    assert "did not make" in refusal(tmp_path, TICKET, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "out"
    out.write_text("a file", "utf-8")
    refusal(out, TICKET, overwrite=overwrite)
    assert out.read_text("utf-8") == "a file"


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file", "utf-8")
    assert "cannot be used" in refusal(tmp_path / "file" / "out", TICKET)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_damaged_record_is_refused(tmp_path: Path, overwrite: bool) -> None:
    complete(tmp_path)
    (tmp_path / MADE).write_text("{", "utf-8")
    assert "damaged" in refusal(tmp_path, TICKET, overwrite=overwrite)
    assert (tmp_path / "work").exists()
    with pytest.raises(OutputError, match="holds no complete result"):
        read_made(tmp_path)


def test_half_written_files_of_a_killed_run_are_swept(tmp_path: Path) -> None:
    start(tmp_path, TICKET, overwrite=False)
    (tmp_path / "masks").mkdir()
    stale = [tmp_path / "masks" / ".c0.77.partial.nii.gz", tmp_path / ".state.ckpt.partial"]
    for path in (*stale, tmp_path / "masks" / "c0.nii.gz"):
        path.write_bytes(b"x")
    start(tmp_path, TICKET, overwrite=False)
    assert not any(path.exists() for path in stale)
    assert (tmp_path / "masks" / "c0.nii.gz").exists()


HOLDER = """
import sys, time
from pathlib import Path
from voxhint.verbs.job import alone
with alone(Path(sys.argv[1]), source=Path("nowhere")):
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
        alone(out, source=source),
    ):
        pytest.fail("two were let in")
    # the killed one left its lock file, and nobody has to wait for it
    assert (out / ".lock").exists()
    with alone(out, source=source):
        assert not start(out, TICKET, overwrite=False)
    assert [path.name for path in out.iterdir()] == [".job.json"]


def test_a_folder_that_nothing_was_put_into_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone(tmp_path / "out", source=tmp_path / "study"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["study", "study/run", "."])
def test_what_is_read_is_never_written_into(tmp_path: Path, out: str) -> None:
    (tmp_path / "study").mkdir()
    with (
        pytest.raises(OutputError, match="only read"),
        alone(tmp_path / out, source=tmp_path / "study"),
    ):
        pytest.fail("it was let in")
    assert [path.name for path in tmp_path.rglob("*")] == ["study"]


def test_a_foreign_folder_is_not_even_locked(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    before = tmp_path.stat().st_mtime_ns
    with (
        pytest.raises(OutputError, match="did not make"),
        alone(tmp_path, source=Path("nowhere")),
    ):
        pytest.fail("it was let in")
    assert tmp_path.stat().st_mtime_ns == before


def test_work_is_begun_from_start_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not begun(out)
    start(out, TICKET, overwrite=False)
    assert begun(out)
    finish(out, TICKET, {})
    assert begun(out)


def test_starting_anew_keeps_the_lock_and_a_record_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(tmp_path)
    (tmp_path / "masks").mkdir()

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with alone(tmp_path, source=Path("nowhere")):
        monkeypatch.setattr("voxhint.verbs.job.shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, replace(TICKET, seed=1), overwrite=True)
        assert (tmp_path / ".lock").exists()
        # the rest is known for what it was, and is not taken for what was asked last
        assert "seed (was 0, is 1)" in refusal(tmp_path, replace(TICKET, seed=1))
        assert not start(tmp_path, TICKET, overwrite=False)


def test_tickets_survive_json() -> None:
    assert json.loads(json.dumps(TICKET.to_json())) == TICKET.to_json()


def filled(folder: Path, **content: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in content.items():
        (folder / name).write_text(text, "utf-8")
    return folder


def test_a_hash_depends_on_names_and_content_alone(tmp_path: Path) -> None:
    first = filled(tmp_path / "one", a="1", b="2")
    same = filled(tmp_path / "two", b="2", a="1")  # written in another order, elsewhere
    assert hash_of([first]) == hash_of([same])
    others = [
        filled(tmp_path / "content", a="1", b="3"),
        filled(tmp_path / "name", a="1", c="2"),
        filled(tmp_path / "swapped", a="2", b="1"),
        filled(tmp_path / "fewer", a="1"),
        filled(tmp_path / "joined", a="1b2"),
    ]
    hashes = {hash_of([folder]) for folder in (first, *others)}
    assert len(hashes) == 1 + len(others)


def test_a_hash_follows_folders_and_links(tmp_path: Path) -> None:
    plain = filled(tmp_path / "plain", a="1")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a").symlink_to(plain / "a")
    assert hash_of([plain]) == hash_of([linked])
    before = hash_of([tmp_path])
    (plain / "a").write_text("2", "utf-8")
    assert hash_of([tmp_path]) != before


def test_of_a_large_file_size_and_both_ends_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.verbs.job._WHOLE", 2**17)
    path, size = tmp_path / "scan", 2**18
    hashes = set()
    for place in (None, 0, size - 1):
        content = bytearray(size)
        if place is not None:
            content[place] = 1
        path.write_bytes(content)
        hashes.add(hash_of([path]))
    path.write_bytes(bytes(size + 1))
    hashes.add(hash_of([path]))
    assert len(hashes) == 4


def test_missing_paths_count_for_nothing(tmp_path: Path) -> None:
    assert hash_of([tmp_path / "nowhere"]) == hash_of([])
    (tmp_path / "cases.csv").write_text("case,subject\n", "utf-8")
    assert set(study_inputs(tmp_path, ("dataset.json", "cases.csv"))) == {"cases.csv"}


def test_the_scans_of_luna16_are_its_images(tmp_path: Path) -> None:
    (tmp_path / "subset3").mkdir()
    (tmp_path / "seg-lungs-LUNA16").mkdir()
    (tmp_path / "annotations.csv").write_text("seriesuid\n")
    parts = ("imagesTr", "annotations.csv")
    hashes = []
    for name in ("subset3/1.mhd", "subset3/1.raw", "2.mhd"):
        (tmp_path / name).write_text("a")
        hashes.append(study_inputs(tmp_path, parts)["imagesTr"])
    (tmp_path / "subset3" / "1.raw").write_text("b")
    hashes.append(study_inputs(tmp_path, parts)["imagesTr"])
    assert len(set(hashes)) == len(hashes)
    (tmp_path / "seg-lungs-LUNA16" / "1.mhd").write_text("a")
    (tmp_path / "subset3" / "notes.txt").write_text("a")
    assert study_inputs(tmp_path, parts)["imagesTr"] == hashes[-1]
    assert "imagesTr" not in study_inputs(tmp_path, ("annotations.csv",))
