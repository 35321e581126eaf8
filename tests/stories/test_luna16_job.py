"""LUNA16 as it is given out, from the folder to scores: by tags of its windows, and as it is."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.luna16 import make_luna16, uid

from voxhint.cli import main
from voxhint.config import Machine, Recipe, read_recipe
from voxhint.config.ranges import changed
from voxhint.verbs.run import run

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "luna16.toml"


def small(recipe: Recipe) -> Recipe:
    """Return a recipe that learns next to nothing in no time."""
    return replace(
        recipe,
        label=changed(recipe.label, {"classifier.steps": 2}),
        train=replace(recipe.train, steps=2, width=4, patch_voxels=4000),
    )


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    told = capsys.readouterr()
    return end.value.code, told.out + told.err


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = make_luna16(tmp_path_factory.mktemp("luna16"))
    return folder


def test_from_the_download_to_scores_by_tags_alone(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = tmp_path / "study", tmp_path / "run"
    words = ("--window-mm", "30", "--windows", "2", "--test-subsets", "1", "--xml", root / "xml")
    code, told = call(capsys, "import", "luna16", root / "luna", "--out", study, *words)
    assert code == 0, told
    run(study, out, recipe=small(read_recipe(RECIPE)), machine=Machine(threads=1))
    made = json.loads((out / "made.json").read_text())
    assert made["hints"] == {"tags": 6}
    nodule = json.loads((out / "scores.json").read_text())["labels"]["nodule"]
    with (study / "windows.csv").open() as file:
        tests = [row for row in csv.DictReader(file) if row["subset"] == "subset1"]
    present = [row for row in tests if row["state"] == "present"]
    assert nodule["dice"]["n"] == nodule["assd_mm"]["n"] == len(present)
    assert nodule["assd_mm"]["median"] > 0
    assert nodule["false_positive_ml"]["n"] == len(tests) - len(present)


def test_the_folder_is_a_study_as_it_is_and_a_changed_scan_is_noticed(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("label", root / "luna", "--out", tmp_path / "labels", "--method", "none")
    code, told = call(capsys, *words)
    assert code == 0, told
    assert len(list((tmp_path / "labels").glob("*__nodule.nii.gz"))) == 4
    assert call(capsys, *words)[0] == 0
    scan = root / "luna" / "subset0" / f"{uid(1)}.raw"
    scan.write_bytes(bytes(100) + scan.read_bytes()[100:])
    code, told = call(capsys, *words)
    assert code == 1
    assert "inputs.imagesTr" in told


def test_the_recipe_is_read() -> None:
    recipe = read_recipe(RECIPE)
    assert recipe.label.classifier.input_voxels == 64**3
    assert recipe != Recipe()
