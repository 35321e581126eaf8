"""A region is believed if a classifier misses it: planted lesions, a classifier in closed form."""

import numpy as np
import pytest
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.classify.occlusion_check import swap_test, without

SHAPE, SPACING = (40, 40, 20), (0.8, 0.8, 1.6)
Image = Float32[np.ndarray, "channel i j k"]
Region = Bool[np.ndarray, "i j k"]


def ball(*middle_mm: float, radius_mm: float = 4.0) -> Region:
    places = np.indices(SHAPE).T * np.array(SPACING)
    return np.asarray(radius_mm >= np.linalg.norm(places - middle_mm, axis=-1).T)


LESION, OTHER, VESSEL = ball(8, 8, 16), ball(24, 24, 16), ball(8, 24, 16)


def scan(*lesions: Region) -> Image:
    """Return noisy air with lesions of density 1, blurred as by a scanner."""
    body = np.zeros(SHAPE, np.float32)
    for lesion in lesions:
        body += ndimage.gaussian_filter(lesion.astype(np.float32), 0.6 / np.array(SPACING))
    return (body + np.random.default_rng(0).normal(0, 0.03, SHAPE).astype(np.float32))[None]


def sees(image: Image) -> float:
    """Return the logit of a classifier that looks for dense balls of 3 mm, one being enough."""
    local = ndimage.gaussian_filter(image[0], 3.0 / np.array(SPACING))
    return float(np.log(np.exp(20 * (local - 0.2)).sum()))


def tried(image: Image, *regions: Region) -> tuple[int, ...]:
    return swap_test(image, regions, sees, spacing_mm=SPACING).kept


def test_the_lesion_is_kept_and_a_place_without_one_is_not() -> None:
    assert tried(scan(LESION), OTHER, LESION) == (1,)


def test_each_of_two_lesions_is_kept_though_either_would_be_enough() -> None:
    assert set(tried(scan(LESION, OTHER), LESION, VESSEL, OTHER)) == {0, 2}


def test_the_most_missed_region_comes_first() -> None:
    image = scan(ball(8, 8, 16, radius_mm=3.0), OTHER)
    verdict = swap_test(image, [LESION, OTHER], sees, spacing_mm=SPACING)
    assert verdict.kept[0] == 1
    assert verdict.effects[1] > verdict.effects[0] > 0


def test_where_the_classifier_sees_nothing_no_region_is_kept() -> None:
    assert tried(scan()[:, :, ::-1] * 0, LESION, OTHER) == ()


def test_no_region_is_no_verdict() -> None:
    verdict = swap_test(scan(LESION), [], sees, spacing_mm=SPACING)
    assert verdict.kept == verdict.effects == ()
    assert verdict.whole == 0


def test_grown_surroundings_look_like_no_lesion() -> None:
    gone = without(scan(LESION), LESION, spacing_mm=SPACING)
    assert abs(gone[0][LESION].mean()) < 0.1
    assert sees(gone) == pytest.approx(sees(scan()), abs=0.5)


def test_the_image_changes_only_at_the_region_and_without_a_seam() -> None:
    image = scan(LESION)
    gone = without(image, LESION, spacing_mm=SPACING)
    changed = np.abs(gone - image)[0]
    assert changed[LESION].mean() > 0.5
    assert not changed[~ball(8, 8, 16, radius_mm=8.0)].any()
    steps = [np.abs(np.diff(gone[0], axis=axis)).max() for axis in range(3)]
    assert max(steps) < max(np.abs(np.diff(image[0], axis=axis)).max() for axis in range(3))


def test_a_wall_beside_the_lesion_grows_back_as_wall() -> None:
    image = scan(LESION)
    image[0, :10] += 1
    gone = without(image, LESION, spacing_mm=SPACING)[0, :, 10, 10]
    assert (gone[:8] > 0.8).all()
    assert (gone[12:] < 0.2).all()


@pytest.mark.parametrize("region", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_nothing_and_everything_cannot_be_taken_away(region: Region) -> None:
    image = scan(LESION)
    assert np.array_equal(without(image, region, spacing_mm=SPACING), image)
