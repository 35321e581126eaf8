"""Tags learnt on a public backbone: what a person who has its weights is promised."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxhint.classify.classifier import open_classifier
from voxhint.cli import main
from voxhint.config import LabelConfig
from voxhint.files.images import read_volume
from voxhint.nets import pretrained
from voxhint.prepare import prepare_image
from voxhint.verbs.phantom_study import write_phantom_study

KEPT = "--set=label.classifier.freeze_backbone=true"
NETWORK = "--set=label.classifier.backbone"
FILE = "--set=label.classifier.backbone_weights"
SMALL = (
    *("--set", "label.classifier.steps=2", "--set", "label.classifier.input_voxels=600"),
    *("--set", "label.tags.method=grad-cam++", "--threads", "1"),
)


class Little(nn.Module):
    """Stands for TinyViT, which takes seconds a step: the same promises, two layers."""

    size, stride, features, span = 256, 4, 4, (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, 2, 1)
        )

    def forward(self, pictures: Tensor) -> Tensor:  # type: ignore[explicit-override]
        found: Tensor = self.body(pictures)
        return found


@pytest.fixture(scope="module")
def backbone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pretrained.KINDS, "medsam-tinyvit", Little)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, backbone: None) -> Path:
    folder = tmp_path_factory.mktemp("lung") / "study"
    write_phantom_study(folder, kind="lung", cases=4, test_cases=1)
    torch.manual_seed(0)
    state = {f"image_encoder.{name}": value for name, value in Little().state_dict().items()}
    torch.save(state, folder.parent / "lite_medsam.pth")
    return folder


def label(study: Path, out: Path, *words: str) -> tuple[object, list[str]]:
    """Label in this process, with every shape checked.

    Returns:
        The exit code, and the lines of standard error that tell an error.
    """
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors), pytest.raises(SystemExit) as end:
        main(["label", str(study), "--out", str(out), *SMALL, *words])
    lines = errors.getvalue().splitlines()
    return end.value.code, [line for line in lines if line.startswith("error: ")]


def on_backbone(study: Path, *more: str) -> tuple[str, ...]:
    weights = str(study.parent / "lite_medsam.pth")
    return (
        f"{NETWORK}=medsam-tinyvit",
        f"{FILE}={weights}",
        *more,
    )


@pytest.fixture(scope="module")
def labels(study: Path) -> Path:
    out = study.parent / "labels"
    code, errors = label(study, out, *on_backbone(study))
    assert code == 0, errors
    return out


def test_masks_follow_and_the_licence_of_the_weights_is_kept(labels: Path) -> None:
    assert len(list(labels.glob("*__nodule.nii.gz"))) == 4
    facts = json.loads((labels / "nets" / "classifier" / "classifier.json").read_text())
    assert facts["weights"]["licence"].startswith("Apache-2.0")
    assert facts["network"]["backbone_kind"] == "medsam-tinyvit"
    assert json.loads((labels / "made.json").read_text())["weights"] == {"public": facts["weights"]}


def test_the_predictor_is_whole_without_the_public_file(study: Path, labels: Path) -> None:
    classifier = open_classifier(
        labels / "nets" / "classifier", Fabric(accelerator="cpu", devices=1)
    )
    image = read_volume(next((study / "imagesTs").iterdir()), channel=classifier.plan.channels[0])
    prepared, _ = prepare_image({classifier.plan.channels[0]: image}, classifier.plan)
    assert np.isfinite(classifier.scores(prepared)["nodule"])
    found = classifier.saliency_of(prepared, "nodule", LabelConfig(), np.random.default_rng(0))
    assert found.shape == prepared.shape[1:]
    state = torch.load(study.parent / "lite_medsam.pth", weights_only=True)
    learnt = classifier.net.state_dict()["body.backbone.body.0.weight"]
    assert not torch.equal(learnt, state["image_encoder.body.0.weight"])


def test_a_kept_backbone_is_saved_as_it_came(study: Path, tmp_path: Path) -> None:
    code, errors = label(
        study, tmp_path / "kept", *on_backbone(study, "--set=label.classifier.freeze_backbone=true")
    )
    assert code == 0, errors
    folder = tmp_path / "kept" / "nets" / "classifier"
    net = open_classifier(folder, Fabric(accelerator="cpu", devices=1)).net
    state = torch.load(study.parent / "lite_medsam.pth", weights_only=True)
    for name, value in state.items():
        saved = net.state_dict()[name.replace("image_encoder.", "body.backbone.")]
        torch.testing.assert_close(saved, value)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ("--set", "label.classifier.backbone_weights=x.pth"),
            1,
            "backbone_weights needs backbone",
        ),
        (
            (
                f"{NETWORK}=radimagenet-resnet50",
                f"{FILE}=x.pth",
            ),
            1,
            "x.pth: no such file",
        ),
        (
            ("--set", "label.classifier.backbone=radimagenet-resnet50"),
            3,
            "are not here; name them with",
        ),
    ],
)
def test_contradictions_and_absent_weights_are_told_before_anything_costly(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr("voxhint.models.public_weights.HOME", tmp_path / "none")
    found, (line,) = label(study, tmp_path / "out", *words)
    assert found == code
    assert told in line
    assert not (tmp_path / "out" / "nets").exists()
