"""Training and runs that are asked for more go on; asked for less, they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.phantoms import make_study

from voxhint.config import Machine, Recipe, TrainConfig
from voxhint.core.errors import OutputError
from voxhint.runs.manifest import changes
from voxhint.training.resume import load_state
from voxhint.verbs.run import run
from voxhint.verbs.train import asks_more, train_model

ONE = Machine(threads=1)


def ticket(**knobs: Any) -> dict[str, Any]:
    config = {"steps": None, "budget": None, "width": 16} | knobs
    return {"verb": "train", "seed": 0, "inputs": {}, "config": config}


@pytest.mark.parametrize(
    ("was", "now", "more"),
    [
        (ticket(steps=5), ticket(steps=6), True),
        (ticket(steps=5), ticket(steps=4), False),
        (ticket(budget="1h"), ticket(budget="2h"), True),
        (ticket(budget="90m"), ticket(budget="1h"), False),
        (ticket(), ticket(budget="2h"), True),  # one hour is the default
        (ticket(), ticket(budget="59m"), False),
        (ticket(budget="1h"), ticket(), True),
        (ticket(steps=5), ticket(budget="1h"), True),
        (ticket() | {"steps": 80}, ticket(steps=90), True),
        (ticket() | {"steps": 80}, ticket(steps=70), False),
        (ticket(steps=5), ticket(steps=6, width=8), False),
        (ticket(steps=5), ticket(steps=6) | {"inputs": {"labels": "x"}}, False),
    ],
)
def test_only_more_of_the_same_is_more(
    was: dict[str, Any], now: dict[str, Any], more: bool
) -> None:
    assert asks_more(changes(was, now), was, now) == more
    runs = [{**told, "config": {"train": told["config"]}} for told in (was, now)]
    assert asks_more(changes(runs[0], runs[1]), runs[0], runs[1]) == more


def trained(study: Path, out: Path, steps: int) -> dict[str, Any]:
    config = TrainConfig(supervision="dense", steps=steps, width=4, patch_voxels=4000)
    train_model(study, out, labels=None, config=config, machine=ONE)
    made: dict[str, Any] = json.loads((out / "made.json").read_text("utf-8"))
    return made


def test_a_finished_training_goes_on_when_more_steps_are_asked_for(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", dense=True)
    once = trained(study, tmp_path / "once", 3)
    first = trained(study, tmp_path / "parts", 2)
    assert (first["steps"], first["ended"]) == (2, "steps")
    with pytest.raises(OutputError, match="steps"):
        trained(study, tmp_path / "parts", 1)
    second = trained(study, tmp_path / "parts", 3)
    assert second["steps"] == 3
    assert second["config"] == once["config"]
    states = [load_state(tmp_path / name / ".state.ckpt") for name in ("once", "parts")]
    assert states[0] is not None
    assert states[1] is not None
    assert all(
        torch.equal(value, states[1]["averaged"][name])
        for name, value in states[0]["averaged"].items()
    )


@pytest.mark.slow
def test_a_run_goes_on_and_hinted_images_are_predicted_where_that_is_asked(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study"), tmp_path / "run"
    recipes = [
        Recipe(train=TrainConfig(steps=steps, width=4, patch_voxels=4000)) for steps in (1, 2)
    ]
    run(study, out, recipe=recipes[0], machine=ONE)
    assert (out / "masks").is_dir()
    assert not (out / "masksTr").exists()
    run(study, out, recipe=recipes[1], machine=ONE)
    made = json.loads((out / "made.json").read_text("utf-8"))
    assert (made["steps"], made["config"]["train"]["steps"]) == (2, 2)
    run(study, out, recipe=recipes[1], machine=ONE, hinted_masks=True)
    assert len(list((out / "masksTr").glob("*.nii.gz"))) == 2


@pytest.mark.slow
def test_without_images_to_predict_the_hinted_ones_are(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", tests=0)
    recipe = Recipe(train=TrainConfig(steps=1, width=4, patch_voxels=4000))
    run(study, tmp_path / "run", recipe=recipe, machine=ONE)
    assert len(list((tmp_path / "run" / "masksTr").glob("*.nii.gz"))) == 2
