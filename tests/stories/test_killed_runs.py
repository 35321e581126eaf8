import gzip
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.stories.commands import command, plain, tree, voxhint

from voxhint.verbs.phantom_study import Kind, write_phantom_study

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
    tmp_path: Path, kind: Kind, times: int, knobs: tuple[str, ...]
) -> None:
    study = tmp_path / "study"
    hints = ("points:10", "scribbles") if kind == "organs" else None
    write_phantom_study(study, kind=kind, cases=6, test_cases=2, hints=hints)
    words = (*KNOBS, *knobs)
    calm = voxhint("run", study, "--out", tmp_path / "calm", *words)
    assert calm.returncode == 0, calm.stderr

    chance = random.Random(0)
    killed = tmp_path / "killed"
    kills = 0
    while kills < times:
        process = subprocess.Popen(
            command("run", study, "--out", killed, *words),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=plain(),
        )
        time.sleep(chance.uniform(4.0, 16.0))
        assert process.poll() in (None, 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        whole = [path for path in killed.rglob("*.nii.gz") if not path.name.startswith(".")]
        for path in whole:  # nothing partial under a final name
            assert len(gzip.decompress(path.read_bytes())) > 352  # a header and voxels

    last = voxhint("run", study, "--out", killed, *words)
    assert last.returncode == 0, last.stderr
    assert tree(killed) == tree(tmp_path / "calm")
    assert not list(killed.rglob("*.partial*"))


@pytest.mark.slow
def test_a_changed_knob_or_hint_is_refused_and_named(tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "run"
    write_phantom_study(study, cases=2, test_cases=1, hints=("points:10",))
    knobs = ("--steps", "2", "--width", "4", "--patch-voxels", "20000")
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
