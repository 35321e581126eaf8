"""Tags to regions and to first steps of training: the numbers of today, to a part in a thousand.

Whoever changes a constant on purpose writes the new numbers down here, and says in the log why. The
networks that come with voxhint are used, so that nothing but the method itself moves them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxhint.classify.tag_bags import TagJob
from voxhint.classify.train_classifier import fit_classifier
from voxhint.classify.train_label_flow import fit_label_flow
from voxhint.config import LabelConfig, Machine, TrainConfig
from voxhint.config.ranges import changed
from voxhint.core import SoftLabel
from voxhint.core.progress import silent
from voxhint.core.study import Study
from voxhint.files import open_study
from voxhint.files.csv_tables import read_table
from voxhint.files.images import read_ids, read_volume
from voxhint.files.soft_labels import read_soft_label
from voxhint.verbs.label import label
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.train import learning_of, train_model

pytestmark = pytest.mark.slow

MACHINE = Machine(threads=1, device="cpu", precision="float32")
OWN = {"tags.weights": "none", "classifier.steps": 3, "flow.steps": 3}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("golden") / "study"
    write_phantom_study(folder, kind="lung", cases=4, test_cases=0)
    return open_study(folder)[0]


def told(study: Study, out: Path, knobs: dict[str, Any]) -> dict[str, float]:
    """Return what labels of the cases tagged present are like, in a few numbers."""
    label(study.root, out, config=changed(LabelConfig(), knobs), machine=MACHINE)
    dice, trust, belief, gone = [], [], [], []
    for files in study.training:
        truth = read_ids(study.root / "denseTr" / f"{files.name}.nii.gz")[0] > 0
        soft = read_soft_label(out, files.name, study.labels)
        assert isinstance(soft, SoftLabel)
        if truth.any():
            found = soft.trust[1] * soft.probs[1]
            dice.append(2 * (truth & (found > 0.5)).sum() / (truth.sum() + (found > 0.5).sum()))
            trust.append(soft.trust[1].mean())
            belief.append(found.mean())
        without = out / "counterfactuals" / f"{files.name}_0000.nii.gz"
        if without.exists():
            image = next(iter(files.images.values()))
            read = [read_volume(path, channel="CT").voxels for path in (image, without)]
            gone.append(np.abs(read[0] - read[1]).mean())
    means = {"dice": dice, "trust": trust, "belief": belief, "gone": gone}
    return {name: float(np.mean(values)) for name, values in means.items() if values}


SHORT = {"guided_flow.steps": 1, "guided_flow.guided_steps": 1}
GOLDEN: list[tuple[dict[str, Any], dict[str, float]]] = [
    ({}, {"dice": 0.62694, "trust": 0.79106, "belief": 0.011437}),
    (
        {"tags.method": "grad-cam++", "tags.regions": 3},
        {"dice": 0.61689, "trust": 0.79105, "belief": 0.011354},
    ),
    (
        {**SHORT, "tags.method": "guided-flow-paired", "tags.counterfactuals": True},
        {"dice": 0.77212, "trust": 0.76984, "belief": 0.013549, "gone": 51.273},
    ),
    (
        {**SHORT, "tags.method": "guided-flow", "guided_flow.steps": 2},
        {"dice": 0.64111, "trust": 0.79086, "belief": 0.011632},
    ),
]


@pytest.mark.parametrize(("knobs", "golden"), GOLDEN)
def test_regions_from_tags_are_as_they_were(
    study: Study, tmp_path: Path, knobs: dict[str, Any], golden: dict[str, float]
) -> None:
    assert told(study, tmp_path / "labels", knobs) == pytest.approx(golden, rel=1e-3)


def losses(folder: Path) -> list[float]:
    """Return the loss and the score of held-out cases in every row of a history."""
    table = read_table(folder / "history.csv", "history.csv", needed=("loss",), known=())
    names = ("loss", "held_out")
    return [float(row.text(name)) for row in table.rows for name in names if row.text(name)]


def test_the_first_steps_of_a_classifier_cost_what_they_did(study: Study, tmp_path: Path) -> None:
    config = changed(LabelConfig(), OWN)
    net = fit_classifier(tmp_path, TagJob(study, ("nodule",), config, MACHINE, silent))
    assert losses(tmp_path) == pytest.approx([0.69319], rel=1e-3)
    assert net.facts["nodule"]["operating_point"] == pytest.approx(0.104195, rel=1e-3)


def test_the_first_steps_of_a_flow_cost_what_they_did(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(LabelConfig(), OWN)
    monkeypatch.setattr("voxhint.classify.train_label_flow._WIDTH", 4)
    monkeypatch.setattr("voxhint.classify.train_label_flow._INPUT_VOXELS", 3000)
    fit_label_flow(tmp_path, TagJob(study, ("nodule",), config, MACHINE, silent))
    assert losses(tmp_path) == pytest.approx([3.3105], rel=1e-3)


def test_the_first_steps_of_a_model_cost_what_they_did(study: Study, tmp_path: Path) -> None:
    label(study.root, tmp_path / "labels", config=LabelConfig(), machine=MACHINE)
    config = TrainConfig(steps=3, width=4, patch_voxels=4000, held_out=0.5)
    train_model(
        study.root, tmp_path / "model", labels=tmp_path / "labels", config=config, machine=MACHINE
    )
    assert losses(tmp_path / "model") == pytest.approx([0.426331, 0.104524], rel=1e-3)


def test_what_tags_taught_may_lie_anywhere_unless_images_are_not_to_be_flipped(
    study: Study, tmp_path: Path
) -> None:
    label(study.root, tmp_path, config=LabelConfig(), machine=MACHINE)

    def lesions(flips: bool | None) -> tuple[str, ...]:
        how = (TrainConfig(flips=flips), MACHINE, silent)
        return tuple(learning_of(study, tmp_path, (None, None), how).lesions)

    assert lesions(None) == ("nodule",)
    assert lesions(flips=True) == ("nodule",)
    assert lesions(flips=False) == ()
