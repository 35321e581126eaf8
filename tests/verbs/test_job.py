"""An output folder knows what it is being made from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from voxhint.core.errors import OutputError
from voxhint.verbs.folders import MADE
from voxhint.verbs.job import Ticket, finish, hash_of, read_made, start, study_inputs

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
