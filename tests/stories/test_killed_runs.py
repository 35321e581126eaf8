import gzip
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.fuzz.world import ended
from tests.phantoms import make_study
from tests.stories.commands import tree, voxhint

from voxhint.verbs.phantom_study import _Kind, write_phantom_study

KNOBS = (
    "--hinted-masks",
    "--steps",
    "60",
    "--width",
    "4",
    "--patch-voxels",
    "30000",
    "--threads",
    "1",
)
TAGS = ("--set", "label.tags.weights=none", "--set", "label.classifier.steps=40")
BRANCHES = (*("--network", "crossmodal", "--set", "train.crossmodal.consistency_weight=0.5"),)
DRAWN = ("--network", "probabilistic", "--set", "train.pw4medseg.kl_weight=0.1")


def begun(*words: object) -> int:
    """Begin a command in a process of its own that has all modules; return its number."""
    child = os.fork()
    if child == 0:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nowhere, number)
        sys.stdout = sys.stderr = os.fdopen(nowhere, "w")
        os._exit(ended([*map(str, words)]))
    return child


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "times", "knobs"),
    [
        ("organs", 10, ()),
        ("organs", 4, DRAWN),
        ("lung", 4, TAGS),
        ("two-modality", 4, BRANCHES),
    ],
)
def test_a_killed_run_ends_with_the_very_same_masks(
    tmp_path: Path, kind: _Kind, times: int, knobs: tuple[str, ...]
) -> None:
    study = tmp_path / "study"
    hints = ("points:10", "scribbles") if kind == "organs" else None
    write_phantom_study(study, kind=kind, cases=6, test_cases=2, hints=hints)
    words = (*KNOBS, *knobs)
    began = time.monotonic()
    calm = voxhint("run", study, "--out", tmp_path / "calm", *words)
    seconds = time.monotonic() - began
    assert calm.returncode == 0, calm.stderr

    chance = random.Random(0)
    killed = tmp_path / "killed"
    for _ in range(times):
        child = begun("run", study, "--out", killed, *words)
        time.sleep(chance.uniform(0.05, 0.5) * min(seconds, 30))
        os.kill(child, signal.SIGKILL)  # which one that has ended does not mind
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (-signal.SIGKILL, 0)
        whole = [path for path in killed.rglob("*.nii.gz") if not path.name.startswith(".")]
        for path in whole:  # nothing partial under a final name
            assert len(gzip.decompress(path.read_bytes())) > 352  # a header and voxels

    last = voxhint("run", study, "--out", killed, *words)
    assert last.returncode == 0, last.stderr
    assert tree(killed) == tree(tmp_path / "calm")
    assert not list(killed.rglob("*.partial*"))


def test_a_changed_knob_or_hint_is_refused_and_named(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study"), tmp_path / "run"
    knobs = ("--steps", "2", "--width", "4", "--patch-voxels", "2000", "--threads", "1")
    first = voxhint("run", study, "--out", out, *knobs)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == str(out.absolute() / "report.html")

    again = voxhint("run", study, "--out", out, *knobs)
    assert again.returncode == 0
    assert again.stdout == first.stdout

    other = voxhint("run", study, "--out", out, "--steps", "1", *knobs[2:])
    assert other.returncode == 1
    assert "config.train.steps (was 2, is 1)" in other.stderr
    assert "Traceback" not in other.stderr

    points = study / "hints" / "points.csv"
    points.write_text("\n".join(points.read_text().splitlines()[:-1]) + "\n")
    moved = voxhint("run", study, "--out", out, *knobs)
    assert moved.returncode == 1
    assert "inputs.hints" in moved.stderr
