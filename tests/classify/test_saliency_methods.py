"""Looking for a label by taking it out: windows, scales, knobs, and the patient's own grid."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from voxhint.classify.classifier import Classifier
from voxhint.classify.counterfactual import METHODS
from voxhint.classify.gradient_saliency import METHODS as MAPS
from voxhint.classify.saliency_methods import (
    CounterfactualSaliency,
    counterfactual_images,
    logit_of,
    require_counterfactual,
)
from voxhint.classify.sliding_windows import fading, strongest_windows
from voxhint.classify.train_label_flow import LabelFlow, _State, flow_network
from voxhint.config import LabelConfig
from voxhint.config.ranges import changed
from voxhint.config.tags import TagMethod
from voxhint.core import Case, Grid, LabelSet, Volume
from voxhint.core.errors import BadRecipeError
from voxhint.flow import Velocity
from voxhint.flow.invert import S_MIN
from voxhint.nets import short_classifier
from voxhint.prepare import Plan, prepare_image
from voxhint.prepare.plan import Intensity

HU = Intensity(low=-1000.0, high=400.0, mean=-700.0, std=200.0)
PLAN = Plan(
    channels=("CT",),
    optional_channels=(),
    labels=LabelSet(("background", "nodule"), (0, 1)),
    spacing_mm=(1.0, 1.0, 1.0),
    patch=(8, 8, 4),
    batch=2,
    strides=((1, 1, 1), (2, 2, 1)),
    kernels=((3, 3, 3), (3, 3, 3)),
    features=(4, 8),
    network="flow",
    intensity={"CT": HU},
)
LABEL = "nodule"


CPU = Fabric(accelerator="cpu", devices=1)


class Darker(LabelFlow):
    """Told "absent", every voxel is darker by 0.5."""

    def velocity(self, label: str, state: _State) -> Velocity:  # type: ignore[explicit-override]
        assert label == LABEL

        def velocity(z: Tensor, _: Tensor, /) -> Tensor:
            return torch.full_like(z, -0.5 if state == "absent" else 0.0)

        return velocity


def classifier(plan: Plan = PLAN) -> Classifier:
    torch.manual_seed(0)
    net = short_classifier(channels=1, labels=1, stride=(1, 1, 1), kernel=(3, 3, 3), width=4).eval()
    contrast = {"low": -1.0, "high": 2.0}
    facts = {LABEL: {"calibration": {"slope": 2.0, "intercept": 0.3}, "contrast": contrast}}
    return Classifier(net, plan, (LABEL,), facts, CPU, mirror=False)


def look_with(method: TagMethod = "label-flow", **knobs: object) -> CounterfactualSaliency:
    guided = {f"guided_flow.{name}": value for name, value in knobs.items()}
    config = changed(LabelConfig(), {"tags.method": method, **guided})
    flow = Darker(flow_network(PLAN, (LABEL,)), PLAN, (LABEL,), CPU)
    return CounterfactualSaliency(classifier(), flow, config)


def case(shape: tuple[int, int, int], affine: np.ndarray | None = None) -> Case:
    voxels = np.random.default_rng(1).normal(-700, 100, shape).astype(np.float32)
    grid = Grid(shape, np.eye(4) if affine is None else affine)
    return Case("one", {"CT": Volume(voxels, grid, "HU")}, ())


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_every_method_can_be_chosen() -> None:
    assert set(get_args(TagMethod)) == MAPS.keys() | METHODS.keys()


def test_what_went_away_is_told_in_the_units_and_on_the_grid_of_the_scan() -> None:
    flipped = np.diag([-1.0, 1.0, -1.0, 1.0])
    one = case((9, 8, 6), flipped)
    found = look_with().compute(one, LABEL, rng())
    own = METHODS["label-flow"].preset
    lost = 0.5 * own.weight * (own.start - S_MIN)
    assert found.covered.all()
    np.testing.assert_allclose(found.values, lost, rtol=1e-4)
    np.testing.assert_allclose(found.change["CT"], -lost * HU.std, rtol=1e-4)
    changed = counterfactual_images(one, [found, found])["CT"]
    assert changed.grid.same(one.grid)
    expected = one.images["CT"].voxels - 2 * lost * HU.std
    np.testing.assert_allclose(changed.voxels, expected, rtol=1e-4)


def test_a_large_image_is_looked_at_where_the_predictor_is_strongest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voxhint.classify.saliency_methods._WINDOWS", 2)
    one = case((40, 30, 20))
    look = look_with()
    found = look.compute(one, LABEL, rng())
    assert 0 < found.covered.mean() < 2.1 * np.prod(PLAN.patch) / found.covered.size
    assert not found.values[~found.covered].any()
    assert not found.change["CT"][~found.covered].any()
    seen = look.classifier.saliency(one, LABEL, look.config, rng())
    assert found.covered.ravel()[seen.argmax()]


def test_windows_hold_the_strongest_places_and_never_one_twice() -> None:
    strength = np.zeros((20, 12, 9), np.float32)
    strength[0, 11, 8], strength[2, 10, 8], strength[15, 3, 1] = 3, 2, 1
    windows = list(strongest_windows(strength, (6, 14, 4), 5))
    assert len(windows) == 2
    for window, place in zip(windows, ((0, 11, 8), (15, 3, 1)), strict=True):
        assert strength[window].shape == (6, 12, 4)
        assert all(s.start <= p < s.stop for s, p in zip(window, place, strict=True))
    assert not list(strongest_windows(-np.ones((4, 4, 4), np.float32), (2, 2, 2), 3))


def test_a_window_fades_towards_faces_that_are_not_the_image_s_own() -> None:
    shape = (40, 16, 9)
    assert (fading((slice(0, 40), slice(0, 16), slice(0, 9)), shape) == 1).all()
    share = fading((slice(8, 24), slice(0, 16), slice(0, 9)), shape)
    assert (share > 0).all()
    np.testing.assert_array_equal(share, share[::-1])
    assert share[0].max() < 0.5
    assert (share[5:-5] == 1).all()


def test_the_predictor_hears_the_same_whatever_the_plan_of_the_flow() -> None:
    one = case((12, 10, 8))
    other = replace(PLAN, intensity={"CT": replace(HU, mean=-650.0, std=333.0)})
    said = classifier()
    scores = []
    for plan in (PLAN, other):
        image = torch.from_numpy(prepare_image(one.images, plan)[0])[None]
        scores.append(float(logit_of(said, LABEL, plan)(image).detach()))
    raw = said.scores(prepare_image(one.images, PLAN)[0])[LABEL]
    assert scores[0] == pytest.approx(2.0 * raw + 0.3, abs=1e-4)
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)


def test_the_score_of_an_image_is_the_mean_over_its_flips() -> None:
    said = replace(classifier(), mirror=True)
    image = np.random.default_rng(0).normal(size=(1, 8, 7, 5)).astype(np.float32)
    turned = [
        np.flip(image, tuple(axis for axis in (1, 2, 3) if number >> axis & 1))
        for number in range(16)
    ]
    alone = [replace(said, mirror=False).scores(np.ascontiguousarray(t))[LABEL] for t in turned]
    assert said.scores(image)[LABEL] == pytest.approx(np.mean(alone), abs=1e-5)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 2.0), (2.0, 1.0, 1.0)])
def test_the_predictor_sees_images_at_its_own_spacing(spacing: tuple[float, float, float]) -> None:
    seen = []
    said = classifier(replace(PLAN, spacing_mm=spacing))
    said.net.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2:]))
    image = torch.full((1, 1, 8, 8, 4), 0.7, requires_grad=True)
    logit_of(said, LABEL, PLAN)(image).sum().backward()  # type: ignore[no-untyped-call]
    assert seen == [tuple(round(n / mm) for n, mm in zip((8, 8, 4), spacing, strict=True))]
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_knobs_change_the_method_s_own_settings_and_nothing_else() -> None:
    plain, own = look_with().settings(LABEL), METHODS["label-flow"].preset
    assert replace(plain, spacing_mm=own.spacing_mm) == own
    own = METHODS["guided-flow-paired"].preset
    told = look_with("guided-flow-paired", start=0.35, guided_steps=2, gate=0.2)
    given = told.settings(LABEL)
    assert (given.start, given.steps) == (0.35, own.steps)
    assert (given.guidance.first, given.guidance.mu) == (2, own.guidance.mu)
    assert given.guidance.gate == 0.2
    assert json.loads(json.dumps(told.describe()))["settings"]["start"] == 0.35


def test_a_dark_label_is_looked_for_in_what_got_brighter() -> None:
    look = look_with()
    look.classifier.facts[LABEL]["contrast"] = {"low": 2.0, "high": -1.0}
    assert not look.settings(LABEL).bright
    assert not look.compute(case((9, 8, 6)), LABEL, rng()).values.any()


def test_calibration_looks_behind_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    own = METHODS["label-flow"]
    guidance = replace(own.preset.guidance, gate=1.0)
    gated = replace(own, preset=replace(own.preset, guidance=guidance))
    monkeypatch.setitem(METHODS, "label-flow", gated)
    look = look_with()
    one = case((9, 8, 6))
    assert not look.compute(one, LABEL, rng()).values.any()
    assert look.compute(one, LABEL, rng(), calibrating=True).values.any()


def test_images_without_a_label_are_not_promised_of_a_map_of_the_classifier() -> None:
    wanted = changed(LabelConfig(), {"tags.counterfactuals": True, "tags.method": "edit-flow"})
    require_counterfactual(wanted)
    with pytest.raises(BadRecipeError, match="'grad-cam\\+\\+' changes no image") as told:
        require_counterfactual(changed(wanted, {"tags.method": "grad-cam++"}))
    assert "\n" not in str(told.value)
