"""The flow network answers a velocity for every voxel, and hears of noise level and tags."""

import pytest
import torch
from torch import Tensor

from voxhint.flow import Velocity
from voxhint.nets import FlowUNet
from voxhint.nets.flow_unet import ABSENT, PRESENT, UNKNOWN, _FlowOutput

STRIDES = ((1, 1, 1), (2, 2, 1), (2, 2, 2))
KERNELS = ((3, 3, 1), (3, 3, 3), (3, 3, 3))


def net(*, trained: bool = True, channels: int = 1) -> FlowUNet:
    """Return a small network; a trained one has weights that are nowhere 0."""
    torch.manual_seed(0)
    made = FlowUNet(
        channels=channels, labels=2, strides=STRIDES, kernels=KERNELS, features=(8, 8, 16)
    )
    if trained:
        with torch.no_grad():
            for weight in made.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return made.eval().requires_grad_(requires_grad=False)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def said(one: FlowUNet, z: Tensor, s: Tensor, told: Tensor) -> Tensor:
    """Return the velocity alone."""
    answer: _FlowOutput = one(z, s, told)
    return answer.velocity


def tags(*states: int, batch: int = 1) -> Tensor:
    return torch.tensor([states]).expand(batch, -1)


def test_at_birth_the_velocity_is_a_multiple_of_the_point_whatever_the_tags() -> None:
    z = noise(2, 1, 8, 8, 4)
    one = net(trained=False)
    s = torch.tensor([0.2, 0.9])
    first = said(one, z, s, tags(ABSENT, PRESENT, batch=2))
    assert torch.equal(first, said(one, z, s, tags(UNKNOWN, UNKNOWN, batch=2)))
    ratio = (first / z).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


def test_at_birth_the_image_keeps_what_it_is_and_pure_noise_is_taken_away() -> None:
    z = noise(1, 1, 8, 8, 4)
    one = net(trained=False)
    torch.testing.assert_close(said(one, z, torch.zeros(1), tags(0, 0)), z)
    torch.testing.assert_close(said(one, z, torch.ones(1), tags(0, 0)), -z)


@pytest.mark.parametrize("shape", [(8, 8, 2), (7, 9, 3), (1, 1, 1), (13, 4, 5)])
def test_images_of_any_size_are_answered_in_their_size(shape: tuple[int, int, int]) -> None:
    z = noise(2, 3, *shape)
    answer = said(net(channels=3), z, torch.tensor([0.3, 0.6]), tags(0, 1, batch=2))
    assert answer.shape == z.shape
    assert torch.isfinite(answer).all()


def test_the_answer_depends_on_noise_level_and_on_the_state_of_every_label() -> None:
    one, z = net(), noise(1, 1, 8, 8, 4)
    answers = [
        said(one, z, torch.tensor([s]), tags(*states))
        for s, states in ((0.5, (0, 1)), (0.6, (0, 1)), (0.5, (1, 1)), (0.5, (0, 2)), (0.5, (1, 0)))
    ]
    for number, first in enumerate(answers):
        for second in answers[number + 1 :]:
            assert not torch.allclose(first, second, atol=1e-4)


def test_samples_of_a_batch_do_not_mix() -> None:
    one, z, s = net(), noise(2, 1, 8, 8, 4), torch.tensor([0.4, 0.8])
    told = torch.tensor([[ABSENT, UNKNOWN], [PRESENT, ABSENT]])
    both = said(one, z, s, told)
    torch.testing.assert_close(both[1:], said(one, z[1:], s[1:], told[1:]), atol=1e-5, rtol=1e-4)


def test_what_is_moved_by_whole_blocks_is_answered_moved() -> None:
    one, z = net(), noise(1, 1, 96, 8, 4)
    s, told = torch.tensor([0.5]), tags(PRESENT, ABSENT)
    moved, inside = said(one, z.roll(4, 2), s, told), (..., slice(44, 52), slice(None), slice(None))
    torch.testing.assert_close(
        moved[inside], said(one, z, s, told).roll(4, 2)[inside], atol=1e-4, rtol=1e-3
    )


def test_a_crop_is_answered_as_the_whole_away_from_its_border() -> None:
    one, z = net(), noise(1, 1, 120, 8, 4)
    s, told = torch.tensor([0.5]), tags(PRESENT, ABSENT)
    whole, crop = said(one, z, s, told), said(one, z[:, :, :80], s, told)
    torch.testing.assert_close(crop[:, :, :36], whole[:, :, :36], atol=1e-4, rtol=1e-3)


def test_gradients_reach_the_image_and_every_weight() -> None:
    one = net().requires_grad_()
    z = noise(1, 1, 8, 8, 4).requires_grad_()
    velocity, presence = one(z, torch.tensor([0.5]), tags(PRESENT, UNKNOWN))
    (velocity.square().sum() + presence.square().sum()).backward()
    assert z.grad is not None
    assert float(z.grad.abs().sum()) > 0
    for name, weight in one.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().sum()) > 0, name


def test_told_its_tags_it_is_a_velocity() -> None:
    one = net()
    told = tags(PRESENT, UNKNOWN)

    def velocity(z: Tensor, s: Tensor, /) -> Tensor:
        return said(one, z, s, told.expand(len(z), -1))

    assert isinstance(velocity, Velocity)


def test_presence_is_told_without_hearing_the_tags() -> None:
    one, z, s = net(), noise(1, 1, 8, 8, 4), torch.tensor([0.4])
    first, second = (one(z, s, tags(*states)).label_logits for states in ((0, 1), (1, 2)))
    assert torch.equal(first, second)
    assert not torch.allclose(first, one(z + 1, s, tags(0, 1)).label_logits, atol=1e-4)
