"""A forecast tells what a run would do, and leaves the disk as it is."""

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.phantoms import make_study, scan, slanted_grid

from voxhint.config import LabelConfig, Machine, Recipe, TrainConfig
from voxhint.config.ranges import changed
from voxhint.core.errors import BadRecipeError
from voxhint.core.study import VoxelFile
from voxhint.files.images import write_image
from voxhint.files.validate.study import open_study
from voxhint.models import memory_forecast
from voxhint.models.folder import plan_of
from voxhint.propagate.study import label_case, plan_propagation
from voxhint.verbs import label_forecast
from voxhint.verbs.check import check
from voxhint.verbs.dry_run import forecast, forecast_label, forecast_training
from voxhint.verbs.label import label
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.train import train_model

SMALL = TrainConfig(steps=3, width=4, patch_voxels=4000)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("lung") / "study"
    write_phantom_study(study, kind="lung", cases=4, test_cases=2)
    return study


def told_of(study: Path, label: LabelConfig | None = None) -> str:
    recipe = Recipe(label=label or LabelConfig(), train=SMALL)
    return "\n".join(forecast(study, recipe, Machine(threads=1)))


def test_a_study_of_tags_alone_is_told_that_a_classifier_comes_first(tagged: Path) -> None:
    before = sorted(tagged.parent.rglob("*"))
    told = told_of(tagged, changed(LabelConfig(), {"classifier.steps": 7}))
    assert "4 cases to learn from, 2 to predict" in told
    assert "a classifier of nodule is trained before labelling, 7 steps" in told
    assert sorted(tagged.parent.rglob("*")) == before


def test_a_label_that_voxhint_knows_is_told_to_need_no_training(tagged: Path) -> None:
    told = told_of(tagged)
    assert "the classifier of nodule comes with voxhint" in told
    assert "is trained before labelling" not in told


def test_a_flow_is_told_of_where_a_map_asks_one(tagged: Path) -> None:
    flowing = changed(LabelConfig(), {"tags.method": "label-flow", "flow.steps": 9})
    assert "the flow of nodule comes with voxhint" in told_of(
        tagged, changed(LabelConfig(), {"tags.method": "label-flow"})
    )
    assert "a flow of nodule is trained before labelling, 9 steps" in told_of(tagged, flowing)
    assert "flow" not in told_of(tagged)


def test_without_tags_there_is_no_word_of_a_classifier(tmp_path: Path) -> None:
    told = told_of(make_study(tmp_path / "study"))
    assert "3 steps" in told
    assert "classifier" not in told


@pytest.mark.parametrize(
    ("tests", "hinted_masks", "wanted"), [(0, False, 2), (1, False, 1), (1, True, 3)]
)
def test_every_image_that_a_run_predicts_is_in_its_forecast(
    tmp_path: Path, tests: int, wanted: int, *, hinted_masks: bool
) -> None:
    study, recipe = make_study(tmp_path / "study", tests=tests), Recipe(train=SMALL)
    told = list(forecast(study, recipe, Machine(threads=1), hinted_masks=hinted_masks))
    assert told[0].startswith(f"2 cases to learn from, {wanted} to predict")
    assert any(line.startswith(f"predicting: {wanted} case") for line in told)
    assert re.fullmatch(
        r"in all: about \d+ (s|min) of labelling, preparing, training and predicting", told[-1]
    )


def test_the_forecast_of_a_training_is_of_the_network_that_is_trained(tmp_path: Path) -> None:
    study, labels = make_study(tmp_path / "study", hints=("boxes", "points")), tmp_path / "labels"
    label(study, labels, config=LabelConfig(), machine=Machine())
    config, machine = replace(SMALL, steps=1, patch_voxels=64), Machine(threads=1)
    told = "\n".join(forecast_training(study, config, machine, labels=labels))
    assert "labelling" not in told
    train_model(study, tmp_path / "model", labels=labels, config=config, machine=machine)
    plan = plan_of(tmp_path / "model")
    spacing = " x ".join(f"{step:.3g}" for step in plan.spacing_mm)
    assert not spacing.startswith("1 x")  # the images' own: how far labels reach made it coarser
    assert f"patch {plan.patch} of {spacing} mm\n" in told


def test_check_counts_the_tags_and_finds_nothing_wrong_with_tags_alone(tagged: Path) -> None:
    problems, told = check(tagged)
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert "hints: 4 tags" in told


def test_labelling_alone_is_forecast_without_a_network(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    told = "\n".join(forecast_label(study, LabelConfig(), Machine()))
    assert "steps" not in told
    found = re.search(r"(\d+) MB of soft labels", told)
    assert found is not None
    label(study, tmp_path / "out", config=LabelConfig(), machine=Machine())
    files = [*(tmp_path / "out").glob("*__*")]
    assert int(found[1]) == pytest.approx(
        sum(f.stat().st_size for f in files) / 1e6, rel=0.5, abs=1
    )


def test_what_cases_teach_each_other_is_in_the_time_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.propagate.study._STEPS", 10**7)
    study = make_study(tmp_path / "study", cases=8)
    for teach, told in ((True, r"in all about .+, .+ of it learning from all$"), (False, r"\d s$")):
        line = list(forecast_label(study, LabelConfig(cross_case=teach), Machine()))[1]
        assert re.search(told, line), line


def test_the_check_of_images_is_in_the_time_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path / "study", cases=2, tests=1)
    monkeypatch.setattr(label_forecast, "_seconds_of_reading", lambda _: 1200.0)
    line = list(forecast_label(study, LabelConfig(), Machine()))[1]
    assert "in all about 60 min" in line


@pytest.mark.parametrize("largest", [2**25, 1], ids=["by class", "whole scan"])
def test_no_case_takes_more_memory_than_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr("voxhint.propagate.study._LARGE", largest)
    study, _ = open_study(make_study(tmp_path / "study"))
    files, config = study.hinted[0], LabelConfig(scale_mm=40.0)
    write_image(files.images["CT"], scan(slanted_grid((100, 100, 60)), 0))
    plan = plan_propagation(study, study.hinted, config=config, machine=Machine())
    label_case(study, files, plan, config)  # compiled once
    tracemalloc.start()
    label_case(study, files, plan, config)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = label_forecast._bytes(study, files, config) - label_forecast._BASE
    assert said / 3 < taken <= said + 2**22  # beside tables that grow with no image


def test_labelling_that_does_not_fit_is_refused_with_what_would(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study"), tmp_path / "out"
    with pytest.raises(BadRecipeError, match=r"allow --max-ram \d\.\dG") as told:
        label(study, out, config=LabelConfig(), machine=Machine(max_ram="100M"))
    assert not out.exists()
    found = re.search(r"allow --max-ram (\S+)$", str(told.value))
    assert found is not None
    label(study, out, config=LabelConfig(), machine=Machine(max_ram=found[1]))
    assert out.exists()


def test_arrays_of_each_class_are_counted_where_tags_must_be_located(
    tagged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.propagate.study._LARGE", 1)
    study, _ = open_study(tagged)
    files, config = study.hinted[0], LabelConfig()
    said = label_forecast._bytes(study, files, config)
    monkeypatch.setattr(label_forecast, "labels_to_localise", lambda _: ())
    voxels = np.prod(label_forecast._grid(files).shape)
    assert said - label_forecast._bytes(study, files, config) >= voxels * len(study.labels.names)


def test_soft_hints_of_a_whole_scan_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.propagate.study._LARGE", 1)
    study, _ = open_study(make_study(tmp_path / "study"))
    files, config = study.hinted[0], LabelConfig()
    soft = VoxelFile(files.name, "soft", tmp_path / "x__ball__soft.nii.gz", "ball")
    drawn = replace(study, stroke_files={files.name: (soft,)})
    more = label_forecast._bytes(drawn, files, config) - label_forecast._bytes(study, files, config)
    voxels = np.prod(label_forecast._grid(files).shape)
    assert more >= 6 * voxels  # the map as it is read, and what is kept of it


def test_training_that_does_not_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out = make_study(tmp_path / "study"), tmp_path / "out"
    with pytest.raises(BadRecipeError, match="too small for training; allow"):
        train_model(study, out, labels=None, config=SMALL, machine=Machine(max_ram="300M"))
    monkeypatch.setattr(memory_forecast, "_BOUNDS", 2**30)  # bytes a voxel
    with pytest.raises(BadRecipeError, match=r"preparing needs up to .* allow --max-ram \d"):
        train_model(study, out, labels=None, config=SMALL, machine=Machine(max_ram="2G"))
    assert not out.exists()
