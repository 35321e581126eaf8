"""A finished run is whole, or is made whole again; and it says nothing of whose machine it was."""

import gzip
import platform
import shutil
import socket
from pathlib import Path

import pytest
from tests.phantoms import make_study
from tests.stories.commands import tree

from voxhint.config import LabelConfig, Machine, Recipe, TrainConfig
from voxhint.config.tags import ClassifierConfig, TagConfig
from voxhint.core.errors import OutputError
from voxhint.files.images import read_volume, write_image
from voxhint.runs import read_made
from voxhint.verbs.export import export
from voxhint.verbs.label import label
from voxhint.verbs.report import report
from voxhint.verbs.run import run

SHORT = Recipe(train=TrainConfig(steps=2, width=4, patch_voxels=4000))
USER, HOST = "zaphod-beeblebrox", "heart-of-gold"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a study and a run, below a home."""
    home = tmp_path_factory.mktemp("users") / USER
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("USER", "LOGNAME"):
            patch.setenv(name, USER)
        patch.setattr(socket, "gethostname", lambda: HOST)
        patch.setattr(platform, "node", lambda: HOST)
        make_study(home / "work" / "study")
        again(home / "work")
    return home / "work"


def again(folder: Path, out: str = "run", stop: tuple[str, int] = ("", 0)) -> list[str]:
    """Give the command of the run, and return what it tells of; it may be stopped at a step."""
    told: list[str] = []

    def tell(what: str, done: int, total: int, note: str, /) -> None:
        told.append(note)
        if (what, done) == stop:
            raise KeyboardInterrupt

    run(
        folder / "study",
        folder / out,
        recipe=SHORT,
        machine=Machine(threads=1, device="cpu"),
        hinted_masks=True,
        tell=tell,
    )
    return told


def test_a_run_says_nothing_of_whose_it_is(finished: Path, tmp_path: Path) -> None:
    export(finished / "run", to="nnunet", out=finished / "export")
    searched = (str(finished / "study"), USER, HOST, str(Path.home()) + "/")
    for folder in ("run", "export"):
        for path in (finished / folder).rglob("*"):
            if path.is_file():
                raw = path.read_bytes()
                content = raw + (gzip.decompress(raw) if path.suffix == ".gz" else b"")
                found = [text for text in searched if text.encode() in content or text in path.name]
                assert not found, path


def test_what_is_gone_or_changed_is_made_again_to_the_very_bit(
    finished: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "work"))
    out = folder / "run"
    before, page = tree(out), (out / "report.html").read_bytes()
    assert not [note for note in again(folder) if "made again" in note]
    (out / "masks" / "t0.nii.gz").unlink()
    (out / "labels" / "c1__ball.nii.gz").unlink()
    shutil.copyfile(out / "masksTr" / "c0.nii.gz", out / "masksTr" / "c1.nii.gz")
    (out / "report.html").write_text("<p>mine</p>")
    told = " ".join(again(folder))
    assert "masks/t0.nii.gz" in told
    assert "masksTr/c1.nii.gz" in told
    assert tree(out) == before
    assert len((out / "report.html").read_bytes()) > len(page) / 2
    assert (out / "changed" / "report.html").read_text() == "<p>mine</p>"
    assert any("made again" in warning for warning in read_made(out)["warnings"])
    assert not [note for note in again(folder) if "made again" in note]


@pytest.mark.slow
def test_a_run_that_was_stopped_warns_of_all_that_an_unbroken_one_warns_of(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", tests=2)
    for name in ("imagesTr/c0", "imagesTs/t0"):
        image = read_volume(study / f"{name}_0000.nii.gz", channel="CT")
        image.voxels[0, 0, 0] = -3.4028235e38
        write_image(study / f"{name}_0000.nii.gz", image)
    again(tmp_path, "whole")
    unbroken = read_made(tmp_path / "whole")
    assert any("t0_0000" in warning for warning in unbroken["warnings"])
    for stop in (("label", 1), ("train", 2), ("predict", 1)):
        with pytest.raises(KeyboardInterrupt):
            again(tmp_path, "stopped", stop)
    again(tmp_path, "stopped")
    made = read_made(tmp_path / "stopped")
    assert made["warnings"] == unbroken["warnings"]
    for part in ("labels", "masks", "masksTr"):
        parts = [read_made(tmp_path / out / part) for out in ("stopped", "whole")]
        assert parts[0]["warnings"] == parts[1]["warnings"]
    (tmp_path / "whole" / "masks" / "t1.nii.gz").unlink()  # made again, t0 is not looked at
    again(tmp_path, "whole")
    mended = [
        warning for warning in read_made(tmp_path / "whole")["warnings"] if "made" not in warning
    ]
    assert mended == unbroken["warnings"]


def test_a_page_that_was_edited_is_kept_by_report_too(finished: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "work")) / "run"
    (out / "report.html").write_text("<p>mine</p>")
    told: list[str] = []
    page = report(out, tell=lambda *words: told.append(words[3]))
    assert (out / "changed" / "report.html").read_text() == "<p>mine</p>"
    assert "kept in changed" in " ".join(told)
    assert "report.html: changed since it was made" in page.read_text()
    report(out)
    assert not list(out.glob("changed 2"))  # its own page is no edit


def test_a_damaged_clock_loses_seconds_alone(tmp_path: Path) -> None:
    make_study(tmp_path / "study")
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path, stop=("predict", 0))
    clock = tmp_path / "run" / ".seconds.json"
    assert "train" in clock.read_text()
    clock.write_text('{"train": "lo')
    told = " ".join(again(tmp_path))
    assert "seconds of earlier steps are lost" in told
    made = read_made(tmp_path / "run")
    assert "train" in made["seconds"]
    assert any(".seconds.json: damaged" in warning for warning in made["warnings"])


def test_a_net_that_lost_a_file_is_trained_again(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", hints=("tags",), cases=4)
    rows = [
        "case,label,state",
        *(f"c{n},ball,{'present' if n % 2 else 'absent'}" for n in range(4)),
    ]
    (study / "hints" / "tags.csv").write_text("\n".join(rows) + "\n")
    quick = LabelConfig(
        classifier=ClassifierConfig(steps=2, input_voxels=2000), tags=TagConfig(weights="none")
    )
    how = Machine(threads=1, device="cpu")
    out = label(study, tmp_path / "labels", config=quick, machine=how)
    net = out / "nets" / "classifier"
    before = {path.name: path.read_bytes() for path in net.iterdir()}
    for name in ("weights.safetensors", "classifier.json", "plan.json"):
        (net / name).unlink()
        label(study, out, config=quick, machine=how)
        assert (net / name).read_bytes() == before[name], name
        assert any("gone since it was made" in w for w in read_made(out)["warnings"])


def test_a_report_shows_the_study_where_it_lies_now(finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "work"))
    assert "not there any more" not in report(folder / "run").read_text()


def test_no_study_is_taken_for_an_earlier_result(finished: Path, tmp_path: Path) -> None:
    study = make_study(tmp_path / "other")
    how = Machine(overwrite=True)
    for out in (finished / "study", finished / "run"):
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        with pytest.raises(OutputError):
            label(study, out, config=SHORT.label, machine=how)
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
