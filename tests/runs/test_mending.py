"""What is gone or changed is made again; nothing that a person did is lost."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from voxhint.core.errors import OutputError
from voxhint.files.atomic import write_text
from voxhint.files.hashing import files_below
from voxhint.runs import MADE, Manifest, Started, complete, read_made, record, start

MANIFEST = Manifest(verb="train", config={"steps": 10}, seed=0, inputs={"imagesTr": "abc"})


def refusal(out: Path, manifest: Manifest) -> str:
    with pytest.raises(OutputError) as caught:
        start(out, manifest, overwrite=True)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def made(out: Path) -> Path:
    """Make a folder of two masks, one of them in a folder of its own."""
    start(out, MANIFEST, overwrite=False)
    for name in ("c0.nii.gz", "deep/c1.nii.gz"):
        write_text(out / name, f"mask {name}")
    complete(out, MANIFEST, {})
    return out


def content(out: Path) -> dict[str, str]:
    return {path.relative_to(out).as_posix(): path.read_text() for path in files_below(out)}


def test_what_is_gone_is_told_and_to_be_made_again(tmp_path: Path) -> None:
    (made(tmp_path) / "deep" / "c1.nii.gz").unlink()
    found = start(tmp_path, MANIFEST, overwrite=False)
    assert found.lost == ("deep/c1.nii.gz",)
    assert not found.complete
    assert "deep/c1.nii.gz: gone" in found.warnings[0]
    assert set(content(tmp_path)) == {"c0.nii.gz"}
    write_text(tmp_path / "deep" / "c1.nii.gz", "mask deep/c1.nii.gz")
    complete(tmp_path, MANIFEST, {})
    assert start(tmp_path, MANIFEST, overwrite=False).complete


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_was_changed_is_kept_and_to_be_made_again(tmp_path: Path, overwrite: bool) -> None:
    for turn in ("changed", "changed 2"):
        made(tmp_path)
        (tmp_path / "c0.nii.gz").write_text(f"corrected by hand {turn}")
        found = start(tmp_path, MANIFEST, overwrite=overwrite)
        assert found.lost == ("c0.nii.gz",)
        assert "kept in changed" in found.warnings[0]
        assert not (tmp_path / "c0.nii.gz").exists()
        assert (tmp_path / turn / "c0.nii.gz").read_text() == f"corrected by hand {turn}"


def test_a_file_changed_between_two_sittings_is_made_again(tmp_path: Path) -> None:
    start(tmp_path, MANIFEST, overwrite=False)
    write_text(tmp_path / "c0.nii.gz", "mask")
    write_text(tmp_path / ".prepared" / "c0.npy", "numbers")
    (tmp_path / "c0.nii.gz").write_text("mesk")
    (tmp_path / ".prepared" / "c0.npy").write_text("numb")
    found = start(tmp_path, MANIFEST, overwrite=False)
    assert set(found.lost) == {"c0.nii.gz", ".prepared/c0.npy"}
    assert set(content(tmp_path)) == {"changed/c0.nii.gz"}
    assert not list((tmp_path / ".prepared").iterdir())


def test_a_write_that_a_kill_cut_short_is_no_loss(tmp_path: Path) -> None:
    start(tmp_path, MANIFEST, overwrite=False)
    write_text(tmp_path / "c0.nii.gz", "mask")
    with (tmp_path / ".outputs.jsonl").open("a") as journal:
        journal.write('\n["c1.nii.gz", "0123"]\n["c0.nii.gz", "45')
    found = start(tmp_path, MANIFEST, overwrite=False)
    assert not found.warnings
    assert set(content(tmp_path)) == {"c0.nii.gz"}


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.txt", "as the radiologist said"),
        ("deep/hints/points.csv", "case,label,x,y,z"),
        (".notes", "hidden"),
        (".mask.partial", "of another tool"),
        ("c0.nii.gz", "corrected by hand"),
    ],
)
def test_nothing_that_a_person_did_is_overwritten(
    tmp_path: Path, name: str, text: str, finished: bool
) -> None:
    if finished:
        made(tmp_path)
    else:
        start(tmp_path, MANIFEST, overwrite=False)
        write_text(tmp_path / "c0.nii.gz", "mask")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    before = content(tmp_path)
    told = refusal(tmp_path, replace(MANIFEST, seed=1))
    assert name in told
    assert content(tmp_path) == before
    assert (tmp_path / name).read_text() == text


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    made(out)
    (elsewhere).mkdir()
    (elsewhere / "thesis.txt").write_text("years of work")
    (out / "linked").symlink_to(elsewhere, target_is_directory=True)
    assert "linked" in refusal(out, replace(MANIFEST, seed=1))
    assert (elsewhere / "thesis.txt").exists()


def test_another_verbs_folder_is_not_overwritten(tmp_path: Path) -> None:
    made(tmp_path)
    before = content(tmp_path)
    told = refusal(tmp_path, replace(MANIFEST, verb="label"))
    assert "made by voxhint train" in told
    assert content(tmp_path) == before


def test_a_folder_without_a_record_of_its_files_is_not_overwritten(tmp_path: Path) -> None:
    made(tmp_path)
    told = read_made(tmp_path)
    told.pop("outputs")
    (tmp_path / MADE).write_text(json.dumps(told))
    assert start(tmp_path, MANIFEST, overwrite=False).complete
    assert "c0.nii.gz" in refusal(tmp_path, replace(MANIFEST, seed=1))


@pytest.mark.parametrize("name", ["../thesis.txt", "deep/../../thesis.txt", "{above}/thesis.txt"])
def test_a_manifest_that_names_files_elsewhere_moves_none(tmp_path: Path, name: str) -> None:
    out, thesis = made(tmp_path / "out"), tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    told = read_made(out)
    told["outputs"][name.format(above=tmp_path)] = "0123"
    (out / MADE).write_text(json.dumps(told))
    start(out, MANIFEST, overwrite=False)
    assert thesis.exists()


def run(out: Path) -> Started:
    """Make a folder with a part, or what is missing of it."""
    whole, part = replace(MANIFEST, verb="run"), out / "masks"
    found = start(out, whole, overwrite=False)
    if not found.complete:
        if not start(part, MANIFEST, overwrite=True).complete:
            for name in ("c0", "c1"):
                if not (part / name).exists():
                    write_text(part / name, f"mask {name}")
            complete(part, MANIFEST, {"seconds": len(found.lost)})
        write_text(out / "scores.json", "{}")
        complete(out, whole, {}, parts=["masks"])
    return found


def damage(part: Path, how: str) -> None:
    match how:
        case "file gone":
            (part / "c0").unlink()
        case "file changed":
            (part / "c0").write_text("junk")
        case "part gone":
            shutil.rmtree(part)
        case "manifest gone":
            (part / MADE).unlink()
        case "manifest damaged":
            (part / MADE).write_text("{")
        case _:  # another run's
            shutil.rmtree(part)
            other = replace(MANIFEST, seed=5)
            start(part, other, overwrite=False)
            write_text(part / "c0", "mask of another run")
            complete(part, other, {})


@pytest.mark.parametrize(
    "how",
    ["file gone", "file changed", "part gone", "manifest gone", "manifest damaged", "another's"],
)
def test_a_part_is_mended_whatever_became_of_it(tmp_path: Path, how: str) -> None:
    run(tmp_path)
    before = content(tmp_path)
    assert run(tmp_path).complete
    damage(tmp_path / "masks", how)
    assert run(tmp_path).warnings
    after = {name: text for name, text in content(tmp_path).items() if "changed" not in name}
    assert {n: t for n, t in after.items() if MADE not in n} == {
        n: t for n, t in before.items() if MADE not in n
    }
    assert run(tmp_path).complete


def test_a_note_in_a_part_keeps_the_whole_from_being_overwritten(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "masks" / "note").write_text("mine")
    whole = replace(MANIFEST, verb="run", seed=1)
    assert "masks/note" in refusal(tmp_path, whole)


def test_a_file_written_later_belongs_to_the_folder(tmp_path: Path) -> None:
    made(tmp_path)
    write_text(tmp_path / "report.html", "page")
    record(tmp_path, "report.html")
    (tmp_path / "report.html").write_text("another page")
    assert start(tmp_path, MANIFEST, overwrite=False).lost == ("report.html",)
