"""What is pasted is a lesion where it is said to be, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from voxhint.training.batches import Batch
from voxhint.training.lesion_pasting import paste_lesions

SPACING = (0.7, 0.7, 1.25)
SHAPE = (40, 40, 12)
MIDDLE = (15.0, 22.0, 6.0)
RADIUS_MM = 4.0


def ball(middle: tuple[float, float, float] = MIDDLE, radius_mm: float = RADIUS_MM) -> Tensor:
    lines = [(np.arange(n) - m) * s for n, m, s in zip(SHAPE, middle, SPACING, strict=True)]
    i, j, k = np.meshgrid(*lines, indexing="ij")
    return torch.from_numpy(np.asarray(i**2 + j**2 + k**2 <= radius_mm**2))


def batch(patches: int = 2, channels: int = 1, sure: float = 0.8) -> Batch:
    """Return patches of which the first shows a lesion of value 3 on 1, and the others are 1."""
    image = torch.ones(patches, channels, *SHAPE)
    belief = torch.zeros(patches, 2, *SHAPE)
    image[0, :, ball()] = 3
    belief[0, 1] = sure * ball()
    belief[0, 0] = sure * ~ball()
    belief[1:, 0] = sure
    plausible = belief + 1 - sure
    return Batch(image, belief, plausible, torch.ones(patches, 1, *SHAPE))


def pasted(given: Batch, seed: int = 0, labels: tuple[int, ...] = (1,)) -> Batch:
    return paste_lesions(given, labels, np.random.default_rng(seed), spacing_mm=SPACING)


SEEDS = range(40)


def test_half_of_the_patches_without_a_lesion_get_one() -> None:
    got = [bool(pasted(batch(), seed).belief[1, 1].max() > 0.3) for seed in SEEDS]
    assert 0.3 <= np.mean(got) <= 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lesion_is_where_it_is_said_to_be(seed: int) -> None:
    made = pasted(batch(), seed)
    there = made.belief[1, 1] > 0.6
    assert (made.image[1, 0][there] > 1.3).all()  # the faintest keep a third of their contrast
    elsewhere = made.belief[1, 1] < 0.01
    assert made.image[1, 0][elsewhere].max() < 2.2  # half a voxel of rim at most


def test_lesions_are_smaller_than_where_they_come_from_more_often_than_larger() -> None:
    volumes = [float(pasted(batch(), seed).belief[1, 1].sum()) for seed in SEEDS]
    ratios = np.array([v for v in volumes if v]) / float(batch().belief[0, 1].sum())
    assert ratios.max() < 1.1**3 * 1.1
    assert np.median(ratios) < 0.8


def test_every_second_is_fainter() -> None:
    tops = [float(pasted(batch(), seed).image[1].max()) for seed in range(120)]
    shown = np.array([top for top in tops if top > 1.05])
    assert 0.25 <= np.mean(shown < 2.7) <= 0.75


@pytest.mark.parametrize("seed", SEEDS)
def test_claims_stay_claims(seed: int) -> None:
    made = pasted(batch(3), seed)
    assert (made.belief <= made.plausible + 1e-5).all()
    assert (made.belief.sum(1) <= 1 + 1e-5).all()
    assert made.belief.min() >= -1e-6
    assert made.plausible.max() <= 1 + 1e-5


def test_patches_that_show_a_lesion_stay_as_they_are() -> None:
    given = batch(3)
    for seed in SEEDS:
        made = pasted(given, seed)
        assert torch.equal(made.image[0], given.image[0])
        assert torch.equal(made.belief[0], given.belief[0])


def test_the_same_chance_gives_the_same_batch_and_what_was_given_does_not_change() -> None:
    given, before = batch(4), batch(4)
    one, two = pasted(given, 3), pasted(given, 3)
    assert torch.equal(one.image, two.image)
    assert not torch.equal(one.image, given.image)
    assert torch.equal(given.image, before.image)
    assert torch.equal(given.plausible, before.plausible)


@pytest.mark.parametrize("sure", [0.0, 0.25])
def test_what_is_hardly_believed_is_not_copied(sure: float) -> None:
    given = batch(sure=sure)
    for seed in SEEDS:
        assert torch.equal(pasted(given, seed).image, given.image)


def test_labels_that_may_not_lie_anywhere_are_not_copied() -> None:
    given = batch()
    other = torch.zeros_like(given.belief[:, :1])
    wide = replace(
        given,
        belief=torch.cat([given.belief, other], 1),
        plausible=torch.cat([given.plausible, other], 1),
    )
    for seed in SEEDS:
        assert torch.equal(pasted(wide, seed, labels=(2,)).image, wide.image)


def test_a_lesion_is_put_where_it_looks_like_its_surround() -> None:
    given = batch()
    image = given.image.clone()
    image[1, :, 20:] = 9
    places = []
    for seed in range(80):
        believed = pasted(replace(given, image=image), seed).belief[1, 1]
        if believed.max() > 0.3:
            places.append(float((believed.sum((1, 2)) * torch.arange(40)).sum() / believed.sum()))
    assert np.mean(np.array(places) < 20) > 0.85  # of four places all are bright once in sixteen


def test_a_channel_that_the_giver_lacks_is_not_painted_over() -> None:
    given = batch(channels=2)
    image = given.image.clone()
    image[0, 1] = 0
    for seed in SEEDS:
        made = pasted(replace(given, image=image), seed)
        assert torch.equal(made.image, image)


def test_a_channel_that_a_patch_lacks_stays_empty() -> None:
    given = batch(channels=2)
    image = given.image.clone()
    image[1, 1] = 0
    made = [pasted(replace(given, image=image), seed) for seed in SEEDS]
    assert any(bool((one.image[1, 0] > 1.3).any()) for one in made)
    assert not any(bool(one.image[1, 1].any()) for one in made)


def test_a_lesion_that_its_patch_cuts_brings_no_edge_of_the_patch_along() -> None:
    given = batch()
    cut = ball((0.0, 22.0, 0.0))
    image, belief = given.image.clone(), given.belief.clone()
    image[0] = 1 + 2 * cut
    belief[0] = 0.8 * torch.stack([~cut, cut])
    there = Batch(image, belief, belief + 0.2, given.inside)
    for seed in SEEDS:
        made = pasted(there, seed)
        assert made.image.min() > 1 - 1e-4
        assert made.plausible.sum(1).min() > 1.2 - 1e-4
        assert made.belief.sum(1).min() > 0.8 - 1e-4


def test_places_beyond_the_case_get_no_lesion_in_their_middle() -> None:
    given = batch()
    inside = given.inside.clone()
    inside[1, :, :20] = 0
    for seed in SEEDS:
        believed = pasted(replace(given, inside=inside), seed).belief[1, 1]
        if believed.max() > 0.3:
            assert float((believed.sum((1, 2)) * torch.arange(40)).sum() / believed.sum()) > 18


@pytest.mark.parametrize("spacing", [(0.01, 0.01, 0.01), (0.7, 0.7, 5.0), (8.0, 8.0, 8.0)])
@pytest.mark.parametrize("slices", [1, 2])
def test_thin_and_odd_patches_are_pasted_too(
    spacing: tuple[float, float, float], slices: int
) -> None:
    given = batch()
    middle = slice(6, 6 + slices)
    thin = Batch(
        *(
            part[..., middle].contiguous()
            for part in (given.image, given.belief, given.plausible, given.inside)
        )
    )
    got = 0
    for seed in SEEDS:
        made = paste_lesions(thin, [1], np.random.default_rng(seed), spacing_mm=spacing)
        assert made.image.isfinite().all()
        got += bool(made.belief[1, 1].max() > 0.3)
    assert got > 5


def test_what_is_pasted_is_as_it_was() -> None:
    """Whoever changes a constant on purpose writes the new numbers down here."""
    given = batch(4)
    ramp = torch.linspace(0, 1, 40)[:, None, None].expand(SHAPE)
    wide = ball(radius_mm=5.5) & ~ball()
    belief, image = given.belief.clone(), given.image + ramp
    belief[0, 1][wide] = 0.8 * 0.44
    graded = Batch(image, belief, belief + 1 - belief.sum(1, keepdim=True), given.inside)
    found = torch.zeros(3, dtype=torch.float64)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        made = paste_lesions(graded, [1], rng, spacing_mm=(0.5, 0.5, 1.25))
        believed = made.belief[1:, 1].double()
        changed = (made.image[1:] - graded.image[1:]).double()
        found += torch.stack([changed.sum(), believed.sum(), (believed * ramp).sum()])
    assert found.tolist() == pytest.approx([5033.35, 4285.11, 1768.78], rel=1e-3)
