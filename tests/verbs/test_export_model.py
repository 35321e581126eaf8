"""A model handed on as one file is the model, and says what it learnt from."""

import json
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.phantoms import scan, slanted_grid
from tests.verbs.test_send_back import called, model  # noqa: F401 - a fixture

from voxhint.cli.main import main
from voxhint.core.errors import BadFileError
from voxhint.files.images import read_ids, write_image
from voxhint.models.public_weights import listing
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
    assert not made.warnings
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
    (line,) = export(run, to="folder", out=tmp_path / "n").warnings
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


def test_a_model_is_pushed_with_its_card_into_a_private_repository(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed: dict[str, Any] = {}

    class Api:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> SimpleNamespace:
            assert private
            assert exist_ok
            return SimpleNamespace(repo_id=name, url=f"hub/{name}")

        def create_commit(self, name: str, files: list[Any], *, commit_message: str) -> None:
            if name == "nobody/x":
                raise OSError
            pushed.update({file.path_in_repo: file.path_or_fileobj for file in files})

    module: Any = ModuleType("huggingface_hub")
    module.HfApi, module.CommitOperationAdd = Api, SimpleNamespace
    module.__spec__ = ModuleSpec("huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    words = ("export", run, "--to", "hub", "--out")
    assert exit_of(*words, tmp_path / "m", "--repository", "clinic/liver") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "hub/clinic/liver"
    assert pushed["m.voxhint"] == str(tmp_path / "m" / "m.voxhint")
    assert b"CC BY 4.0" in pushed["README.md"]
    assert exit_of(*words, tmp_path / "n", "--repository", "nobody/x") == 3
    assert "hf auth login" in capsys.readouterr().err
    assert (tmp_path / "n" / "n.voxhint").is_file()  # what was written is not lost
    assert exit_of(*words, tmp_path / "o") == 1
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert exit_of(*words, tmp_path / "p", "--repository", "clinic/liver") == 3
    assert not (tmp_path / "p").exists()


def exit_of(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)
