"""A forecast tells what a run would do, and leaves the disk as it is."""

from pathlib import Path

import pytest
from tests.phantoms import make_study

from voxhint.config import LabelConfig, Machine, Recipe, TrainConfig
from voxhint.config.ranges import changed
from voxhint.verbs.check import check
from voxhint.verbs.dry_run import forecast
from voxhint.verbs.phantom_study import write_phantom_study

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


def test_check_counts_the_tags_and_finds_nothing_wrong_with_tags_alone(tagged: Path) -> None:
    problems, told = check(tagged)
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert "hints: 4 tags" in told
