"""What the verbs beside the main job promise, told as a user meets them."""

import json
from pathlib import Path

import pytest
from tests.files.series import Series
from tests.phantoms import make_study
from tests.stories.commands import voxhint

from voxhint.cli import main
from voxhint.config import Recipe, TrainConfig
from voxhint.verbs import demo as demo_verb

SMALL = ("--steps", "2", "--width", "4", "--patch-voxels", "4000", "--threads", "1")


def test_simulated_hints_are_labelled_and_trained_on_step_by_step(tmp_path: Path) -> None:
    dense = make_study(tmp_path / "dense", hints=(), dense=True)
    clicked, labels, model = (tmp_path / name for name in ("clicked", "labels", "model"))

    made = voxhint("simulate", dense, "--hint", "points:5", "--out", clicked)
    assert made.returncode == 0, made.stderr
    assert "a person would need" in made.stdout
    assert json.loads((clicked / "hints" / "cost.json").read_text())["seconds"] > 0

    assert voxhint("label", clicked, "--out", labels).returncode == 0
    assert json.loads((labels / "made.json").read_text())["warnings"] == []
    trained = voxhint("train", clicked, "--labels", labels, "--out", model, *SMALL)
    assert trained.returncode == 0, trained.stderr
    assert {"plan.json", "weights.safetensors", "history.csv", "made.json"} <= {
        path.name for path in model.iterdir()
    }

    untold = voxhint("train", clicked, "--out", tmp_path / "other", *SMALL)
    assert untold.returncode == 1
    assert "--labels" in untold.stderr


def test_channels_are_registered_into_a_study_that_passes_the_check(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study", channels=("CT", "MR")), tmp_path / "registered"
    done = voxhint("register", study, "--out", out, "--how", "rigid")
    assert done.returncode == 0, done.stderr
    assert "3 channels registered" in done.stdout
    assert (out / "registration.csv").read_text().splitlines()[0].startswith("case,channel")
    assert voxhint("check", out, "--registration-mm", "3").returncode == 0
    again = voxhint("register", study, "--out", out)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr


def test_an_export_becomes_a_study_that_waits_for_hints(tmp_path: Path) -> None:
    Series(aside=0.3).write(tmp_path / "export" / "deep" / "down", suffix="")
    study = tmp_path / "study"
    made = voxhint("import", "dicom", tmp_path / "export", "--out", study, "--label", "tumour")
    assert made.returncode == 0, made.stderr
    assert "warning: case_001: slices are sheared by 16.7 degrees" in made.stdout
    assert "add hints" in made.stdout.splitlines()[-1]

    assert voxhint("check", study).returncode == 1
    (study / "hints" / "points.csv").write_text("case,label,x,y,z\ncase_001,tumour,19,-31,45\n")
    checked = voxhint("check", study)
    assert checked.returncode == 0, checked.stdout
    assert "1 points" in checked.stdout


def test_a_report_may_be_written_again(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "made.json").write_text(json.dumps({"study": str(study)}))
    done = voxhint("report", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "run" / "report.html"
    assert done.stdout.splitlines()[-1] == str(page)
    assert "research use" in page.read_text().lower()

    empty = voxhint("report", tmp_path / "study" / "imagesTr")
    assert empty.returncode == 1
    assert "holds no run" in empty.stderr


def test_doctor_and_models_say_what_is_here() -> None:
    doctor = voxhint("doctor")
    assert doctor.returncode == 0, doctor.stderr
    assert {"voxhint", "PyTorch", "GPU"} <= {
        line.partition(":")[0] for line in doctor.stdout.splitlines()
    }
    models = voxhint("models")
    assert models.returncode == 0
    assert "weights" in models.stdout


def test_the_demo_ends_with_the_path_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = Recipe(train=TrainConfig(steps=2, width=4, patch_voxels=4000))
    organs = demo_verb.Show(name="organs", kind="organs", cases=2, test_cases=1, recipe=short)
    monkeypatch.setattr(demo_verb, "SHOWS", (organs,))
    with pytest.raises(SystemExit) as end:
        main(["demo", "--out", str(tmp_path / "demo"), "--threads", "1"])
    assert end.value.code == 0
    page = tmp_path / "demo" / "organs" / "run" / "report.html"
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    assert page.exists()
