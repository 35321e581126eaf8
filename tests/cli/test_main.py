"""Words in, exit code out: 0 done, 1 the input is wrong, 2 the words are, 3 not here."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.phantoms import make_study

from voxhint.cli import commands, main
from voxhint.config import Recipe
from voxhint.core.errors import BadFileError, about
from voxhint.core.progress import Tell


def call(*words: object) -> int:
    """Run a command and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def errors(told: pytest.CaptureFixture[str]) -> list[str]:
    return told.readouterr().err.splitlines()


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_the_overview_names_every_command(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert call(*words) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in commands.COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize("name", list(commands.COMMANDS))
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert call(name, "--help") == 0
    assert f"voxhint {name}" in capsys.readouterr().out


def test_an_unknown_command_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("segment") == 2
    (line,) = errors(capsys)
    assert "no command 'segment'" in line


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("check", "study", "--no-such-flag"),
        ("run", "study"),
        ("run", "study", "--out", "x", "--steps", "many"),
        ("export", "run", "--to", "pdf", "--out", "x"),
    ],
)
def test_wrong_words_are_misuse(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert call(*words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_good_study_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path)
    assert call("check", study) == 0
    assert "0 errors" in capsys.readouterr().out


def test_a_study_with_problems_fails_and_every_problem_has_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path)
    for image in (study / "imagesTr").iterdir():
        image.write_bytes(b"broken")
    assert call("check", study) == 1
    told = capsys.readouterr()
    assert sum(line.startswith("error: ") for line in told.out.splitlines()) == 2
    assert not told.err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "{missing}", "--out", "{out}"),
        ("label", "{missing}", "--out", "{out}"),
        ("train", "{study}", "--out", "{out}"),
        ("predict", "{missing}", "{study}/imagesTs", "--out", "{out}"),
        ("measure", "{missing}", "{missing}"),
        ("measure", "{missing}", "{study}/labelsTs"),
        ("report", "{missing}"),
        ("simulate", "{study}", "--hint", "points:5", "--out", "{out}"),
        ("simulate", "{study}", "--hint", "dots", "--out", "{out}"),
        ("export", "{missing}", "--to", "nnunet", "--out", "{out}"),
        ("run", "{study}", "--out", "{out}", "--steps", "0"),
        ("run", "{study}", "--out", "{out}", "--config", "{missing}"),
        ("run", "{study}", "--out", "{out}", "--budget", "soon"),
        ("run", "{study}", "--out", "{out}", "--max-ram", "100M"),
        ("run", "{study}", "--out", "{out}", "--network", "segresnet", "--width", "12"),
        ("run", "{study}", "--out", "{study}", "--steps", "1"),
    ],
    ids=lambda words: " ".join(words[:2] + words[-2:]),
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    places = {"study": make_study(tmp_path / "study"), "out": tmp_path / "out"}
    words = tuple(word.format(missing=tmp_path / "missing", **places) for word in words)
    assert call(*words) == 1
    (line,) = (line for line in errors(capsys) if not line.startswith("while working on"))
    assert line.startswith("error: ")
    assert not places["out"].exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x"])
def test_a_device_that_is_not_here_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    study, out = make_study(tmp_path / "study"), tmp_path / "out"
    assert call("run", study, "--out", out, "--device", device) == 3
    (line,) = errors(capsys)
    assert device in line
    assert not out.exists()


def test_a_page_that_is_not_built_is_told_with_what_builds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.serve.app._PAGE", tmp_path / "nowhere")
    assert call("serve", make_study(tmp_path / "study"), "--out", tmp_path / "session") == 3
    (line,) = errors(capsys)
    assert "scripts/page" in line
    assert not (tmp_path / "session").exists()


class Broken:
    """A command that ends in an error of choice."""

    error: BaseException = BadFileError("x: broken; mend it")

    def run(self, tell: Tell, /) -> Iterator[str]:
        yield "so far so good"
        with about("case c7"):
            raise self.error


def outcome(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    broken = Broken()
    broken.error = error
    monkeypatch.setattr(sys.modules["voxhint.cli.main"], "_parse", lambda *_: broken)
    return call("models")


def test_an_error_is_followed_by_what_was_being_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(monkeypatch, BadFileError("x: broken; mend it")) == 1
    assert errors(capsys) == ["error: x: broken; mend it", "while working on case c7"]


def test_no_name_in_a_line_steers_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "study", dense=True)
    odd = tmp_path / "a\x1b[31m\nb\udce9"
    assert call("simulate", study, "--hint", "tags", "--out", odd) == 0
    assert call("\x1b[2J") == 2
    told = capsys.readouterr()
    assert "a\\x1b[31m\\nb\\udce9: tags for 2 cases" in told.out
    assert all(line.isprintable() for line in (told.out + told.err).splitlines())


def test_an_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(monkeypatch, KeyboardInterrupt()) == 130
    assert errors(capsys) == ["interrupted; the same command goes on from here"]


def test_a_full_disk_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(28, "No space left on device", "masks/c7.nii.gz")
    assert outcome(monkeypatch, error) == 1
    (line,) = errors(capsys)
    assert line.startswith("error: masks/c7.nii.gz: No space left on device")


def test_a_mistake_of_ours_is_told_as_ours_and_kept_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("VOXHINT_DEBUG", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert outcome(monkeypatch, ZeroDivisionError("seven\n\x1b[2J by zero")) == 70
    (line,) = errors(capsys)
    assert "mistake of voxhint's own (ZeroDivisionError: seven \\x1b[2J by zero)" in line
    (trace,) = tmp_path.iterdir()
    assert str(trace) in line
    assert "Traceback" in trace.read_text()


def test_a_trace_is_shown_to_whoever_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("VOXHINT_DEBUG", "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert outcome(monkeypatch, ZeroDivisionError()) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "VOXHINT_DEBUG=1" in told.splitlines()[-1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.64 PiB for an array with shape (100000, 100000, 100000)"),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_a_lack_of_memory_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert outcome(monkeypatch, error) == 1
    (line,) = errors(capsys)
    assert line.startswith("error: there is not enough memory")
    assert "--patch-voxels" in line


def apart(program: str, words: object) -> list[str]:
    """Run a program in a process of its own and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_flags_win_over_the_recipe_and_the_recipe_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []

    def told(run: commands.Run, tell: object) -> list[str]:
        knobs = run.train.steps, run.train.width, run.label.method, run.machine.seed
        seen.append((run.study, *knobs))
        return []

    monkeypatch.setattr(commands.Run, "run", told)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[train]\nsteps = 7\nwidth = 4\n[label]\nmethod = 'pw4medseg'\n", "utf-8")
    (study := tmp_path / "study").mkdir()
    bare = ["run", str(study), "--out", "out"]
    flags = ["--width", "6", "--seed", "3"]
    for words in ([], ["--config", str(recipe)], [f"--config={recipe}", *flags]):
        with pytest.raises(SystemExit):
            main([*bare, *words])
    plain = Recipe()
    assert seen == [
        (study, plain.train.steps, plain.train.width, plain.label.method, 0),
        (study, 7, 4, "pw4medseg", 0),
        (study, 7, 6, "pw4medseg", 3),
    ]


HEAVY = """
import json, sys
import voxhint.verbs.run
print(json.dumps([name for name in json.loads(sys.argv[1]) if name in sys.modules]))
"""


@pytest.mark.slow  # PyTorch is loaded anew
def test_a_run_loads_what_a_step_needs_when_the_step_begins() -> None:
    """Each of them takes a second, or 100 MB."""
    late = ["monai", "torch._dynamo", "lightning_fabric", "captum"]
    late += ["SimpleITK", "matplotlib", "scipy.stats", "scipy.optimize", "numba"]
    assert apart(HEAVY, late) == ["[]"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("rum",), "did you mean run?"),
        (("import", "dicm"), "did you mean dicom?"),
        (("help", "predct"), "did you mean predict?"),
        (("run", "x", "--out", "y", "--stepz", "3"), "did you mean --steps?"),
        (("run", "x", "--out", "y", "--tag-method", "cam"), "--set label.tags.method=VALUE now"),
        (("run", "x", "--out", "y", "--noise", "gce"), "train.noise is no knob any more"),
        (("run", "x", "--out", "y", "--kl-weight", "1"), "--set train.pw4medseg.kl_weight=VALUE"),
        (("run", "x", "--out", "y", "--set", "width"), "write --set KNOB=VALUE"),
        (("label", "x", "--out", "y", "--set", "train.width=3"), "takes knobs of label alone"),
        (("completion", "cmd"), "name a shell"),
    ],
    ids=" ".join,
)
def test_a_slip_is_answered_with_what_was_perhaps_meant(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert call(*words) == 2
    (line,) = errors(capsys)
    assert told in line


def test_a_misspelt_knob_after_set_and_a_missing_path_are_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", tmp_path, "--out", tmp_path / "o", "--set", "train.widht=3") == 1
    assert "did you mean train.width?" in errors(capsys)[0]
    assert call("run", tmp_path / "gone", "--out", tmp_path / "o") == 1
    assert "is not there; check the path" in errors(capsys)[0]


def test_help_is_short_and_tells_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("help", "run") == 0
    told = capsys.readouterr().out
    assert "--config" in told
    assert "whole number from 1" in told
    assert "None" not in told
    assert call("help", "knobs", "flips") == 0
    assert "train.flips" in capsys.readouterr().out
    assert call("help", "knobs", "--patch-voxels") == 0
    assert "train.patch_voxels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "told"),
    [("ram", "option --max-ram"), ("workers", "option --workers"), ("xyzzy", "every option")],
)
def test_a_word_of_no_knob_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], word: str, told: str
) -> None:
    assert call("help", "knobs", word) == 1
    (line,) = errors(capsys)
    assert "no knob" in line
    assert told in line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    assert call("completion", shell) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in commands.COMMANDS)
    assert "skip-bad" in told
    if shell == "bash" and shutil.which("bash"):
        subprocess.run(["bash", "-n"], input=told, text=True, check=True)
