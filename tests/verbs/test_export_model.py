"""A model handed on as one file is the model, and says what it learnt from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import scan, slanted_grid
from tests.verbs.test_send_back import called, model  # noqa: F401 - a fixture

from voxhint.core.errors import BadFileError
from voxhint.files.images import read_ids, write_image
from voxhint.models.catalogue import listing
from voxhint.verbs.export import export

DICE = {"mean": 0.71, "median": 0.7, "low": 0.65, "high": 0.77, "n": 8, "subjects": 8}


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Path:  # noqa: F811
    """Return a run of a study that tells its licence."""
    folder, study = tmp_path / "run", tmp_path / "study"
    shutil.copytree(model, folder / "model")
    (folder / "model" / "made.json").write_text(json.dumps({"verb": "train", "steps": 12}))
    study.mkdir()
    (study / "dataset.json").write_text(json.dumps({"licence": "CC BY 4.0"}))
    made = {"verb": "run", "study": "../study", "hints": {"points": 6}, "cases": {"training": 3}}
    (folder / "made.json").write_text(json.dumps(made))
    (folder / "scores.json").write_text(json.dumps({"labels": {"liver": {"dice": DICE}}}))
    return folder


def test_the_file_predicts_what_the_folder_does(run: Path, tmp_path: Path) -> None:
    made = export(run, to="folder", out=tmp_path / "liver-model")
    assert not made.lines
    image = tmp_path / "a.nii.gz"
    write_image(image, scan(slanted_grid(), 0))
    for number, given in enumerate((run, made.out / "liver-model.voxhint")):
        assert called("predict", given, image, "--out", tmp_path / f"out{number}") == 0
    one, other = (read_ids(tmp_path / f"out{number}" / "a.nii.gz")[0] for number in (0, 1))
    np.testing.assert_array_equal(one, other)


def test_the_same_model_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(run, to="folder", out=tmp_path / name / "m")
    one, two = (tmp_path / name / "m" / "m.voxhint" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_its_card_tells_data_licence_hints_scores_and_limits(run: Path, tmp_path: Path) -> None:
    page = (export(run, to="folder", out=tmp_path / "m").out / "CARD.md").read_text("utf-8")
    for told in (
        "CC BY 4.0",
        "3 images",
        "6 points",
        "0.710",
        "0.650 to 0.770",
        "no medical device",
    ):
        assert told in page
    (run.parent / "study" / "dataset.json").write_text("{}")
    (line,) = export(run, to="folder", out=tmp_path / "n").lines
    assert "licence" in line


def test_models_lists_it_and_tells_a_damaged_one(run: Path, tmp_path: Path) -> None:
    out = export(run, to="folder", out=tmp_path / "m").out
    (out / "x.voxhint").write_bytes(b"PK")
    told = "\n".join(listing(out))
    assert "labels: liver" in told
    assert "licence of its data: CC BY 4.0" in told
    assert "x: a model in" in told
    assert "damaged; copy it again" in told


def test_a_run_without_a_model_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "model")
    with pytest.raises(BadFileError, match="holds no model"):
        export(run, to="folder", out=tmp_path / "m")
