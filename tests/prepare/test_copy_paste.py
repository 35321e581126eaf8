"""What is lifted from one image is what another gains, and its mask is exact."""

import numpy as np
import pytest
from jaxtyping import Float32
from scipy import ndimage
from tests.classify.test_occlusion_check import LESION, SHAPE, SPACING, ball, scan

from voxhint.prepare.copy_paste import Residual, lifted, paste, places, varied

Image = Float32[np.ndarray, "channel i j k"]


def residual() -> Residual:
    found = lifted(scan(LESION), LESION, spacing_mm=SPACING)
    assert found is not None
    return found


def far_rim(mask: np.ndarray, mm: float) -> np.ndarray:
    """Return the voxels farther than some millimetres from a mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=SPACING) > mm)


def test_a_residual_is_the_lesion_without_its_surroundings() -> None:
    found = residual()
    assert found.inside.sum() == LESION.sum()
    assert found.surround == pytest.approx(0, abs=0.05)
    assert found.added[0][found.inside].mean() == pytest.approx(
        scan(LESION)[0][LESION].mean(), abs=0.05
    )


def test_a_counterfactual_gives_the_difference_itself() -> None:
    image = scan(LESION)
    found = lifted(image, LESION, spacing_mm=SPACING, instead=scan())
    assert found is not None
    assert np.allclose(found.added[0][found.inside], (image - scan())[0][LESION], atol=1e-6)


def test_an_image_gains_the_mass_of_the_residual_and_keeps_its_own() -> None:
    healthy, lesion = scan(), residual()
    for corner in places(healthy, lesion)[::977]:
        pasted, _ = paste(healthy, lesion, corner)
        assert (pasted - healthy).sum() == pytest.approx(lesion.added.sum(), rel=1e-4)


def test_the_mask_lies_where_the_image_changed_and_the_image_only_around_the_mask() -> None:
    healthy, lesion = scan(), residual()
    pasted, mask = paste(healthy, lesion, places(healthy, lesion)[0])
    changed = (pasted != healthy)[0]
    assert mask.sum() == LESION.sum()
    assert (changed & mask).sum() > 0.99 * mask.sum()
    assert not changed[far_rim(mask, 3.1)].any()


def test_lifting_what_was_pasted_gives_it_back() -> None:
    healthy, lesion = scan(), residual()
    pasted, mask = paste(healthy, lesion, np.array([18, 18, 5]))
    again = lifted(pasted, mask, spacing_mm=SPACING, instead=healthy)
    assert again is not None
    assert again.added.sum() == pytest.approx(lesion.added.sum(), rel=0.05)


def test_every_place_holds_the_whole_box() -> None:
    healthy, lesion = scan(), residual()
    corners = places(healthy, lesion)
    assert len(corners) > 100
    assert (corners >= 0).all()
    assert (corners + lesion.inside.shape <= SHAPE).all()


def test_a_lesion_is_pasted_into_tissue_like_its_own_surroundings() -> None:
    half = scan()
    half[:, 20:] += 1
    lesion = residual()
    middles = places(half, lesion) + np.array(lesion.inside.shape) // 2
    assert len(middles)
    assert middles[:, 0].max() < 22


def test_what_does_not_fit_has_no_place() -> None:
    assert not len(places(scan()[..., :3], residual()))


def test_nothing_added_changes_nothing() -> None:
    lesion = residual()
    nothing = Residual(0 * lesion.added, lesion.inside, lesion.surround, lesion.cut)
    healthy = scan()
    pasted, _ = paste(healthy, nothing, np.zeros(3, int))
    assert np.array_equal(pasted, healthy)


@pytest.mark.parametrize("region", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_nothing_and_everything_are_not_lifted(region: np.ndarray) -> None:
    assert lifted(scan(region), region, spacing_mm=SPACING) is None


@pytest.mark.parametrize("seed", range(4))
def test_what_a_border_cut_lies_at_a_border_again(seed: int) -> None:
    region = ball(1, 16, 16)
    cut = lifted(scan(region), region, spacing_mm=SPACING)
    assert cut is not None
    assert cut.cut.tolist() == [[True, False], [False, False], [False, False]]
    other = varied(cut, np.random.default_rng(seed), spacing_mm=SPACING)
    corners = places(scan(), other)
    assert set(corners[:, 0]) == {0 if other.cut[0, 0] else SHAPE[0] - other.inside.shape[0]}
    _, mask = paste(scan(), other, corners[0])
    assert mask[0 if other.cut[0, 0] else -1].any()
    assert mask.sum() == other.inside.sum()


def test_what_two_borders_cut_spans_an_image_no_thicker_than_its_own() -> None:
    thin = slice(9, 12)
    slab, region = np.ascontiguousarray(scan(LESION)[..., thin]), LESION[..., thin]
    cut = lifted(slab, region, spacing_mm=SPACING)
    assert cut is not None
    assert cut.cut[2].all()
    assert not len(places(scan()[..., :4], cut))
    for count in (2, 3):
        healthy = np.ascontiguousarray(scan()[..., :count])
        corners = places(healthy, cut)
        assert set(corners[:, 2]) == set(range(count - 3, 1))
        _, mask = paste(healthy, cut, corners[0])
        assert mask.any((0, 1)).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_varied_lesion_keeps_its_shape_in_millimetres(seed: int) -> None:
    lesion, rng = residual(), np.random.default_rng(seed)
    other = varied(lesion, rng, spacing_mm=SPACING)
    ratio = other.inside.sum() / lesion.inside.sum()
    assert 0.2 < ratio < 5
    assert other.added.sum() / lesion.added.sum() == pytest.approx(ratio, rel=0.5)
    wide = np.argwhere(other.inside) * SPACING
    extents = np.sqrt(np.linalg.eigvalsh(np.cov(wide.T)))
    assert extents.max() / extents.min() < 1.35  # a ball stays a ball, whatever the spacing


def test_two_variations_differ_and_one_seed_gives_one() -> None:
    first, again, other = (
        varied(residual(), np.random.default_rng(seed), spacing_mm=SPACING) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.added, again.added)
    assert first.added.shape != other.added.shape or not np.array_equal(first.added, other.added)
