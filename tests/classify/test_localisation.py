"""From evidence to the soft label of a case: which places are believed, by every knob."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.classify.classifier import Classifier, classifier_network
from voxhint.classify.localisation import Localiser
from voxhint.classify.saliency_methods import saliency_methods
from voxhint.classify.tag_bags import TagJob
from voxhint.config import LabelConfig, Machine
from voxhint.config.tags import TagConfig
from voxhint.core import Case, Grid, LabelSet, SoftLabel, Volume
from voxhint.core.hints import Tag
from voxhint.core.progress import silent
from voxhint.core.study import Study
from voxhint.files.images import write_image
from voxhint.files.study.hint_writer import write_hints
from voxhint.files.validate.study import open_study
from voxhint.models.device import open_fabric
from voxhint.prepare import Plan
from voxhint.prepare.plan import Intensity
from voxhint.propagate import constraints_of
from voxhint.propagate.study import PropagationPlan, label_case

Map = Float32[np.ndarray, "i j k"]
Mask = Bool[np.ndarray, "i j k"]

GRID = Grid((36, 36, 14), np.diag([1.0, 1.0, 2.0, 1.0]))
LABELS = LabelSet(("background", "nodule"), (0, 1))
PLAN = Plan(
    channels=("CT",),
    optional_channels=(),
    labels=LABELS,
    spacing_mm=(1.0, 1.0, 2.0),
    patch=GRID.shape,
    batch=2,
    strides=((1, 1, 1),),
    kernels=((3, 3, 3),),
    features=(4,),
    network="classifier",
    intensity={"CT": Intensity(-10.0, 10.0, 0.0, 1.0)},
)


def away_mm(*middle_mm: float) -> Map:
    places = np.indices(GRID.shape).T * GRID.spacing_mm
    return np.asarray(np.linalg.norm(places - middle_mm, axis=-1).T, np.float32)


LESION_MM, DECOY_MM, OTHER_MM = (9, 9, 14), (26, 26, 14), (26, 9, 14)
LESION, DECOY, OTHER = (away_mm(*middle) <= 4 for middle in (LESION_MM, DECOY_MM, OTHER_MM))
SEES = {
    "smooth-grad": {LESION_MM: 0.7, DECOY_MM: 1.0},
    "grad-cam++": {LESION_MM: 0.7, OTHER_MM: 1.0},
}
"""How strongly each map shows each place: its own decoy more than the lesion."""


def scores(_: Classifier, image: Float32[np.ndarray, "channel i j k"]) -> dict[str, float]:
    """Return the lesion's density as the logit, at full resolution or half of it."""
    step = GRID.shape[0] // image.shape[1]
    return {"nodule": 20 * float(image[0][LESION[::step, ::step]].mean())}


def saliency(
    _: Classifier, case: Case, label: str, config: LabelConfig, rng: np.random.Generator
) -> Map:
    """Return the map that is said above, in noise."""
    found = 0.2 * np.abs(ndimage.gaussian_filter(rng.normal(size=GRID.shape), 1.5))
    if case.name == "shown":
        for place, strength in SEES[config.tags.method].items():
            found += strength * np.exp(-0.5 * (away_mm(*place) / 3) ** 2)
    return np.asarray(found, np.float32)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let classifiers be what is said above."""
    monkeypatch.setattr(Classifier, "scores", scores)
    monkeypatch.setattr(Classifier, "saliency", saliency)


def classifier(spacing_mm: tuple[float, float, float] = PLAN.spacing_mm) -> Classifier:
    plan = dataclasses.replace(PLAN, spacing_mm=spacing_mm)
    facts: dict[str, Any] = {"nodule": {"contrast": {"low": 0.0, "high": 1.0}}}
    net = classifier_network(plan, ["nodule"], "lse", two_and_half_d=False)
    fabric = open_fabric(Machine(device="cpu", threads=1))
    return Classifier(net, plan, ("nodule",), facts, fabric, mirror=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a study of images alike, of which one is tagged to hold a lesion."""
    folder = tmp_path_factory.mktemp("localiser")
    names = ["shown", *(f"healthy{number}" for number in range(9))]
    described = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "nodule": 1},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    rng = np.random.default_rng(0)
    for name in names:
        tissue = ndimage.gaussian_filter((LESION | DECOY | OTHER).astype(float), 0.5)
        image = 0.15 + 0.85 * tissue + rng.normal(0, 0.03, GRID.shape)
        volume = Volume(image.astype(np.float32), GRID)
        write_image(folder / "imagesTr" / f"{name}_0000.nii.gz", volume)
    hints = {name: (Tag("nodule", "present" if name == "shown" else "absent"),) for name in names}
    write_hints(folder / "hints", hints, LABELS)
    return open_study(folder)[0]


def found(study: Study, **knobs: Any) -> SoftLabel:
    config = LabelConfig(tags=TagConfig(**{"fuse": (), **knobs}))
    verifier = classifier((2.0, 2.0, 2.0)) if config.tags.verify else None
    methods = saliency_methods(
        classifier(), study.root, TagJob(study, ("nodule",), config, Machine(), silent)
    )
    localiser = Localiser.fit(classifier(), study, methods, config, 0, silent, verifier)
    (files,) = (case for case in study.training if case.name == "shown")
    plan = PropagationPlan(dict.fromkeys(LABELS.names, 5.0))
    known = label_case(study, files, plan, config)
    constraints = constraints_of(known.case.grid, known.case.hints, LABELS)
    return localiser.add_regions(known.soft.dense(), constraints, known.case).soft


def believed(study: Study, **knobs: Any) -> tuple[bool, ...]:
    """Return whether the lesion, its decoy and the other decoy are believed, and nothing else."""
    soft = found(study, **knobs)
    inside = soft.trust[1] * soft.probs[1] > 0.3
    assert not (inside & ~ndimage.binary_dilation(LESION | DECOY | OTHER, iterations=2)).any()
    return tuple(bool(inside[place].mean() > 0.5) for place in (LESION, DECOY, OTHER))


def test_the_strongest_place_is_believed_where_nothing_else_is_asked(study: Study) -> None:
    assert believed(study) == (False, True, False)


def test_as_many_places_as_wanted_are_believed_if_they_are_seen(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxhint.classify.calibrated_saliency.NULL_QUANTILE", 1.0)
    assert believed(study, regions=5) == (True, True, False)


def test_a_verifier_chooses_the_place_that_it_misses(study: Study) -> None:
    assert believed(study, verify=True) == (True, False, False)
    assert believed(study, verify=True, regions=5) == (True, False, False)


def test_maps_that_agree_only_on_the_lesion_find_it_together(study: Study) -> None:
    assert believed(study, method="grad-cam++") == (False, False, True)
    assert believed(study, fuse=("grad-cam++",)) == (True, False, False)


def test_where_no_place_is_of_a_size_that_is_wanted_nothing_is_claimed(study: Study) -> None:
    for knobs in ({"smallest_mm": 20.0}, {"largest_mm": 2.0}):
        assert not found(study, **knobs).trust[1].any()
    assert believed(study, smallest_mm=5.0, largest_mm=12.0) == (False, True, False)


def test_the_same_knobs_find_the_same(study: Study) -> None:
    first, again = (found(study, verify=True, fuse=("grad-cam++",)) for _ in range(2))
    assert np.array_equal(first.probs, again.probs)
    assert np.array_equal(first.trust, again.trust)
