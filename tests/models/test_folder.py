"""What lies in a model folder is held against what it must be before it is used."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.untrained import untrained_model
from tests.training.scenes import plan

from voxhint.classify.classifier import CLASSIFIER_FILE, classifier_network, open_classifier
from voxhint.config import Machine, PredictConfig
from voxhint.core.errors import BadFileError
from voxhint.files.hashing import file_hash
from voxhint.models.device import open_fabric
from voxhint.models.folder import network_of, open_model, segmenter_of
from voxhint.nets import weights_bytes

FABRIC = open_fabric(Machine(device="cpu", threads=1))
PLAN = replace(
    plan(), strides=((1, 1, 1), (2, 2, 2)), kernels=((3, 3, 3), (3, 3, 3)), features=(4, 8)
)
LEARNT = {
    "contrast": {"low": 0.0, "high": 1.0},
    "operating_point": 0.5,
    "auc": None,
    "calibration": {"slope": 1.0, "intercept": 0.0},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return untrained_model(tmp_path / "model", PLAN)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    folder = tmp_path / "classifier"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(PLAN.to_json()))
    net = classifier_network(PLAN, ("ball",), "lse")
    (folder / "weights.safetensors").write_bytes(weights_bytes(net))
    told = {"labels": ["ball"], "mirror": True, "network": {"pooling": "lse"}}
    (folder / CLASSIFIER_FILE).write_text(json.dumps({**told, "facts": {"ball": LEARNT}}))
    return folder


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"patch": [0, 8, 8]}, r"patch\.0: 0 should be greater"),
        ({"patch": [8, 8, 100_000]}, r"patch\.2: 100000 should be less"),
        ({"patch": [8192, 8192, 8192]}, "too large"),
        ({"patch": [9, 8, 8]}, "no multiple"),
        ({"spacing_mm": [1, 1, 0]}, r"spacing_mm\.2: 0 should be greater"),
        ({"spacing_mm": [1, 1, -1]}, r"spacing_mm\.2: -1"),
        ({"spacing_mm": [1, 1, 1e9]}, r"spacing_mm\.2: 1000000000\.0 should be less"),
        ({"spacing_mm": [1, 1, float("nan")]}, r"spacing_mm\.2: nan"),
        ({"spacing_mm": [1, 1]}, "spacing_mm"),
        ({"features": [4]}, r"\(2, 2, 1\) levels"),
        ({"features": [4, -8]}, r"features\.1: -8"),
        ({"strides": []}, "levels"),
        ({"channels": []}, "0 channels"),
        ({"labels": {"names": ["background", "ball"], "ids": [0, 0]}}, "have ids"),
        ({"labels": {"names": ["background"], "ids": [0]}}, "have ids"),
        ({"intensity": {"CT": {"low": 1, "high": 0, "mean": 0, "std": 1}}}, "ends before"),
        ({"intensity": {"PET": {"low": 0, "high": 1, "mean": 0, "std": 1}}}, "not there"),
        ({"network": "unet"}, "unet"),
        ({"network": "crossmodal", "options": {"fusion": "magic"}}, "tells of no network"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    model: Path, changes: dict[str, object], told: str
) -> None:
    assert open_model(model, FABRIC).plan == PLAN
    rewrite(model / "plan.json", lambda values: values.update(changes))
    with pytest.raises(BadFileError, match=told) as caught:
        open_model(model, FABRIC)
    assert "train the model again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(model: Path, value: float) -> None:
    path = model / "weights.safetensors"
    weights = load_file(path)
    last = max(weights)
    weights[last].view(-1)[0] = value
    save_file(weights, path)
    with pytest.raises(BadFileError, match=f"1 weights are NaN or infinite, such as {last}"):
        open_model(model, FABRIC)


def test_weights_of_another_network_are_refused(model: Path) -> None:
    wider = network_of(replace(PLAN, features=(6, 12)))
    (model / "weights.safetensors").write_bytes(weights_bytes(wider))
    with pytest.raises(BadFileError, match="no weights of this network"):
        open_model(model, FABRIC)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "hot", None])
def test_a_temperature_that_cannot_be_is_refused(model: Path, value: object) -> None:
    told = {"temperature": value, "loss_before": 1.0, "loss_after": 0.9, "facts": 9}
    (model / "calibration.json").write_text(json.dumps(told))
    with pytest.raises(BadFileError, match=r"calibration\.json: damaged \(temperature"):
        segmenter_of(open_model(model, FABRIC), PredictConfig(), 0)


def test_a_temperature_divides_logits(model: Path) -> None:
    image = torch.randn((1, 1, *PLAN.patch))
    plain = segmenter_of(open_model(model, FABRIC), PredictConfig(), 0)
    told = {"temperature": 2.0, "loss_before": 1.0, "loss_after": 0.9, "facts": 9}
    (model / "calibration.json").write_text(json.dumps(told))
    halved = segmenter_of(open_model(model, FABRIC), PredictConfig(), 0)
    with torch.inference_mode():
        assert torch.allclose(halved(image), plain(image) / 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["facts"]["ball"].update(operating_point=float("nan")),
        lambda values: values["facts"]["ball"].update(operating_point="high"),
        lambda values: values["facts"]["ball"]["calibration"].update(slope=float("inf")),
        lambda values: values["facts"]["ball"].pop("contrast"),
        lambda values: values.update(labels=["ring"]),
        lambda values: values.update(network={"pooling": "magic"}),
        lambda values: values.pop("mirror"),
    ],
)
def test_facts_of_a_classifier_that_cannot_be_are_refused(
    classifier: Path, change: Callable[[Any], object]
) -> None:
    assert open_classifier(classifier, FABRIC).facts == {"ball": LEARNT}
    rewrite(classifier / CLASSIFIER_FILE, change)
    with pytest.raises(BadFileError, match=r"classifier\.json: damaged"):
        open_classifier(classifier, FABRIC)


def record(folder: Path) -> None:
    """Write down what lies in a folder, as training does."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    outputs = {path.relative_to(folder).as_posix(): file_hash(path) for path in files}
    (folder / "made.json").write_text(json.dumps({"verb": "train", "outputs": outputs}))


def widen(model: Path) -> None:
    rewrite(model / "plan.json", lambda values: values.update(spacing_mm=[10.0, 10.0, 10.0]))


def retrain(model: Path) -> None:
    torch.manual_seed(7)
    (model / "weights.safetensors").write_bytes(weights_bytes(network_of(PLAN)))


def heat(model: Path) -> None:
    (model / "calibration.json").write_text("{}")


def cool(model: Path) -> None:
    (model / "calibration.json").unlink()


def put_classifier(model: Path) -> None:
    (model / "classifier").mkdir()
    (model / "classifier" / "plan.json").write_text("{}")


@pytest.mark.parametrize("change", [widen, retrain, heat, cool, put_classifier])
def test_a_model_that_is_not_as_it_was_trained_is_refused(
    model: Path, change: Callable[[Path], None]
) -> None:
    told = {"temperature": 2.0, "loss_before": 1.0, "loss_after": 0.9, "facts": 9}
    (model / "calibration.json").write_text(json.dumps(told))
    record(model)
    assert open_model(model, FABRIC).warnings == ()
    change(model)
    with pytest.raises(BadFileError, match=r"since it was made|not made by voxhint"):
        open_model(model, FABRIC)


def test_a_model_without_a_record_is_opened_with_a_word(model: Path) -> None:
    (warning,) = open_model(model, FABRIC).warnings
    assert "has no made.json" in warning
