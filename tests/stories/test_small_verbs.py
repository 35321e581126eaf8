"""What the verbs beside the main job promise, told as a user meets them."""

import csv
import json
from importlib.metadata import version
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
    assert "1 point" in checked.stdout


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


def test_the_next_clicks_are_ranked_by_what_they_may_gain(tmp_path: Path) -> None:
    study, labels = make_study(tmp_path / "study", cases=3), tmp_path / "labels"
    assert voxhint("label", study, "--out", labels, "--threads", "1").returncode == 0
    done = voxhint("next", study, labels, "--out", tmp_path / "next.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "next.csv")
    with (tmp_path / "next.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == [
        "rank", "case", "label", "kind", "x", "y", "z", "expected_gain", "seconds",
    ]  # fmt: skip
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert {row["label"] for row in rows} == {"ball"}
    gains = [float(row["expected_gain"]) for row in rows]
    assert gains == sorted(gains, reverse=True)
    assert 0 < gains[-1] <= gains[0] < 1
    (study / "hints" / "points.csv").write_text((tmp_path / "next.csv").read_text())
    assert voxhint("check", study).returncode == 0  # each row is a hint as soon as it is answered


def test_the_next_clicks_need_soft_labels_and_a_free_place(tmp_path: Path) -> None:
    study, taken = make_study(tmp_path / "study"), tmp_path / "next.csv"
    empty = voxhint("next", study, tmp_path, "--out", taken)
    assert empty.returncode == 1
    assert "holds no soft labels" in empty.stderr
    taken.write_text("mine")
    assert "--overwrite" in voxhint("next", study, tmp_path, "--out", taken).stderr
    inside = voxhint("next", study, tmp_path, "--out", study / "next.csv")
    assert "only read" in inside.stderr
    assert taken.read_text() == "mine"


def test_info_says_what_a_study_and_a_model_are_of(tmp_path: Path) -> None:
    study, model = make_study(tmp_path / "study", dense=True), tmp_path / "model"
    told = json.loads(voxhint("info", study, "--json").stdout)
    labels = {"background": 0, "ball": 3}
    assert told == {
        "kind": "study", "voxhint": version("voxhint"), "channels": ["CT"],
        "optional_channels": [], "labels": labels, "training": 2, "test": 1,
        "hints": {"points": 4},
    }  # fmt: skip
    done = voxhint("train", study, "--supervision", "dense", "--out", model, *SMALL)
    assert done.returncode == 0, done.stderr
    told = json.loads(voxhint("info", model, "--json").stdout)
    assert (told["kind"], told["made_by"]) == ("model", version("voxhint"))
    assert (told["channels"], told["labels"]) == (["CT"], labels)
    assert "labels: background 0, ball 3" in voxhint("info", model).stdout
    (study / "dataset.json").write_text("{")
    for broken, finding in ((study, "dataset.json"), (study / "hints", "holds no trained")):
        refused = voxhint("info", broken)
        assert refused.returncode == 1
        assert finding in refused.stderr


def test_a_misspelt_label_is_one_line_however_many_rows_hold_it(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    table = study / "hints" / "points.csv"
    right = table.read_text()
    case = right.splitlines()[1].partition(",")[0]
    table.write_text(right + "".join(f"{case},bal,{n},2,3,\n" for n in range(60)))
    checked = voxhint("check", study).stdout.splitlines()
    first = len(right.splitlines()) + 1
    rows = ", ".join(str(first + n) for n in range(3))
    assert checked[0].startswith(
        f"error: hints/points.csv rows {rows} and 57 more (60 rows): label 'bal' is not in "
    )
    assert [line.partition(";")[0] for line in checked[1:]] == ["1 error, 0 warnings"]
    assert voxhint("run", study, "--out", tmp_path / "run").stderr.splitlines() == checked[:1]


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
