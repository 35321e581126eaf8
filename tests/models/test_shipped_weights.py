"""Networks that come with voxhint are taken where they suit, said to be taken, and no others."""

import hashlib
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from voxhint.classify.tag_bags import TagJob
from voxhint.classify.train_classifier import fit_classifier
from voxhint.classify.train_label_flow import fit_label_flow
from voxhint.config import LabelConfig, Machine
from voxhint.config.ranges import changed
from voxhint.config.tags import ClassifierConfig, FlowConfig, TagConfig
from voxhint.core.progress import silent
from voxhint.core.study import Study
from voxhint.files import open_study
from voxhint.models import shipped_weights as room
from voxhint.models.shipped_weights import shipped
from voxhint.prepare import Fingerprint, prepare_image
from voxhint.verbs.label import label
from voxhint.verbs.phantom_study import write_phantom_study

HERE = Machine(threads=1, device="cpu")
CHEST = Path(str(files("voxhint"))) / "weights" / "chest"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("lung") / "study"
    write_phantom_study(study, kind="lung", cases=4, test_cases=0)
    return study


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return open_study(folder)[0]


@pytest.mark.parametrize("name", ["nodule", "Nodules", "lung_nodule", "pulmonary nodule"])
def test_nodules_on_windows_of_chest_ct_are_known(study: Study, name: str) -> None:
    found = shipped(study, (name,))
    assert found is not None
    assert found.folder == CHEST


@pytest.mark.parametrize("names", [("tumour",), ("liver nodule",), ("nodule", "nodules"), ()])
def test_other_labels_are_not_known(study: Study, names: tuple[str, ...]) -> None:
    assert shipped(study, names) is None


@pytest.mark.parametrize("channels", [("MR",), ("CT", "PET")])
def test_other_channels_are_not_known(study: Study, channels: tuple[str, ...]) -> None:
    assert shipped(replace(study, channels=channels), ("nodule",)) is None


@pytest.mark.parametrize(
    ("shape", "spacing", "dark"),
    [
        ((512, 512, 300), (0.7, 0.7, 1.25), -900.0),
        ((48, 48, 4), (0.7, 0.7, 8.0), -900.0),
        ((48, 48, 8), (0.7, 0.7, 1.25), 0.1),
    ],
    ids=["whole chest", "thick slices", "no HU"],
)
def test_images_of_another_kind_are_not_known(
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    dark: float,
) -> None:
    (channel,) = study.channels
    print_ = Fingerprint(shape, spacing, {channel: (dark, dark, 0.9)})
    monkeypatch.setattr(room, "measure_images", lambda *_, **__: [print_])
    assert shipped(study, ("nodule",)) is None


def test_the_networks_go_by_the_names_of_the_study(study: Study, tmp_path: Path) -> None:
    renamed = [
        replace(files, images={"chest CT": next(iter(files.images.values()))})
        for files in study.training
    ]
    called = replace(study, channels=("chest CT",), training=tuple(renamed))
    job = TagJob(called, ("lung_nodule",), LabelConfig(), HERE, silent)
    classifier = fit_classifier(tmp_path / "p", job)
    flow = fit_label_flow(tmp_path / "f", job)
    images = called.load(renamed[0], hints=False).images
    assert set(classifier.scores(prepare_image(images, classifier.plan)[0])) == {"lung_nodule"}
    assert flow.labels == ("lung_nodule",)


def test_labelling_takes_them_and_says_so(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    out = label(
        folder,
        tmp_path / "labels",
        config=LabelConfig(tags=TagConfig(method="grad-cam++")),
        machine=HERE,
        tell=lambda what, done, total, note: told.append(f"{what}: {note}"),
    )
    (line,) = {line for line in told if "comes with voxhint" in line}
    assert "classifier" in line
    assert not any("train the classifier" in line for line in told)
    made = json.loads((out / "made.json").read_text())["weights"]["classifier"]
    weights = out / "nets" / "classifier" / "weights.safetensors"
    assert made["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert made["licence"] == json.loads((CHEST / "card.json").read_text())["licence"]
    assert "CC-BY-3.0" in made["data"]


@pytest.mark.parametrize(
    ("part", "config", "taken"),
    [
        ("classifier", LabelConfig(classifier=ClassifierConfig(steps=7)), False),
        ("classifier", LabelConfig(classifier=ClassifierConfig(pooling="max")), False),
        ("classifier", LabelConfig(flow=FlowConfig(steps=7)), True),
        ("flow", LabelConfig(flow=FlowConfig(steps=8)), False),
        ("flow", LabelConfig(classifier=ClassifierConfig(steps=7)), True),
    ],
)
def test_a_knob_of_the_network_asks_for_another(
    study: Study, tmp_path: Path, part: room.Part, config: LabelConfig, *, taken: bool
) -> None:
    how = (HERE, silent)
    assert room.take_shipped(part, tmp_path, study, ("nodule",), config, how) is taken


def test_a_begun_training_is_not_replaced(study: Study, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    args = ("classifier", tmp_path, study, ("nodule",), LabelConfig(), (HERE, lambda *_: None))
    assert not room.take_shipped(*args)  # type: ignore[arg-type]


def test_whoever_wants_none_trains_on_the_study(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.classify.train_label_flow._WIDTH", 4)
    once = {"classifier.steps": 1, "flow.steps": 1, "tags.weights": "none"}
    config = changed(LabelConfig(), once)
    job = TagJob(study, ("nodule",), config, HERE, silent)
    fit_classifier(tmp_path / "p", job)
    fit_label_flow(tmp_path / "f", job)
    for part in ("p", "f"):
        assert (tmp_path / part / "history.csv").exists()
        assert not (tmp_path / part / "origin.json").exists()


def test_the_weights_are_small_and_their_card_names_data_and_licence() -> None:
    inside = [path for path in CHEST.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in inside) < 20e6
    card = (CHEST / "CARD.md").read_text("utf-8")
    told = json.loads((CHEST / "card.json").read_text("utf-8"))
    assert f"licence: {told['licence']}" in card
    assert "10.7937/K9/TCIA.2015.LO9QL9SX" in card
    assert {"labels", "licence", "data", "name"} <= told.keys()


def test_the_gate_of_what_is_taken_follows_the_specificity_that_was_asked_for(
    study: Study, tmp_path: Path
) -> None:
    """By the images of the study that are tagged absent; the usual gate is left as it came."""
    points: dict[float, float] = {}
    job = TagJob(study, ("nodule",), LabelConfig(), HERE, silent)
    classifier = fit_classifier(tmp_path, job)
    for asked in (0.0, 0.5, 1.0):
        folder = tmp_path / str(asked)
        config = LabelConfig(tags=TagConfig(specificity=asked))
        for _ in range(2):  # the second time nothing is left to do
            classifier = fit_classifier(folder, replace(job, config=config))
        points[asked] = classifier.facts["nodule"]["operating_point"]
        assert (folder / "origin.json").exists()
    absent = [
        classifier.scores(prepare_image(study.load(f, hints=False).images, classifier.plan)[0])
        for f in study.training
        if any(hint.state == "absent" for hint in study.hints[f.name])  # type: ignore[union-attr]
    ]
    scores = [score["nodule"] for score in absent]
    assert points[0.0] == pytest.approx(min(scores), abs=1e-2)  # images are kept as float16
    assert points[1.0] == pytest.approx(max(scores), abs=1e-2)
    told = json.loads((CHEST / "classifier" / "classifier.json").read_text())
    assert points[0.5] == told["facts"]["nodule"]["operating_point"]
