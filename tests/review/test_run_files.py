"""The small files of a run."""

import dataclasses
import json
from pathlib import Path

import pytest

from voxhint.core.errors import BadFileError
from voxhint.measure.roc import Ranking
from voxhint.review.report_data import TagRanking
from voxhint.review.run_files import (
    read_classifier,
    read_history,
    read_object,
    read_scores,
    read_weights,
)


def test_a_history_holds_numbers_and_nothing_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,loss,held_out\n0,1.5,\n10,nan,0.25\n20,0.5\n")
    first, second, third = read_history(path)
    assert first == {"step": 0, "loss": 1.5, "held_out": None}
    assert second == {"step": 10, "loss": None, "held_out": 0.25}
    assert third == {"step": 20, "loss": 0.5, "held_out": None}


@pytest.mark.parametrize("text", ["", "[1]", "{", '"a"'])
def test_what_is_no_object_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "made.json"
    path.write_text(text)
    with pytest.raises(BadFileError, match=r"made\.json"):
        read_object(path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFileError, match="cannot be read"):
        read_scores(path)


def test_what_labels_tell_of_their_predictor_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    ranked = Ranking(auc=0.9, low=None, high=None, positives=3, negatives=4, subjects=1)
    told = {"nodule": {"auc": dataclasses.asdict(ranked), "held_out": True}, "scar": {"auc": None}}
    weights = {"classifier": {"name": "chest", "licence": "CC-BY-3.0"}}
    path.write_text(json.dumps({"verb": "label", "classifier": told, "weights": weights}))
    assert read_classifier(path) == {
        "nodule": TagRanking(ranked, held_out=True),
        "scar": TagRanking(None),
    }
    assert read_weights(path) == weights
    path.write_text('{"verb": "label"}')
    assert not read_classifier(path)
    assert not read_weights(path)


@pytest.mark.parametrize("told", [[1], {"a": 1}, {"a": {}}, {"a": {"auc": 0.9}}, None])
def test_strange_facts_of_a_predictor_are_refused(tmp_path: Path, told: object) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"classifier": told}))
    with pytest.raises(BadFileError, match="label the study again"):
        read_classifier(path)


@pytest.mark.parametrize("told", [[1], {"classifier": 1}, {"classifier": {"name": 3}}, None])
def test_strange_facts_of_weights_are_refused(tmp_path: Path, told: object) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"weights": told}))
    with pytest.raises(BadFileError, match="label the study again"):
        read_weights(path)
