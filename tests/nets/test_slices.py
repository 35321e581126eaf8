"""Slices as pictures: places lie on voxels, and pictures do not mix."""

import numpy as np
import pytest
import torch
from tests.classify.networks import noise_image
from torch import Tensor, nn

from voxhint.classify.gradient_saliency import METHODS, Settings, _Network, saliency_map
from voxhint.nets.classifier import ClassifierNet
from voxhint.nets.pretrained import slice_classifier
from voxhint.nets.slices import Slices


class Picker(nn.Module):
    """A backbone whose places are pixels: each stride-th one, its channels as they are."""

    size, stride, features, span = 32, 4, 3, (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, pictures: Tensor) -> Tensor:  # type: ignore[explicit-override]
        found: Tensor = self.norm(self.gain * pictures)[..., :: self.stride, :: self.stride]
        return found


def slices(backbone: nn.Module | None = None, *, edge: int = 8, tune: bool = True) -> Slices:
    window = (-2.0, 2.0)
    return Slices(backbone or Picker(), patch=(edge, edge - 1, 5), window=window, tune=tune)


def image(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.rand(1, 1, *(shape or (8, 7, 5)), generator=torch.Generator().manual_seed(seed))
    return 4 * drawn - 2


@pytest.mark.parametrize(("edge", "zoom", "stride"), [(8, 4, 1), (9, 2, 2), (17, 1, 4), (60, 1, 4)])
def test_pictures_are_enlarged_as_far_as_the_backbone_knows_them(
    edge: int, zoom: int, stride: int
) -> None:
    body = slices(edge=edge)
    assert (body.zoom, body.strides) == (zoom, (stride, stride, 1))


@pytest.mark.parametrize("edge", [8, 9, 17])
@pytest.mark.parametrize("shape", [(8, 7, 5), (11, 6, 1), (1, 13, 2)])
def test_place_o_looks_at_voxel_strides_times_o(edge: int, shape: tuple[int, int, int]) -> None:
    body = slices(edge=edge)
    shown = image(*shape)
    found = body(shown)
    step = body.strides[0]
    expected = ((shown + 2) / 4)[0, 0, ::step, ::step]
    # the normalisation of the backbone divides by sqrt(1 + 1e-5)
    torch.testing.assert_close(found[0, 1], expected, rtol=1e-4, atol=1e-4)


def test_the_channels_are_a_slice_and_its_neighbours() -> None:
    shown = image()
    before, middle, after = slices()(shown)[0]
    torch.testing.assert_close(before[..., 1:], middle[..., :-1])
    torch.testing.assert_close(after[..., :-1], middle[..., 1:])
    torch.testing.assert_close(before[..., 0], middle[..., 0])
    torch.testing.assert_close(after[..., -1], middle[..., -1])


def test_values_beyond_the_window_are_shown_as_its_ends() -> None:
    body = slices()
    torch.testing.assert_close(body(image() * 9), body((image() * 9).clamp(-2, 2)))


def test_images_of_a_batch_do_not_mix_even_in_training() -> None:
    body = slices().train()
    both = body(torch.cat([image(seed=1), image(seed=2)]))
    torch.testing.assert_close(both[:1], body(image(seed=1)))
    torch.testing.assert_close(both[1:], body(image(seed=2)))


def test_many_slices_are_seen_as_few_are() -> None:
    shown = image(4, 4, 30)
    torch.testing.assert_close(slices()(shown)[..., 10:13], slices()(shown[..., 9:14])[..., 1:4])


def test_gradients_reach_image_and_backbone_and_a_kept_one_gets_none() -> None:
    for tune in (True, False):
        backbone, shown = Picker(), image().requires_grad_()
        torch.autograd.backward(slices(backbone, tune=tune)(shown).square().sum())
        assert shown.grad is not None
        assert float(shown.grad.abs().sum()) > 0
        assert (backbone.gain.grad is not None) == tune


@pytest.mark.parametrize("mode", [None, True, False])
def test_what_the_backbone_knows_of_pictures_never_changes(*, mode: bool | None) -> None:
    backbone = Picker()
    body = slices(backbone)
    if mode is not None:
        body.train(mode)
    body(image())
    assert backbone.norm.num_batches_tracked == 0


def test_a_network_that_tells_nothing_of_itself_is_no_backbone() -> None:
    with pytest.raises(TypeError, match="Linear is no backbone"):
        Slices(nn.Linear(1, 1), patch=(8, 8, 5), window=(0.0, 1.0), tune=True)


def classifier() -> ClassifierNet:
    torch.manual_seed(0)
    return slice_classifier(
        Picker(),
        labels=("a", "b"),
        patch=(9, 9, 5),
        window=(-2.0, 2.0),
        pooling="lse",
        fine_tune=False,
    ).eval()


def test_it_is_a_classifier_as_labelling_asks_for() -> None:
    net = classifier()
    assert isinstance(net, _Network)
    evidence = net.score_map(net.features(image(9, 8, 5)))
    assert evidence.shape == (1, 2, 5, 4, 5)
    torch.testing.assert_close(net(image(9, 8, 5)), net.pool(evidence))


def test_only_slices_of_the_bag_count() -> None:
    net, shown = classifier(), image(9, 8, 5)
    inside = torch.zeros(1, 2, 9, 8, 5)
    inside[..., 1:3] = 1
    evidence = net.score_map(net.features(shown))
    torch.testing.assert_close(net(shown, inside), net.pool(evidence[..., 1:3]))


@pytest.mark.parametrize("method", METHODS)
def test_every_saliency_map_can_be_asked_for(method: str) -> None:
    found = saliency_map(
        method,
        classifier(),
        noise_image((9, 8, 5)),
        1,
        rng=np.random.default_rng(0),
        settings=Settings(samples=2),
    )
    assert found.shape == (9, 8, 5)
    assert np.isfinite(found).all()
    assert found.std() > 0
