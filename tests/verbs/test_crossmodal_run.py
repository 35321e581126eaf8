"""Two modalities through the main job, with one of them missing here and there."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from voxhint.config import LabelConfig, Machine, PredictConfig, Recipe, TrainConfig
from voxhint.config.training import CrossModalConfig, View
from voxhint.core.errors import BadRecipeError
from voxhint.files.images import read_ids
from voxhint.files.validate.study import open_study
from voxhint.models.device import open_fabric
from voxhint.models.folder import open_model
from voxhint.models.planning import trunk_options, with_network
from voxhint.nets.crossmodal import CrossModal
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.predict import predict
from voxhint.verbs.run import run

CPU = Machine(device="cpu", threads=1)
SMALL = TrainConfig(
    network="crossmodal",
    steps=2,
    width=4,
    patch_voxels=12_000,
    crossmodal=CrossModalConfig(fusion="gated", consistency_weight=0.5),
)
FEW = PredictConfig(overlap=0.0)


def quick(train: TrainConfig) -> Recipe:
    """Return a recipe whose every step is short."""
    return Recipe(label=LabelConfig(method="none"), train=train, predict=FEW)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return necks; one to learn from and one to predict have no MR, and one no CT."""
    out = tmp_path_factory.mktemp("necks") / "study"
    write_phantom_study(out, kind="two-modality", cases=3, test_cases=2)
    for lost in ("imagesTr/neck_002_0001", "imagesTs/neck_004_0001", "imagesTs/neck_005_0000"):
        (out / f"{lost}.nii.gz").unlink()
    return out


@pytest.fixture(scope="module")
def done(study: Path) -> Path:
    out = study.parent / "run"
    run(study, out, recipe=quick(SMALL), machine=CPU)
    return out


def test_the_phantom_study_has_no_problem_and_optional_channels(study: Path) -> None:
    opened, problems = open_study(study)
    assert not [problem for problem in problems if problem.severity == "error"]
    assert opened.optional_channels == ("CT", "MR")


def test_every_case_gets_a_mask_and_what_is_missing_is_told(study: Path, done: Path) -> None:
    for case in ("neck_004", "neck_005"):
        ids, grid = read_ids(done / "masks" / f"{case}.nii.gz")
        assert ids.shape == grid.shape == (48, 48, 16)
    warnings = json.loads((done / "made.json").read_text())["warnings"]
    assert "channel MR is missing in 1 of 2 cases (neck_004)" in "\n".join(warnings)
    assert "channel CT is missing in 1 of 2 cases (neck_005)" in "\n".join(warnings)
    assert "channel MR is missing" in (done / "report.html").read_text()


def test_a_model_opens_as_it_was_trained(done: Path) -> None:
    model = open_model(done, open_fabric(CPU))
    assert isinstance(model.net, CrossModal)
    assert model.plan.options == {"fusion": "gated", "branch_width": 0.7}
    assert torch.isfinite(model.net(torch.zeros(1, 2, *model.plan.patch))).all()


def test_predicting_again_gives_the_very_same_masks(
    study: Path, done: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    predict(
        done,
        study / "imagesTs",
        tmp_path / "again",
        config=FEW,
        machine=CPU,
        tell=lambda what, n, total, note: told.append(note),
    )
    assert any("channel MR is missing" in note for note in told)
    for case in ("neck_004", "neck_005"):
        name = f"{case}.nii.gz"
        assert (tmp_path / "again" / name).read_bytes() == (done / "masks" / name).read_bytes()


def test_views_of_an_only_channel_are_trained_on_and_predicted_with(tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "run"
    write_phantom_study(study, kind="two-modality", cases=2, test_cases=1, channels=("CT",))
    train = TrainConfig(
        network="crossmodal",
        steps=2,
        width=4,
        patch_voxels=12_000,
        pseudo_modalities=("soft-tissue", "style"),
    )
    run(study, out, recipe=quick(train), machine=CPU)
    model = open_model(out, open_fabric(CPU))
    assert model.plan.views == train.pseudo_modalities
    assert (out / "masks" / "neck_003.nii.gz").exists()
    assert "is missing in" not in (out / "made.json").read_text()


@pytest.mark.parametrize(
    ("views", "optional", "meant"),
    [
        ((), (), "dynunet"),
        ((), ("MR",), "crossmodal"),
        (("plain", "style"), (), "crossmodal"),
    ],
)
def test_auto_is_a_network_for_each_channel_where_one_may_be_missing(
    study: Path, views: tuple[View, ...], optional: tuple[str, ...], meant: str
) -> None:
    config = TrainConfig(pseudo_modalities=views)
    opened = replace(open_study(study)[0], optional_channels=optional)
    assert with_network(config, opened) == replace(config, network=meant)  # type: ignore[arg-type]
    assert trunk_options(config, CPU, opened).network == meant
    chosen = replace(config, network="segresnet")
    assert with_network(chosen, opened).network == "segresnet"


def test_views_of_several_channels_are_refused_in_a_line(study: Path, tmp_path: Path) -> None:
    train = TrainConfig(steps=1, width=4, patch_voxels=12_000, pseudo_modalities=("plain", "style"))
    with pytest.raises(BadRecipeError, match="views of an only channel, and the study has 2"):
        run(study, tmp_path / "run", recipe=Recipe(train=train), machine=CPU)
