"""Nothing that lies in a study, however broken, ends in more than one clear line."""

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.phantoms import make_study
from tests.spoil import Spoil, both, data, renamed, text
from tests.stories.broken import KINDS
from tests.stories.commands import apart

from voxhint.cli import main

SMALL = ("--steps", "1", "--width", "4", "--patch-voxels", "4000", "--threads", "1")
ERRORS = [name for name, kind in KINDS.items() if kind.severity == "error"]
ODD = [name for name, kind in KINDS.items() if kind.severity != "error"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("good") / "study")


@pytest.fixture
def study(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "study"))


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert isinstance(end.value.code, int)
    return end.value.code


def content(folder: Path) -> dict[str, bytes]:
    """Return every file and link below a folder."""
    return {
        str(path): os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("error: ")]


def require_told(lines: list[str], told: tuple[str, ...]) -> None:
    (line,) = lines
    assert not [words for words in told if words not in line], line
    assert "; " in line  # what was found; what to do


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_broken_is_told_in_one_line_and_nothing_is_made(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kind, out = KINDS[name], tmp_path / "out"
    kind.spoil(study)
    before = content(study)
    assert call("check", study) == 1
    checked = capsys.readouterr()
    assert not checked.err
    require_told(errors(checked.out), kind.told)
    assert call("run", study, "--out", out, *SMALL) == 1
    ran = capsys.readouterr()
    assert ran.err.splitlines() == errors(checked.out)
    assert not ran.out
    assert not out.exists()
    assert content(study) == before


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_passes_with_a_warning_at_most(
    study: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kind = KINDS[name]
    kind.spoil(study)
    assert call("check", study) == 0
    *lines, told = capsys.readouterr().out.splitlines()
    if kind.severity == "fine":
        assert not lines
    else:
        require_told(lines, kind.told)
        assert call("check", study, "--strict") == 1
    assert "0 errors" in told


@pytest.mark.slow  # PyTorch is loaded anew
def test_a_process_of_its_own_tells_the_same(study: Path, tmp_path: Path) -> None:
    kind = KINDS["images: wrong magic"]  # of which the format library talks at length
    kind.spoil(study)
    ran = apart("run", study, "--out", tmp_path / "out", *SMALL)
    assert ran.returncode == 1
    assert not ran.stdout
    require_told(ran.stderr.splitlines(), kind.told)


ODDITIES = (
    "images: constant",
    "images: hidden files",
    "tables: extra column",
    "tables: rows twice",
    "drawn: nothing drawn",
    "drawn: markup that is fine",
    "study: strange splits",
    "study: strange cases",
    "study: truth of no image",
    "study: masks of no image",
)


@pytest.fixture(scope="module")
def odd_run(good: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a study of many oddities at once, and a run of it."""
    folder = tmp_path_factory.mktemp("odd")
    study, out = Path(shutil.copytree(good, folder / "study")), folder / "run"
    for name in ODDITIES:
        KINDS[name].spoil(study)
    renamed("c1", "Zoë 1 (ß) 脳")(study)
    assert call("run", study, "--out", out, "--hinted-masks", *SMALL) == 0
    return study, out


def test_a_study_of_nothing_but_oddities_is_run_to_the_end(odd_run: tuple[Path, Path]) -> None:
    _, out = odd_run
    assert (out / "report.html").exists()
    assert len(list((out / "masksTr").glob("*.nii.gz"))) == 2


def test_bad_cases_are_set_aside_and_the_run_goes_on_without_them(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    KINDS["images: truncated gzip"].spoil(study)
    data("imagesTs/t1_0000.nii.gz", b"x")(study)
    shutil.copy(study / "labelsTs" / "t0.nii.gz", study / "labelsTs" / "t1.nii.gz")
    out = tmp_path / "out"
    assert call("run", study, "--out", out, "--skip-bad", "--hinted-masks", *SMALL) == 0
    assert [path.name for path in (tmp_path / "out" / "masksTr").glob("*.nii.gz")] == ["c1.nii.gz"]
    assert [path.name for path in (tmp_path / "out" / "masks").glob("*.nii.gz")] == ["t0.nii.gz"]


def test_setting_aside_every_hint_leaves_nothing_to_learn_from(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = (study / "hints" / "points.csv").read_text("utf-8").splitlines()
    rows = [line for line in points if not line.startswith("c1")]
    text("hints/points.csv", "\n".join(rows))(study)
    KINDS["images: truncated gzip"].spoil(study)
    out = tmp_path / "out"
    assert call("run", study, "--out", out, "--skip-bad", *SMALL) == 1
    require_told(errors(capsys.readouterr().err), ("no case to learn from", "add hints"))


class Trap:
    """Something that is better not unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    # typing.override arrives with Python 3.12
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:  # type: ignore[explicit-override]
        return os.mkdir, (str(self.sprung),)


def test_pickled_weights_are_refused_and_never_opened(
    odd_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = odd_run
    model = Path(shutil.copytree(out / "model", tmp_path / "model"))
    (model / "weights.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert call("predict", model, study / "imagesTs", "--out", tmp_path / "masks") == 1
    require_told(errors(capsys.readouterr().err), ("weights.safetensors", "train it again"))
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "masks").exists()


def test_soft_labels_of_other_images_are_refused(
    odd_run: tuple[Path, Path], study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, out = odd_run[1] / "labels", tmp_path / "model"
    for folder, told in ((labels, "no soft labels of these images"), (study, "no complete result")):
        assert call("train", study, "--labels", folder, "--out", out, *SMALL) == 1
        require_told(errors(capsys.readouterr().err), (folder.name, told))
        assert not out.exists()


def _foreign(root: Path) -> None:
    (root.parent / "out").mkdir()
    (root.parent / "out" / "thesis.txt").write_text("years of work")


def _recipe(content: bytes) -> Spoil:
    return lambda root: (root.parent / "recipe.toml").write_bytes(content)


WORDS: dict[str, tuple[Spoil, str, tuple[str, ...]]] = {
    "a foreign folder": (_foreign, "run STUDY --out OUT", ("out", "did not make", "choose")),
    "inside the study": (both(), "run STUDY --out STUDY/run", ("run", "only read", "choose")),
    "around the study": (both(), "run STUDY --out STUDY/..", ("only read", "choose")),
    "labels inside": (both(), "label STUDY --out STUDY/labels", ("only read", "choose")),
    "model inside": (
        both(),
        "train STUDY --supervision dense --out STUDY/model",
        ("denseTr", "holds no mask", "add dense masks"),
    ),
    "no TOML": (_recipe(b"[train"), "run STUDY --out OUT --config TOML", ("recipe.toml", "mend")),
    "no text": (_recipe(b"\xff"), "run STUDY --out OUT --config TOML", ("recipe.toml", "mend")),
    "no such knob": (
        _recipe(b"[train]\nstep = 4"),
        "run STUDY --out OUT --config TOML",
        ("recipe.toml", "train.step", "did you mean"),
    ),
    "out of range": (
        _recipe(b"[train]\nsteps = 0"),
        "run STUDY --out OUT --config TOML",
        ("recipe.toml", "train.steps", "greater than"),
    ),
    "no recipe": (both(), "run STUDY --out OUT --config TOML", ("recipe.toml", "mend")),
    "no model": (
        both(),
        "predict OUT STUDY/imagesTs --out OUT",
        ("is not there", "check the path"),
    ),
    "no labels": (both(), "train STUDY --labels OUT --out OUT", ("is not there", "check the path")),
    "broken subjects": (
        text("cases.csv", "case\nc0"),
        "measure STUDY/labelsTs STUDY/labelsTs",
        ("cases.csv", "no column subject"),
    ),
    "broken description": (
        text("dataset.json", "{"),
        "measure STUDY/labelsTs STUDY/labelsTs",
        ("dataset.json", "not JSON"),
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_bad_places_and_recipes_are_told_in_one_line(
    study: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    spoil, words, told = WORDS[name]
    spoil(study)
    out = study.parent / "out"
    before = content(study.parent)
    places = {"STUDY": study, "OUT": out, "TOML": study.parent / "recipe.toml"}
    for short, place in places.items():
        words = words.replace(short, str(place))
    assert call(*words.split()) == 1
    require_told(errors(capsys.readouterr().err), told)
    assert content(study.parent) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="may read everything")
@pytest.mark.parametrize("name", ["imagesTr", "imagesTr/c0_0000.nii.gz", "hints/points.csv"])
def test_what_may_not_be_read_is_told_in_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (study / name).chmod(0)
    try:
        assert call("run", study, "--out", tmp_path / "out", *SMALL) == 1
        require_told(errors(capsys.readouterr().err), (name, "permission denied"))
    finally:
        (study / name).chmod(0o755)


@pytest.mark.parametrize("written", [0, 1, 4, 9, 14])
def test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on_later(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    written: int,
) -> None:
    out, left, flush = tmp_path / "out", [written], os.fsync

    def full(handle: int) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        flush(handle)

    with monkeypatch.context() as patch:
        patch.setattr("voxhint.files.atomic.os.fsync", full)
        assert call("run", study, "--out", out, *SMALL) == 1
    require_told(errors(capsys.readouterr().err), ("No space left on device", "free space"))
    assert not list(tmp_path.rglob("*.partial*"))
    if written in (0, 14):  # once at the start, once in the middle
        assert call("run", study, "--out", out, *SMALL) == 0
