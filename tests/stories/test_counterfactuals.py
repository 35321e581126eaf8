"""Tags by a method that takes what they name out of the scan: what a person finds on the disk."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voxhint.classify import train_label_flow
from voxhint.classify.counterfactual import METHODS
from voxhint.cli import main
from voxhint.files.images import read_volume
from voxhint.verbs.phantom_study import write_phantom_study

SMALL = (
    "--set", "label.classifier.steps=3", "--set", "label.flow.steps=2",
    "--threads", "1",
)  # fmt: skip
WITHOUT = ("--set", "label.tags.method=label-flow", "--set", "label.tags.counterfactuals=true")


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Let flows be small, and their ways short."""
    preset = replace(METHODS["label-flow"].preset, steps=1, scheme="euler", weight=1.0)
    short = replace(METHODS["label-flow"], preset=preset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_label_flow, "_WIDTH", 4)
        patch.setattr(train_label_flow, "_INPUT_VOXELS", 3000)
        patch.setitem(METHODS, "label-flow", short)
        yield


def label(study: Path, out: Path, *words: str) -> tuple[object, str]:
    """Label a study in this process; return the exit code and standard error."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors), pytest.raises(SystemExit) as end:
        main(["label", str(study), "--out", str(out), *SMALL, *words])
    return end.value.code, errors.getvalue()


def images(out: Path) -> dict[str, bytes]:
    """Return every image in a folder by its path in it."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.nii.gz")}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lung") / "study"
    write_phantom_study(folder, kind="lung", cases=6, test_cases=0)
    return folder


@pytest.fixture(scope="module")
def labels(study: Path) -> Path:
    out = study.parent / "labels"
    code, errors = label(study, out, *WITHOUT)
    assert code == 0, errors
    return out


def test_a_case_tagged_present_is_also_written_without_what_its_tag_names(
    study: Path, labels: Path
) -> None:
    with (study / "hints" / "tags.csv").open() as file:
        present = {row["case"] for row in csv.DictReader(file) if row["state"] == "present"}
    written = list((labels / "counterfactuals").iterdir())
    assert {path.name for path in written} == {f"{case}_0000.nii.gz" for case in present}
    for path in written:
        before, after = (
            read_volume(folder / path.name, channel="CT")
            for folder in (study / "imagesTr", path.parent)
        )
        assert before.grid.same(after.grid)
        assert not np.array_equal(before.voxels, after.voxels)
        # two steps teach a flow next to nothing, so the scan stays what it is, in its own units
        assert np.corrcoef(before.voxels.ravel(), after.voxels.ravel())[0, 1] > 0.9


def test_the_record_tells_the_method_its_settings_and_what_healthy_images_show(
    labels: Path,
) -> None:
    (told,) = json.loads((labels / "made.json").read_text())["saliency"]
    assert told["method"] == "label-flow"
    assert told["settings"]["steps"] == 1
    assert told["settings"]["scheme"] == "euler"
    assert "intensity" in told["unit"]


def test_the_same_command_again_changes_nothing(study: Path, labels: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in labels.rglob("*")}
    code, errors = label(study, labels, *WITHOUT)
    assert code == 0, errors
    assert {path: path.stat().st_mtime_ns for path in labels.rglob("*")} == times


def test_a_lost_image_is_made_again_with_its_case(study: Path, labels: Path) -> None:
    before = images(labels)
    lost = sorted((labels / "counterfactuals").iterdir())[0]
    (labels / "made.json").rename(labels / ".job.json")  # as if it had been killed
    lost.unlink()
    for path in labels.glob(f"{lost.name.removesuffix('_0000.nii.gz')}__*"):
        path.unlink()
    code, errors = label(study, labels, *WITHOUT)
    assert code == 0, errors
    assert images(labels) == before


def test_a_map_of_the_classifier_promises_no_images(study: Path, tmp_path: Path) -> None:
    words = ("--set", "label.tags.method=grad-cam++", "--set", "label.flow.steps=6000")
    code, errors = label(study, tmp_path / "out", *words, *WITHOUT[2:])
    assert code == 1
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert "'grad-cam++' changes no image" in line
    assert not (tmp_path / "out").exists()
