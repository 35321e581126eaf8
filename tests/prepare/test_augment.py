"""Varied batches: repeatable, moved as one, and still an interval of bounds."""

import numpy as np
import pytest
import torch
from torch import Tensor

from voxhint.prepare.augment import augment

SPACING = (1.0, 1.0, 2.0)
PINNED = (1.01825, 0.20798, 0.14728, 0.02999, 0.13463, 0.18223)
"""Peaks of 48 bumps and their spread, means, noise, and where the bumps went: change knowingly."""


def blob(batch: int = 2, shape: tuple[int, int, int] = (20, 18, 12)) -> Tensor:
    """Return a smooth bump off the middle, in [0, 1]."""
    i, j, k = np.indices(shape)
    away = ((i - 12) / 4) ** 2 + ((j - 8) / 4) ** 2 + ((k - 6) / 2.5) ** 2
    bump = torch.from_numpy(np.exp(-0.5 * away).astype(np.float32))
    return bump.expand(batch, 1, *shape).clone()


def bounds(seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ends = torch.rand((2, 2, 3, 20, 18, 12), generator=draw)
    return ends.amin(0), ends.amax(0)


def varied(seed: int, *, mirror: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    belief, plausible = bounds(0)
    rng = np.random.default_rng(seed)
    return augment(blob(), belief, plausible, rng, spacing_mm=SPACING, mirror=mirror)


@pytest.mark.parametrize("mirror", [True, False])
def test_the_same_chance_gives_the_same_batch(mirror: bool) -> None:
    for one, two in zip(varied(3, mirror=mirror), varied(3, mirror=mirror), strict=True):
        assert torch.equal(one, two)


def test_another_chance_gives_another_batch() -> None:
    assert not torch.equal(varied(3)[0], varied(4)[0])


def test_the_patches_of_a_batch_vary_each_in_its_own_way() -> None:
    image = varied(3)[0]
    assert not torch.allclose(image[0], image[1])


@pytest.mark.parametrize("seed", range(8))
def test_bounds_stay_an_interval(seed: int) -> None:
    image, belief, plausible = varied(seed, mirror=seed % 2 == 0)
    assert image.shape == blob().shape
    assert belief.shape == plausible.shape == bounds(0)[0].shape
    assert torch.isfinite(image).all()
    assert belief.min() >= -1e-5
    assert plausible.max() <= 1 + 1e-5
    assert (belief <= plausible + 1e-5).all()


@pytest.mark.parametrize("seed", range(8))
def test_what_lies_beyond_the_patch_is_unknown(seed: int) -> None:
    sure = torch.ones((1, 1, 16, 16, 16))
    rng = np.random.default_rng(seed)
    _, belief, plausible = augment(sure, sure, sure, rng, spacing_mm=SPACING, mirror=False)
    assert torch.allclose(plausible, torch.ones(()))
    none = torch.zeros_like(sure)
    rng = np.random.default_rng(seed)
    _, nothing, ruled_out = augment(none, none, none, rng, spacing_mm=SPACING, mirror=False)
    assert not nothing.any()
    assert torch.allclose(ruled_out, 1 - belief, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_image_and_bounds_move_together(seed: int) -> None:
    field = blob()
    rng = np.random.default_rng(seed)
    image, belief, plausible = augment(
        100 * field, field, 1 - field, rng, spacing_mm=SPACING, mirror=True
    )
    assert torch.allclose(1 - plausible, belief, atol=1e-5)
    for bright, known in zip(image, belief, strict=True):
        assert known.max() > 0.5
        # brightness may change but not the order of bright and dark
        assert bright[known > 0.5].min() > bright[known < 0.25].max()


def test_patches_are_flipped_only_when_asked_to() -> None:
    ramp = torch.linspace(0, 1, 16).reshape(1, 1, 16, 1, 1).expand(1, 1, 16, 16, 16).clone()
    for mirror in (False, True):
        rises = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            _, belief, _ = augment(ramp, ramp, ramp, rng, spacing_mm=(1.0,) * 3, mirror=mirror)
            middle = belief[0, 0, 4:12, 8, 8]
            rises.append(bool(middle[-1] > middle[0]))
        assert all(rises) != mirror


@pytest.mark.parametrize("thick", [0, 1, 2])
def test_thick_slices_are_moved_only_within_themselves(thick: int) -> None:
    sizes = [12, 12, 12]
    levels = torch.arange(12.0).reshape([1, 1, *(12 if axis == thick else 1 for axis in range(3))])
    stack = (levels / 12).expand(1, 1, *sizes).clone()
    spacing = [1.0, 1.0, 1.0]
    for step, moved in ((5.0, False), (1.5, True)):
        spacing[thick] = step
        rng = np.random.default_rng(1)
        i, j, k = spacing
        _, belief, _ = augment(stack, stack, stack, rng, spacing_mm=(i, j, k), mirror=False)
        inner = belief[0, 0, 4:8, 4:8, 4:8]
        same = torch.allclose(inner, stack[0, 0, 4:8, 4:8, 4:8], atol=1e-4)
        assert same != moved


def test_how_much_patches_vary_is_pinned() -> None:
    field = blob(48)
    rng = np.random.default_rng(0)
    image, belief, _ = augment(field, field, field, rng, spacing_mm=SPACING, mirror=True)
    top = image.amax((1, 2, 3, 4))
    edges = image[:, :, 0, 0].std((1, 2))
    told = [top.mean(), top.std(), image.mean(), edges.mean(), belief.mean(), belief.std()]
    assert [float(value) for value in told] == pytest.approx(PINNED, rel=1e-3)
