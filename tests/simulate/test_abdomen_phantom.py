from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from voxhint.core import Case, Mask
from voxhint.simulate.abdomen_anatomy import Blob, Places, Waves
from voxhint.simulate.abdomen_phantom import ORGANS, organ_case

SEEDS = range(6)
# generous: what adults and slight or tall people have, in millilitres
VOLUMES_ML = {
    "liver": (600, 2300),
    "spleen": (30, 450),
    "kidney_left": (50, 350),
    "kidney_right": (50, 350),
}


def patient(seed: int, *, oblique: bool = False) -> Case:
    return organ_case(np.random.default_rng(seed), name=f"p{seed}", oblique=oblique)


CASES = [patient(seed) for seed in SEEDS]


def truth_of(case: Case) -> Mask:
    assert case.truth is not None
    return case.truth


def organ(case: Case, label: str) -> np.ndarray:
    truth = truth_of(case)
    return np.asarray(truth.ids == ORGANS.ids[ORGANS.number(label)])


def centre_mm(case: Case, label: str) -> np.ndarray:
    places = case.grid.to_world(np.argwhere(organ(case, label)).astype(np.float64))
    return np.asarray(places.mean(axis=0))


def volume_ml(case: Case, label: str) -> float:
    return float(organ(case, label).sum() * case.grid.voxel_mm3 / 1000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_organs_have_the_volumes_people_have(case: Case) -> None:
    for label, (least, most) in VOLUMES_ML.items():
        assert least < volume_ml(case, label) < most


@pytest.mark.parametrize("oblique", [False, True])
def test_organs_lie_where_they_lie_in_people(oblique: bool) -> None:
    case = patient(1, oblique=oblique)
    liver, spleen = centre_mm(case, "liver"), centre_mm(case, "spleen")
    left, right = centre_mm(case, "kidney_left"), centre_mm(case, "kidney_right")
    # world x runs to the patient's right (RAS), y to the front, z to the head
    assert liver[0] > spleen[0] + 60
    assert right[0] > left[0] + 60
    assert liver[1] > right[1] + 15
    assert liver[2] > right[2]
    assert spleen[2] > left[2]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_spine_lies_behind_the_organs(case: Case) -> None:
    bright = gaussian_filter(case.images["CT"].voxels, 1.5) > 230
    middle = case.grid.to_world(np.argwhere(bright).astype(np.float64))
    liver = centre_mm(case, "liver")
    assert np.median(middle[:, 1]) < liver[1] - 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tissues_have_the_hounsfield_units_of_tissues(case: Case) -> None:
    ct = case.images["CT"].voxels
    medians = {label: float(np.median(ct[organ(case, label)])) for label in ORGANS.foreground}
    assert 75 < medians["liver"] < 140
    assert 75 < medians["spleen"] < 150
    assert 110 < medians["kidney_left"] < 210
    assert ct.min() >= -1024
    assert ct.max() < 1500
    assert -1010 < np.median(ct[0, -1]) < -980  # air beside the belly
    fat = (ct > -140) & (ct < -60)
    assert fat.mean() > 0.05
    assert case.images["CT"].unit == "HU"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_threshold_finds_the_liver(case: Case) -> None:
    ct, liver = gaussian_filter(case.images["CT"].voxels, 0.7), organ(case, "liver")
    best = 0.0
    for low, high in pairwise(np.percentile(ct[liver], [2, 10, 90, 98])):
        best = max(best, _dice(liver, (ct > low) & (ct < high)))
    best = max(best, _dice(liver, (ct > np.percentile(ct[liver], 3)) & (ct < 160)))
    assert best < 0.8


def _dice(one: np.ndarray, two: np.ndarray) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_one_seed_makes_one_patient() -> None:
    one, two = patient(3), patient(3)
    for channel in ("CT", "MR"):
        np.testing.assert_array_equal(one.images[channel].voxels, two.images[channel].voxels)
    np.testing.assert_array_equal(truth_of(one).ids, truth_of(two).ids)


def test_patients_are_pinned() -> None:
    volumes = [np.mean([volume_ml(case, label) for case in CASES]) for label in VOLUMES_ML]
    assert volumes == pytest.approx([1150.099, 149.411, 155.385, 157.174], rel=1e-3)
    for channel, pinned in {"CT": (-352.80, 478.93), "MR": (244.73, 351.19)}.items():
        values = np.concatenate([case.images[channel].voxels.ravel() for case in CASES])
        assert (values.mean(), values.std()) == pytest.approx(pinned, rel=1e-3)


def test_patients_differ() -> None:
    assert len({round(volume_ml(case, "liver")) for case in CASES}) == len(CASES)
    scales = [float(np.median(case.images["MR"].voxels)) for case in CASES]
    assert max(scales) > 2 * min(scales)


def test_a_turned_scan_shows_the_same_patient() -> None:
    straight, turned = patient(4), patient(4, oblique=True)
    assert turned.grid.shape != straight.grid.shape
    assert turned.grid.turn_to_ras().axes != (0, 1, 2)
    for label in ORGANS.foreground:
        assert np.linalg.norm(centre_mm(straight, label) - centre_mm(turned, label)) < 3
        assert volume_ml(turned, label) == pytest.approx(volume_ml(straight, label), rel=0.08)


def test_a_small_field_gets_a_small_patient_with_all_organs() -> None:
    case = organ_case(
        np.random.default_rng(0), name="small", shape=(40, 30, 24), spacing_mm=(3.0, 3.0, 4.0)
    )
    assert case.grid.shape == (40, 30, 24)
    assert set(np.unique(truth_of(case).ids)) == set(ORGANS.ids)


def test_the_depth_in_a_ball_is_the_distance_to_its_border() -> None:
    ball = Blob((3.0, -2.0, 1.0), (20.0, 20.0, 20.0), (30.0, 10.0, 5.0))
    away = np.random.default_rng(0).normal(0, 15, (3, 200)).astype(np.float32)
    places: Places = away + np.array([[3], [-2], [1]], np.float32)
    np.testing.assert_allclose(ball.depth(places), 20 - np.linalg.norm(away, axis=0), atol=0.01)


def test_waves_have_the_promised_size() -> None:
    waves = Waves.draw(np.random.default_rng(0), length_mm=30.0)
    places = np.random.default_rng(1).uniform(-300, 300, (3, 20000)).astype(np.float32)
    assert waves.at(places).std() == pytest.approx(1, abs=0.05)
