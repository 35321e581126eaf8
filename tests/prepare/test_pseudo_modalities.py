"""Views of one image: each keeps what it should, and forgets what it should."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32

from voxhint.core import Grid, LabelSet, Volume
from voxhint.core.errors import BadRecipeError
from voxhint.prepare import Fingerprint, Plan, PlanOptions, make_plan, prepare_image
from voxhint.prepare.augment import restyle
from voxhint.prepare.pseudo_modalities import (
    _VIEWS,
    _gradient,
    _smooth,
    _window,
    require_views,
    view,
)

Millimetres = tuple[float, float, float]
LABELS = LabelSet(("background", "ball"), (0, 1))


def noise(seed: int, shape: tuple[int, int, int] = (9, 8, 7)) -> Float32[np.ndarray, "i j k"]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def halves(contrast: float) -> Float32[np.ndarray, "i j k"]:
    image = np.zeros((12, 10, 8), np.float32)
    image[6:] = contrast
    return image


def plan_of(views: tuple[str, ...], channel: str = "CT") -> Plan:
    samples = {"CT": (-200.0, 0.0, 300.0)} if channel == "CT" else {}
    print_ = Fingerprint((8, 8, 8), (1.0, 1.0, 2.0), samples)
    options = PlanOptions(network="crossmodal", width=4, patch_voxels=4096, views=views)
    return make_plan([print_], (channel,), LABELS, options=options)


@given(low=st.floats(-500, 0), width=st.floats(10, 1000), seed=st.integers(0, 9))
def test_a_window_keeps_the_order_within_and_nothing_beyond(
    low: float, width: float, seed: int
) -> None:
    raw = 600 * noise(seed)
    shown = _window(raw, low, low + width)
    assert np.abs(shown).max() < 2.001
    assert np.allclose(shown[raw <= low], -2, atol=1e-3)
    assert np.allclose(shown[raw >= low + width], 2, atol=1e-3)
    order = np.argsort(raw.ravel())
    assert (np.diff(shown.ravel()[order]) >= 0).all()


def test_steepness_forgets_brightness_and_sign() -> None:
    image, spacing = noise(0), (1.0, 1.5, 3.0)
    steep = _gradient(image, spacing)
    assert np.allclose(_gradient(image + 5, spacing), steep, atol=1e-3)
    assert np.allclose(_gradient(-image, spacing), steep, atol=1e-5)
    assert np.allclose(_gradient(3 * image, spacing), steep, atol=1e-3)
    assert not _gradient(np.full((5, 5, 5), 7, np.float32), spacing).any()


def test_steepness_is_largest_at_an_edge() -> None:
    steep = _gradient(halves(2.0), (1.0, 1.0, 1.0))
    assert set(np.argmax(steep, axis=0).ravel()) <= {5, 6}


@pytest.mark.parametrize("name", ["gradient", "smooth"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_view_treats_no_axis_otherwise_than_the_others(
    name: str, order: tuple[int, int, int]
) -> None:
    spacing = (0.8, 1.1, 5.0)
    image = noise(1)
    a, b, c = order
    across = image.transpose(order)
    turned = view(name, across, across, (spacing[a], spacing[b], spacing[c]))
    assert np.allclose(turned, view(name, image, image, spacing).transpose(order), atol=1e-4)


@given(
    seed=st.integers(0, 20),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    scale=st.floats(0.05, 5),
)
def test_smoothing_keeps_the_mean_and_the_range(
    seed: int, spacing: Millimetres, scale: float
) -> None:
    image = np.float32(scale) * noise(seed)
    found = _smooth(image, spacing)
    assert np.isclose(found.mean(), image.mean(), atol=1e-4 * scale)
    assert found.min() >= image.min() - 1e-4
    assert found.max() <= image.max() + 1e-4


def test_smoothing_quiets_noise_and_keeps_edges() -> None:
    quiet = _smooth(0.1 * noise(2), (1.0, 1.0, 1.0))
    assert quiet.std() < 0.04
    edge = _smooth(halves(4.0) + 0.1 * noise(2, (12, 10, 8)), (1.0, 1.0, 1.0))
    assert (edge[6:].mean((1, 2)) > 3.7).all()
    assert (edge[:6].mean((1, 2)) < 0.3).all()


def test_slices_far_apart_are_hardly_mixed() -> None:
    image = np.zeros((6, 6, 6), np.float32)
    image[:, :, 3] = 0.1
    near, far = _smooth(image, (1.0, 1.0, 1.0)), _smooth(image, (1.0, 1.0, 8.0))
    assert far[3, 3, 3] > 0.095 > 0.08 > near[3, 3, 3]


def test_the_network_sees_the_views_in_their_order_instead_of_the_channel() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    image = Volume(200 * noise(3), Grid((9, 8, 7), affine), "HU")
    plan = plan_of(_VIEWS)
    stack, _ = prepare_image({"CT": image}, plan)
    (plain,), _ = prepare_image({"CT": image}, plan_of(()))
    assert plan.inputs == _VIEWS
    assert plan_of(()).inputs == ("CT",)
    for name, shown in zip(_VIEWS, stack, strict=True):
        expected = view(name, image.voxels, plain, (1.0, 1.0, 2.0))
        assert np.allclose(shown, expected, atol=1e-5)
    assert np.isfinite(stack).all()


def test_a_plan_remembers_its_views_and_options() -> None:
    plan = plan_of(("plain", "style"))
    assert Plan.from_json(plan.to_json()) == plan
    older = {k: v for k, v in plan.to_json().items() if k not in ("views", "options")}
    assert Plan.from_json(older).inputs == ("CT",)


@pytest.mark.parametrize(
    ("views", "channels", "told"),
    [
        (("plain", "magic"), ("CT",), "'plain, magic'; name some of plain"),
        (("plain", "plain"), ("CT",), "once"),
        (("plain",), ("CT", "MR"), "the study has 2; leave them out"),
        (("plain", "wide"), ("T1",), "wide are windows in HU.*'T1' is no CT; use plain, gradient"),
    ],
)
def test_views_that_cannot_be_made_are_refused(
    views: tuple[str, ...], channels: tuple[str, ...], told: str
) -> None:
    with pytest.raises(BadRecipeError, match=told):
        require_views(views, channels, hu={"CT"})


def test_repainting_keeps_place_mean_and_spread() -> None:
    image = torch.from_numpy(np.stack([noise(4)[None] + 3, 2 * noise(5)[None]]))
    painted = restyle(image, np.random.default_rng(0))
    over = (2, 3, 4)
    assert torch.allclose(painted.mean(over), image.mean(over), atol=1e-4)
    assert torch.allclose(painted.std(over), image.std(over), rtol=1e-3)
    assert not torch.allclose(painted, image, atol=0.1)
    assert torch.equal(painted, restyle(image, np.random.default_rng(0)))
    flat = torch.full((1, 1, 4, 4, 4), 2.0)
    assert torch.allclose(restyle(flat, np.random.default_rng(0)), flat)
    # what is constant on either side of an edge stays so
    edge = restyle(torch.from_numpy(halves(1.0)[None, None]), np.random.default_rng(1))
    assert edge[0, 0, :5].std() < 1e-4
    assert edge[0, 0, 7:].std() < 1e-4
