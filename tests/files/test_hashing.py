"""A hash depends on every byte, and is remembered only while nothing can have changed."""

import os
import sqlite3
import time
from pathlib import Path

import pytest

from voxhint.files import hashing
from voxhint.files.hashing import HashMemory, file_hash, hash_of
from voxhint.runs import study_inputs

SIZE = 3 * hashing._SMALL


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "voxhint" / "hashes.sqlite"


def settled(path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a file, and let time pass as if by a minute."""
    path.write_bytes(content)
    now = time.time_ns()
    monkeypatch.setattr("voxhint.files.hashing.time.time_ns", lambda: now + 60 * 10**9)
    return path


def remembered(cache: Path) -> int:
    with sqlite3.connect(cache) as base:
        (count,) = base.execute("select count(*) from hashes").fetchone()
    base.close()
    return int(count)


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


def test_a_hash_follows_a_link_to_a_folder_and_no_circle(tmp_path: Path) -> None:
    series = filled(tmp_path / "elsewhere", slice="1")
    study = tmp_path / "imagesTr"
    study.mkdir()
    (study / "c0_0000").symlink_to(series, target_is_directory=True)
    (series / "again").symlink_to(series, target_is_directory=True)
    before = hash_of([study])
    (series / "slice").write_text("2", "utf-8")
    assert hash_of([study]) != before


def test_hidden_files_count_for_nothing(tmp_path: Path) -> None:
    folder = filled(tmp_path / "one", a="1")
    before = hash_of([folder])
    (folder / ".DS_Store").write_text("x")
    assert hash_of([folder]) == before


@pytest.mark.parametrize("place", [0, SIZE // 2, SIZE - 1])
def test_every_byte_of_a_remembered_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, place: int
) -> None:
    path = settled(tmp_path / "scan", bytes(SIZE), monkeypatch)
    before = file_hash(path)
    assert remembered(cache) == 1
    written = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"x")
    os.utime(path, ns=(written, written))  # as a tool that keeps times leaves it
    assert file_hash(path) != before


def test_a_remembered_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled(tmp_path / "scan", bytes(SIZE), monkeypatch)
    before = file_hash(path)

    def read(*_: object) -> None:
        pytest.fail("it was read")

    monkeypatch.setattr("voxhint.files.hashing.hashlib.file_digest", read)
    assert file_hash(path) == before


def test_a_file_of_just_now_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "scan").write_bytes(bytes(SIZE))
    file_hash(tmp_path / "scan")
    assert remembered(cache) == 0


def test_a_small_file_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    file_hash(settled(tmp_path / "tags.csv", b"case,label,state\n", monkeypatch))
    assert not cache.exists()


def test_a_cache_that_cannot_be_used_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    path = settled(tmp_path / "scan", bytes(SIZE), monkeypatch)
    before = file_hash(path)
    cache.write_bytes(b"no data base" * 100)
    assert file_hash(path) == before
    cache.unlink()
    cache.parent.rmdir()
    cache.parent.write_text("in the way")
    assert file_hash(path) == before


def test_two_may_remember_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settled(tmp_path / "scan", bytes(SIZE), monkeypatch)
    with HashMemory() as first, HashMemory() as second:
        assert first.hash(path) == second.hash(path)


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
