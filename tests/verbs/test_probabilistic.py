"""A probabilistic network from training to masks: kept, opened, drawn, calibrated, measured."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32
from tests.phantoms import make_study

from voxhint.config import Machine, MeasureConfig, PredictConfig, TrainConfig
from voxhint.core.errors import BadFileError, BadRecipeError
from voxhint.files.images import read_probability
from voxhint.verbs.calibration import measure_trust
from voxhint.verbs.measure import measure, summary_lines
from voxhint.verbs.predict import predict
from voxhint.verbs.train import train_model

MACHINE = Machine(device="cpu", threads=1)
TINY = TrainConfig(
    supervision="dense",
    network="probabilistic",
    width=1,
    steps=1,
    patch_voxels=4000,
    batch=1,
    held_out=0.5,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("study") / "study", dense=True)


def trained(study: Path, out: Path, config: TrainConfig) -> Path:
    return train_model(study, out, labels=None, config=config, machine=MACHINE)


@pytest.fixture(scope="module")
def model(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(study, tmp_path_factory.mktemp("model") / "model", TINY)


def probability(
    model: Path, study: Path, out: Path, config: PredictConfig, seed: int = 0
) -> Float32[np.ndarray, "i j k"]:
    config, machine = replace(config, probabilities=True), replace(MACHINE, seed=seed)
    masks = predict(model, study / "imagesTs", out, config=config, machine=machine)
    return read_probability(masks / "t0__ball.nii.gz")[0]


def test_the_plan_remembers_the_network_and_its_attention(model: Path) -> None:
    plan = json.loads((model / "plan.json").read_text())
    assert (plan["network"], plan["attention"]) == ("probabilistic", "bilinear")


def test_one_pass_draws_nothing_and_many_draw_what_the_seed_says(
    model: Path, study: Path, tmp_path: Path
) -> None:
    one, many = PredictConfig(), PredictConfig(passes=2, uncertainty=True)
    first, second = (probability(model, study, tmp_path / f"one{s}", one, s) for s in (0, 1))
    drawn = [
        probability(model, study, tmp_path / str(n), many, seed) for n, seed in enumerate((0, 0, 1))
    ]
    assert np.array_equal(first, second)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    doubt, _ = read_probability(tmp_path / "0" / "t0__uncertainty.nii.gz")
    assert 0 < doubt.max() <= 1


def test_a_temperature_moves_probabilities_towards_what_held_out_cases_say(
    model: Path, study: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(model, tmp_path / "changed"))
    (model / "made.json").unlink()  # or a changed calibration would be refused
    path = model / "calibration.json"
    told = json.loads(path.read_text())
    assert 0 < told["temperature"] <= 10
    assert told["loss_after"] <= told["loss_before"]
    before = probability(model, study, tmp_path / "before", PredictConfig(calibrated=False))
    path.write_text(json.dumps({**told, "temperature": 10.0, "facts": 9}))
    proven = probability(model, study, tmp_path / "proven", PredictConfig())
    path.write_text(json.dumps({**told, "temperature": 10.0, "facts": 0}))
    guessed = probability(model, study, tmp_path / "guessed", PredictConfig())
    asked = probability(model, study, tmp_path / "asked", PredictConfig(calibrated=True))
    assert np.abs(proven - 0.5).mean() < 0.5 * np.abs(before - 0.5).mean()
    assert np.array_equal(proven, asked)
    assert np.array_equal(guessed, before)


def test_passes_and_calibration_that_a_model_cannot_give_are_refused(
    study: Path, tmp_path: Path
) -> None:
    plain = replace(TINY, network="dynunet", width=4, held_out=0.0)
    model = trained(study, tmp_path / "model", plain)
    assert not (model / "calibration.json").exists()
    with pytest.raises(BadRecipeError, match="2 passes of dynunet are all alike"):
        probability(model, study, tmp_path / "masks", PredictConfig(passes=2))
    with pytest.raises(BadRecipeError, match="no hints were held out"):
        probability(model, study, tmp_path / "others", PredictConfig(calibrated=True))


def test_probabilities_are_held_against_truth(model: Path, study: Path, tmp_path: Path) -> None:
    probability(model, study, tmp_path, PredictConfig())
    table = measure_trust(tmp_path, study / "labelsTs")
    assert table.ece.n == 1
    assert 0 <= (table.ece.mean or 0) <= 1
    scores = measure(tmp_path, study / "labelsTs", config=MeasureConfig())
    lines = summary_lines(replace(scores, trust=table))
    assert lines[:-2] == summary_lines(scores)
    assert re.match(r"expected calibration error: 0\.\d{3}", lines[-2])
    assert re.search(r"0\.\d{3} in the surest 80%", lines[-1])
    (tmp_path / "t0__ball.nii.gz").unlink()
    with pytest.raises(BadFileError, match=r"has no t0__ball\.nii\.gz; write it with"):
        measure_trust(tmp_path, study / "labelsTs")
