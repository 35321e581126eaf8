"""Saliency maps: known sums, known theorems, known places; the network left as it was."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float32
from tests.classify.networks import (
    Tiny,
    Triple,
    blob_image,
    made_even,
    made_positive,
    noise_image,
)
from torch import Tensor

from voxhint.classify.gradient_saliency import METHODS, Settings, saliency_map
from voxhint.core.errors import BadRecipeError

QUICK = Settings(samples=6)


def ask(
    method: str, net: Tiny, image: Tensor, *, settings: Settings = QUICK, seed: int = 0
) -> Float32[np.ndarray, "i j k"]:
    return saliency_map(method, net, image, 1, rng=np.random.default_rng(seed), settings=settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_map_has_a_number_for_each_voxel(method: str, channels: int) -> None:
    found = ask(method, Tiny(channels=channels), noise_image(channels=channels))
    assert found.shape == (9, 13, 17)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.std() > 0


@pytest.mark.parametrize("method", METHODS)
def test_the_network_and_the_image_are_left_as_they_were(method: str) -> None:
    net, image = Tiny(dropout=0.5), noise_image()
    net.train()
    net.convs[0].eval()
    net.head.requires_grad_(requires_grad=False)
    before, weights, pixels = list(net.modules()), deepcopy(net.state_dict()), image.clone()
    modes = [part.training for part in before]
    first = ask(method, net, image)
    assert [part.training for part in net.modules()] == modes
    assert [weight.requires_grad for weight in net.parameters()] == [True] * 4 + [False] * 2
    assert all(weight.grad is None for weight in net.parameters())
    assert all(torch.equal(weights[name], weight) for name, weight in net.state_dict().items())
    assert not any(
        part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in before
    )
    assert torch.equal(image, pixels)
    assert not image.requires_grad
    np.testing.assert_array_equal(ask(method, net, image), first)  # so dropout slept


def test_a_failure_leaves_the_network_as_it_was() -> None:
    net = Tiny().train()
    with pytest.raises(RuntimeError):
        ask("grad-cam++", net, noise_image(channels=2))
    assert net.training


@pytest.mark.parametrize("method", METHODS)
def test_maps_do_not_depend_on_how_many_images_go_through_at_a_time(method: str) -> None:
    net, image = Tiny(), noise_image()
    one, many = (ask(method, net, image, settings=replace(QUICK, batch=n)) for n in (1, 4))
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)


def test_grad_cam_pp_weighs_by_the_closed_form() -> None:
    net, image = Tiny([(1, 1, 1)], pool="mean", features=2), noise_image((5, 6, 7))
    with torch.no_grad():
        net.head.weight[1] = torch.tensor([0.5, -2.0])[:, None, None, None]
        seen = net.features(image[None])[0, 0].numpy()
    slope = 0.5 / seen.size
    alpha = slope**2 / (2 * slope**2 + seen.sum() * slope**3)
    expected = seen.size * alpha * slope * seen
    np.testing.assert_allclose(ask("grad-cam++", net, image), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_head_without_weights_gives_no_saliency(method: str) -> None:
    net = Tiny()
    with torch.no_grad():
        net.head.weight.zero_()
    assert not ask(method, net, noise_image()).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flipped_image_gives_the_flipped_map(method: str, axis: int) -> None:
    net, image = made_even(Tiny()), noise_image()  # 9 13 17: the last voxel is a place, too
    still = replace(QUICK, noise=0.0)
    flipped = ask(method, net, image.flip(axis + 1), settings=still)
    expected = ask(method, net, image, settings=still)
    np.testing.assert_allclose(np.flip(flipped, axis), expected, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strides", [[(1, 2, 2)], [(1, 2, 2), (2, 2, 2)], [(2, 2, 1), (2, 2, 1)]])
def test_the_map_lies_where_the_blob_is(method: str, strides: list[Triple]) -> None:
    shape, centre = (17, 19, 21), (7, 10, 11)
    net = made_even(made_positive(Tiny(strides, pool="max", features=3)))
    found = ask(method, net, blob_image(shape, centre), settings=replace(QUICK, noise=0.01))
    index = np.indices(shape).reshape(3, -1)
    mass = np.average(index, axis=1, weights=np.clip(found, 0, None).ravel())
    assert (np.abs(mass - centre) <= np.array(net.strides) / 2).all()


@pytest.mark.parametrize("shape", [(9, 13, 17), (10, 14, 18), (12, 16, 20), (3, 5, 2)])
def test_places_are_carried_to_the_voxels_they_look_at(shape: Triple) -> None:
    net = Tiny(features=1, linear=True)
    with torch.no_grad():
        for weight in net.parameters():
            weight.zero_()
        for conv in net.convs:
            conv.weight[..., 1, 1, 1] = 1  # the voxel in the middle of the kernel, as it is
        net.head.weight.fill_(1)
    ramp = sum((n + 1) * axis for n, axis in enumerate(np.indices(shape).astype(np.float32)))
    found = ask("grad-cam++", net, torch.from_numpy(np.asarray(ramp))[None])
    last = [(n - 1) // stride * stride for n, stride in zip(shape, net.strides, strict=True)]
    held = np.minimum(np.indices(shape), np.reshape(last, (3, 1, 1, 1)))
    expected = np.tensordot([1.0, 2.0, 3.0], held, 1)
    np.testing.assert_allclose(found * expected.max() / found.max(), expected, atol=1e-3)


def test_strides_that_are_not_the_network_s_are_refused() -> None:
    net = Tiny()
    net.strides = (2, 2, 2)
    with pytest.raises(ValueError, match=r"\(9, 13, 17\) voxels gave \(5, 4, 5\) places"):
        ask("grad-cam++", net, noise_image())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_blob_gives_the_same_saliency_in_a_larger_image(method: str) -> None:
    net, settings = made_positive(Tiny(pool="max")), replace(QUICK, noise=0.0)
    small, large = (blob_image((n, n, n), (8, 8, 8), width=1.0) for n in (20, 24))
    found = ask(method, net, large, settings=settings)[:16, :16, :16]
    expected = ask(method, net, small, settings=settings)[:16, :16, :16]
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())


def test_smooth_grad_follows_its_generator() -> None:
    net, image = Tiny(), noise_image()
    first, again, other = (ask("smooth-grad", net, image, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match="give it a generator"):
        saliency_map("smooth-grad", net, image, 1)


def test_the_noise_is_a_share_of_each_channel_s_own_range() -> None:
    net, image = Tiny(channels=2), noise_image(channels=2)
    scaled = deepcopy(net)
    with torch.no_grad():
        scaled.convs[0].weight[:, 1] /= 1000
    louder = image * torch.tensor([1.0, 1000.0])[:, None, None, None]
    one = ask("smooth-grad", net, image)
    two = ask("smooth-grad", scaled, louder)
    assert (two <= one + 1e-5).all()  # slopes by the louder channel are 1000 times smaller
    assert np.isclose(two, one, rtol=1e-3).mean() > 0.2  # where the other channel is the steepest


def test_widths_are_in_millimetres() -> None:
    net, image = Tiny(), noise_image()
    thick = replace(QUICK, spacing_mm=(1.0, 1.0, 6.0), smooth_mm=1.0)
    doubled = replace(QUICK, spacing_mm=(2.0, 2.0, 12.0), smooth_mm=2.0)
    first, second = (ask("smooth-grad", net, image, settings=how) for how in (thick, doubled))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, ask("smooth-grad", net, image), atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_last_blur_keeps_the_sum_and_leaves_maps_of_places_alone(method: str) -> None:
    net, image = Tiny(), noise_image()
    sharp, soft = (
        ask(method, net, image, settings=replace(QUICK, smooth_mm=mm)) for mm in (0.0, 1.5)
    )
    if METHODS[method].per_place:
        np.testing.assert_array_equal(soft, sharp)
    else:
        assert soft.sum() == pytest.approx(sharp.sum(), abs=1e-3)
        assert soft.std() < sharp.std()


def test_every_method_tells_its_unit() -> None:
    assert all("logit" in method.unit for method in METHODS.values())


def test_an_unknown_method_is_told_the_names() -> None:
    with pytest.raises(BadRecipeError) as told:
        ask("grad-cam+", Tiny(), noise_image())
    assert "'grad-cam+' is unknown" in str(told.value)
    assert "\n" not in str(told.value)
    assert all(name in str(told.value) for name in METHODS)
