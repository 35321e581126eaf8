"""One plan for all cases: within the budget, true to the spacing, the same after JSON."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.phantoms import LABELS, scan, slanted_grid

from voxhint.core import Case, Turn, Volume
from voxhint.prepare import Fingerprint, Plan, PlanOptions, fingerprint, make_plan
from voxhint.prepare.plan import span_of

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
OPTIONS = PlanOptions(network="dynunet", width=8, patch_voxels=100_000)


def plan_of(
    *seen: tuple[Shape, Spacing], voxels: int = 100_000, samples: tuple[float, ...] = ()
) -> Plan:
    given_ = {"CT": samples} if samples else {}
    options = PlanOptions(network="dynunet", width=8, patch_voxels=voxels)
    return make_plan([Fingerprint(*one, given_) for one in seen], ("CT",), LABELS, options=options)


@given(
    shape=st.tuples(*[st.integers(1, 600)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 10)] * 3),
    voxels=st.integers(4096, 500_000),
)
@settings(deadline=None, max_examples=150)
def test_every_patch_fits_the_budget_and_the_network(
    shape: Shape, spacing: Spacing, voxels: int
) -> None:
    plan = plan_of((shape, spacing), voxels=voxels)
    assert np.prod(plan.patch) <= voxels
    assert not (np.array(plan.patch) % np.prod(plan.strides, axis=0)).any()
    assert plan.strides[0] == (1, 1, 1)
    assert len(plan.strides) == len(plan.kernels) == len(plan.features)
    assert all(s in {1, 2} for level in plan.strides for s in level)
    assert all(k in {1, 3} for level in plan.kernels for k in level)


def test_a_patch_covers_an_image_that_fits_the_budget() -> None:
    plan = plan_of(((40, 44, 36), (1.0, 1.0, 1.0)))
    assert (np.array(plan.patch) >= (40, 44, 36)).all()


def test_a_larger_budget_gives_no_smaller_patch() -> None:
    sizes = [
        np.prod(plan_of(((256, 256, 120), (0.8, 0.8, 2.0)), voxels=v).patch)
        for v in (8_000, 50_000, 400_000)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] > 4_000
    assert sizes[2] > 200_000


def test_a_patch_is_about_as_long_along_every_axis_in_millimetres() -> None:
    plan = plan_of(((400, 400, 300), (0.8, 0.8, 1.6)))
    field = np.array(plan.patch) * plan.spacing_mm
    assert field.max() < 1.5 * field.min()


def test_thick_slices_are_not_mixed_before_the_plane_is_as_coarse() -> None:
    plan = plan_of(((256, 256, 10), (1.5, 1.5, 8.0)))
    step = np.array(plan.spacing_mm)
    for stride, kernel in zip(plan.strides, plan.kernels, strict=True):
        if stride[2] == 2:
            assert step[0] * 2 > 8
        step = step * stride
        assert kernel[:2] == (3, 3)
        assert kernel[2] == (1 if step[2] >= 2 * step[0] else 3)
    assert plan.strides[1] == (2, 2, 1)
    assert plan.kernels[0] == plan.kernels[1] == (3, 3, 1)
    assert plan.patch[2] >= 10


def test_even_voxels_are_halved_alike() -> None:
    plan = plan_of(((64, 64, 64), (1.0, 1.0, 1.0)), voxels=64**3)
    assert set(plan.strides[1:]) == {(2, 2, 2)}
    assert set(plan.kernels) == {(3, 3, 3)}
    assert len(plan.strides) > 3


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_plan_treats_no_axis_otherwise_than_the_others(order: Shape) -> None:
    shape, spacing = np.array([90, 64, 14]), np.array([0.8, 1.1, 5.0])
    plan = plan_of(((90, 64, 14), (0.8, 1.1, 5.0)))
    a, b, c = order
    other = plan_of(
        (
            (int(shape[a]), int(shape[b]), int(shape[c])),
            (float(spacing[a]), float(spacing[b]), float(spacing[c])),
        )
    )
    assert other.patch == tuple(plan.patch[n] for n in order)
    assert other.strides == tuple(tuple(s[n] for n in order) for s in plan.strides)


def test_features_double_from_the_width_and_stop_at_twenty_times() -> None:
    plan = plan_of(((200, 200, 200), (1.0, 1.0, 1.0)), voxels=10**7)
    assert plan.features[:3] == (8, 16, 32)
    assert max(plan.features) <= 160


def test_the_spacing_of_most_cases_is_the_spacing_of_the_plan() -> None:
    usual = ((60, 60, 30), (1.0, 1.0, 2.5))
    plan = plan_of(usual, usual, ((50, 50, 200), (0.5, 0.5, 0.5)))
    assert plan.spacing_mm == (1.0, 1.0, 2.5)


def test_the_window_holds_nearly_all_samples_of_all_cases() -> None:
    values = np.random.default_rng(0).normal(40, 200, 4000)
    plan = plan_of(((40, 40, 40), (1.0, 1.0, 1.0)), samples=tuple(values.tolist()))
    window = plan.intensity["CT"]
    assert 0.985 < ((values >= window.low) & (values <= window.high)).mean() < 1
    assert np.isclose(window.mean, 40, atol=15)
    assert np.isclose(window.std, 200, rtol=0.1)


def test_a_plan_is_the_same_after_it_was_written_and_read() -> None:
    plan = make_plan(
        [Fingerprint((40, 44, 12), (0.7, 0.7, 5.0), {"CT": (-3.0, 5.0, 400.0)})],
        ("CT", "PET"),
        LABELS,
        options=replace(OPTIONS, attention="additive"),
        optional_channels=("PET",),
    )
    written = json.loads(json.dumps(plan.to_json()))
    assert Plan.from_json(written) == plan
    del written["attention"]  # as plans were written before there was any
    assert Plan.from_json(written) == replace(plan, attention="")


@pytest.mark.parametrize(
    "turn", [Turn((2, 0, 1), (True, False, True)), Turn((1, 0, 2), (False,) * 3)]
)
def test_a_fingerprint_does_not_depend_on_how_the_image_is_stored(turn: Turn) -> None:
    image = scan(slanted_grid(), 0)
    other = Volume(turn.apply(image.voxels), image.grid.turned(turn), "HU")
    one, two = (fingerprint(Case("c", {"CT": v}), np.random.default_rng(0)) for v in (image, other))
    assert one.shape == two.shape
    assert np.allclose(one.spacing_mm, two.spacing_mm)
    assert set(two.samples["CT"]) <= set(image.voxels.ravel().tolist())


def test_only_channels_in_hounsfield_units_are_sampled() -> None:
    image = scan(slanted_grid(), 0)
    case = Case("c", {"CT": image, "MR": Volume(image.voxels, image.grid)})
    found = fingerprint(case, np.random.default_rng(0), samples=50)
    assert set(found.samples) == {"CT"}
    assert len(found.samples["CT"]) == 50


def test_a_window_in_hu_takes_the_place_of_what_was_measured() -> None:
    seen = Fingerprint((40, 40, 40), (1.0, 1.0, 1.0), {"CT": (-1000.0, 40.0, 60.0, 900.0)})
    options = replace(OPTIONS, hu_window=(-160.0, 240.0))
    window = make_plan([seen], ("CT",), LABELS, options=options).intensity["CT"]
    assert (window.low, window.high) == (-160, 240)
    assert window.mean == pytest.approx(np.mean([-160, 40, 60, 240]))
    assert window.std == pytest.approx(np.std([-160, 40, 60, 240]))


def showing(shape: Shape, spacing: Spacing, span_mm: Spacing) -> Plan:
    options = replace(OPTIONS, span_mm=span_mm)
    return make_plan([Fingerprint(shape, spacing, {})], ("CT",), LABELS, options=options)


def test_a_patch_that_shows_the_labels_together_leaves_the_spacing_as_it_is() -> None:
    for shape, spacing in (((40, 44, 36), (1.0, 1.0, 1.0)), ((300, 300, 15), (0.7, 0.7, 5.0))):
        near = showing(shape, spacing, (20.0, 20.0, 20.0))
        assert near.to_json() == plan_of((shape, spacing)).to_json()


def test_thin_pixels_are_coarsened_until_a_patch_shows_the_labels_together() -> None:
    shape, spacing = (224, 224, 15), (0.75, 0.75, 5.0)
    plan = showing(shape, spacing, (95.0, 80.0, 60.0))
    assert plan.spacing_mm[2] == 5
    assert 1.0 < plan.spacing_mm[0] == plan.spacing_mm[1] <= 1.5
    reach = np.array(plan.patch) * plan.spacing_mm
    assert (reach >= np.array((95.0, 80.0, 60.0)) * 1.1).all()
    assert reach[0] > 1.3 * plan_of((shape, spacing)).patch[0] * spacing[0]


@given(
    shape=st.tuples(*[st.integers(4, 400)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    span=st.tuples(*[st.floats(0, 900)] * 3),
)
@settings(deadline=None, max_examples=60)
def test_no_spacing_is_made_finer_or_coarser_than_twice(
    shape: Shape, spacing: Spacing, span: Spacing
) -> None:
    plan = showing(shape, spacing, span)
    ratio = np.array(plan.spacing_mm) / spacing
    assert (ratio > 0.999).all()
    assert (ratio < 2.001).all()
    assert np.prod(plan.patch) <= OPTIONS.patch_voxels


def test_the_span_of_a_box_is_its_size_and_hardly_grows_by_a_far_voxel() -> None:
    box = np.zeros((60, 40, 30), bool)
    assert span_of(box, np.ones(3)) is None
    box[5:35, 10:30, 10:20] = True
    assert span_of(box, np.array([1.0, 1.0, 5.0])) == pytest.approx((30, 20, 50), rel=0.01)
    box[59, 39, 29] = True
    assert span_of(box, np.array([1.0, 1.0, 5.0])) == pytest.approx((30, 20, 50), rel=0.03)
