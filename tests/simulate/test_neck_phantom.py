"""A neck of which CT and MR show different parts: neither tells alone what is a tumour."""

import numpy as np
import pytest
from jaxtyping import Bool
from scipy import ndimage

from voxhint.core import Case
from voxhint.simulate.neck_phantom import TUMOUR, tumour_case

SEEDS = range(6)


def neck(seed: int, shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Case:
    return tumour_case(np.random.default_rng(seed), name="neck", shift_mm=shift_mm)


def truth(case: Case) -> Bool[np.ndarray, "i j k"]:
    assert case.truth is not None
    return np.asarray(case.truth.ids == TUMOUR.ids[1])


def bright(case: Case, channel: str) -> Bool[np.ndarray, "i j k"]:
    """Return what is brighter than muscle in one modality, bone, fat and rims left out."""
    ct, mr = (case.images[name].voxels for name in ("CT", "MR"))
    soft = ndimage.binary_erosion((ct > -20) & (ct < 170), iterations=2)
    muscle = float(np.median(mr[soft]))
    shown = ct > 76 if channel == "CT" else mr > 1.3 * muscle
    return np.asarray(ndimage.binary_opening(shown & soft))


def test_one_seed_gives_one_patient() -> None:
    first, again, other = neck(1), neck(1), neck(2)
    for name, image in first.images.items():
        assert np.array_equal(image.voxels, again.images[name].voxels)
        assert not np.array_equal(image.voxels, other.images[name].voxels)
    assert np.array_equal(truth(first), truth(again))


def test_patients_are_pinned() -> None:
    cases = [neck(seed) for seed in SEEDS]
    voxels = np.mean([truth(case).sum() for case in cases])
    images = [[case.images[name].voxels for case in cases] for name in ("CT", "MR")]
    told = [
        (np.mean([v.mean() for v in each]), np.mean([v.std() for v in each])) for each in images
    ]
    assert (*told[0], *told[1], voxels) == pytest.approx(
        (-376.37, 503.20, 591.75, 460.72, 257.0), rel=1e-3
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_patient_has_a_small_tumour_or_two(seed: int) -> None:
    case = neck(seed)
    _, pieces = ndimage.label(truth(case))
    assert pieces in (1, 2)
    ml = truth(case).sum() * case.grid.voxel_mm3 / 1000
    assert 0.4 * pieces < ml < 5 * pieces


def test_each_modality_shows_about_half_and_both_together_nearly_all() -> None:
    shares = []
    for seed in SEEDS:
        case = neck(seed)
        inner = ndimage.binary_erosion(truth(case))
        ct, mr = bright(case, "CT")[inner], bright(case, "MR")[inner]
        shares.append([ct.mean(), mr.mean(), (ct | mr).mean()])
    ct, mr, both = np.mean(shares, 0)
    assert 0.2 < ct < 0.75
    assert 0.2 < mr < 0.75
    assert both > max(ct, mr) + 0.2


@pytest.mark.parametrize("channel", ["CT", "MR"])
def test_what_looks_like_a_half_is_often_none(channel: str) -> None:
    inside = outside = 0
    for seed in SEEDS:
        case = neck(seed)
        near = ndimage.binary_dilation(truth(case), iterations=2)
        lumps, count = ndimage.label(bright(case, channel))
        sizes = ndimage.sum_labels(np.ones_like(lumps), lumps, range(1, count + 1))
        for number in np.flatnonzero(sizes >= 12) + 1:
            touches = bool(near[lumps == number].any())
            inside, outside = inside + touches, outside + (not touches)
    assert inside >= len(SEEDS) - 2
    assert outside >= len(SEEDS) - 2


def test_a_patient_who_moves_does_so_in_the_mr_alone() -> None:
    still, moved = neck(3), neck(3, (4.0, 0.0, 0.0))
    assert np.array_equal(still.images["CT"].voxels, moved.images["CT"].voxels)
    assert np.array_equal(truth(still), truth(moved))
    first, second = (case.images["MR"].voxels for case in (still, moved))
    assert np.corrcoef(first[:-2].ravel(), second[2:].ravel())[0, 1] > 0.97
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.95
    # both headers say the same
    assert moved.images["MR"].grid.same(moved.images["CT"].grid)
