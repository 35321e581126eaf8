from dataclasses import replace
from functools import cache

import cc3d
import edt
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from voxhint.core import Case
from voxhint.core.errors import BadRecipeError
from voxhint.simulate.lung_anatomy import Tube
from voxhint.simulate.lung_phantom import NODULE, Patient, lung_case
from voxhint.simulate.nodule import _TEXTURES, Texture
from voxhint.simulate.partial_volume import ALL, Canvas

COARSE = ((34, 34, 5), (0.95, 0.95, 2.4))
WIDE = ((40, 40, 10), (0.95, 0.95, 2.3))  # holds the largest nodule whole


def window(
    seed: int,
    *,
    present: bool = True,
    at: tuple[tuple[int, int, int], tuple[float, float, float]] = COARSE,
    patient: Patient | None = None,
) -> Case:
    shape, spacing = at
    return lung_case(
        np.random.default_rng(seed),
        name=f"w{seed}",
        present=present,
        shape=shape,
        spacing_mm=spacing,
        patient=patient,
    )


def calm_patient() -> Patient:
    return replace(Patient.draw(np.random.default_rng(0)), noise_hu=0.0)


def nodule(case: Case) -> np.ndarray:
    assert case.truth is not None
    return np.asarray(case.truth.ids == NODULE.ids[1])


def hu(case: Case) -> np.ndarray:
    return case.images["CT"].voxels


def diameter_mm(case: Case) -> float:
    return float(np.cbrt(nodule(case).sum() * case.grid.voxel_mm3 * 6 / np.pi))


def centre_mm(case: Case) -> np.ndarray:
    return np.asarray(case.grid.to_world(np.argwhere(nodule(case)).astype(np.float64)).mean(axis=0))


@cache
def present() -> list[Case]:
    return [window(seed) for seed in range(6)]


@cache
def absent() -> list[Case]:
    return [window(seed, present=False) for seed in range(20, 26)]


def test_one_seed_makes_one_window() -> None:
    again = window(3)
    np.testing.assert_array_equal(hu(again), hu(present()[3]))
    np.testing.assert_array_equal(nodule(again), nodule(present()[3]))
    assert len({float(hu(case).mean()) for case in present()}) == len(present())


def test_windows_are_pinned() -> None:
    values = np.concatenate([hu(case).ravel() for case in (*present(), *absent())])
    voxels = np.mean([nodule(case).sum() for case in present()])
    pinned = (-715.90, 320.82, 161.5)
    assert (values.mean(), values.std(), voxels) == pytest.approx(pinned, rel=1e-3)


@pytest.mark.parametrize("seed", range(2))
def test_a_finer_grid_shows_the_same_anatomy(seed: int) -> None:
    calm = calm_patient()
    coarse = window(seed, at=((32, 32, 6), (0.9, 0.9, 2.0)), patient=calm)
    fine = window(seed, at=((64, 64, 12), (0.45, 0.45, 1.0)), patient=calm)
    pooled = hu(fine).reshape(32, 2, 32, 2, 6, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(pooled.reshape(-1), hu(coarse).reshape(-1))[0, 1] > 0.98
    assert np.abs(pooled - hu(coarse)).mean() < 20
    assert np.linalg.norm(centre_mm(fine) - centre_mm(coarse)) < 0.4
    assert diameter_mm(fine) == pytest.approx(diameter_mm(coarse), rel=0.08)


@pytest.mark.parametrize("seed", range(2))
def test_without_its_nodule_a_window_is_the_same_elsewhere(seed: int) -> None:
    there, gone = present()[seed], window(seed, present=False)
    assert not nodule(gone).any()
    spacing = tuple(map(float, there.grid.spacing_mm))
    away_mm = edt.edt(np.ascontiguousarray(~nodule(there)), anisotropy=spacing)
    np.testing.assert_array_equal(hu(there)[away_mm > 10], hu(gone)[away_mm > 10])
    raised = hu(there)[nodule(there)].mean() - hu(gone)[nodule(there)].mean()
    assert raised > 50


def test_a_nodule_is_one_piece() -> None:
    for case in present():
        assert cc3d.connected_components(nodule(case), connectivity=26).max() == 1


def test_a_window_without_nodule_has_an_empty_truth() -> None:
    assert not any(nodule(case).any() for case in absent())


@pytest.mark.parametrize("asked", [(4.0, 5.0), (8.0, 10.0), (14.0, 16.0)])
def test_nodules_have_the_asked_diameter(asked: tuple[float, float]) -> None:
    patient = replace(calm_patient(), diameter_mm=asked)
    found = [diameter_mm(window(seed, at=WIDE, patient=patient)) for seed in range(4)]
    low, high = asked
    assert max(found) < 1.15 * high
    assert min(found) > 0.75 * low  # the pleura cuts some
    assert low < np.median(found) < 1.1 * high


def test_nodules_of_each_texture_have_its_hounsfield_units() -> None:
    def spread(texture: Texture) -> np.ndarray:
        patient = replace(calm_patient(), diameter_mm=(9.0, 12.0), texture=texture)
        cases = [window(seed, patient=patient) for seed in range(3)]
        levels = [np.percentile(hu(case)[nodule(case)], [20, 95]) for case in cases]
        return np.asarray(np.median(levels, axis=0))

    levels = {texture: spread(texture) for texture in _TEXTURES}
    assert -300 < levels["solid"][0] < levels["solid"][1] < 950
    assert -720 < levels["part-solid"][0] < -400
    assert -250 < levels["part-solid"][1] < 100
    assert -720 < levels["ground-glass"][0] < -400


@pytest.mark.slow
def test_many_windows_have_walls_in_some_and_statistics_do_not_tell_who_has_a_nodule() -> None:
    def statistics(case: Case) -> list[float]:
        voxels = hu(case)
        bright = np.percentile(voxels, [50, 90, 95, 99, 100])
        return [*map(float, bright), float(voxels.mean()), float(voxels.std())]

    with_one = [window(seed) for seed in range(20)]
    without = [window(seed, present=False) for seed in range(20, 45)]
    there, gone = (np.array([*map(statistics, cases)]) for cases in (with_one, without))
    auc = mannwhitneyu(there, gone, axis=0).statistic / (len(there) * len(gone))
    assert auc.min() > 0.2
    assert auc.max() < 0.8
    walled = np.mean([(hu(case) > -200).mean() > 0.1 for case in (*with_one, *without)])
    assert 0.3 < walled < 0.75


def test_windows_have_the_hounsfield_units_of_lungs() -> None:
    for case in absent():
        assert hu(case).min() >= -1024
        assert hu(case).max() < 2500
        assert -980 < np.percentile(hu(case), 20) < -760
        assert case.images["CT"].unit == "HU"


def test_the_smallest_field_holds_every_nodule() -> None:
    least = ((30, 30, 3), (0.8, 0.8, 2.0))
    for seed in range(3):
        assert nodule(window(seed, at=least)).any()


def test_a_smaller_field_is_refused() -> None:
    with pytest.raises(BadRecipeError, match="24 x 24 x 6 mm"):
        window(0, at=((30, 30, 3), (0.7, 0.7, 2.0)))


@pytest.mark.parametrize("radius_mm", [0.4, 1.0, 3.0])
def test_a_painted_ball_fills_its_volume(radius_mm: float) -> None:
    spacing = np.array([0.75, 0.75, 1.25])
    canvas = Canvas((16, 16, 10), spacing)
    middle = np.array([0.1, -0.2, 0.15])
    ball = Tube(middle, middle, radius_mm, radius_mm)
    part = canvas.within(*ball.bounds())
    cover = np.clip(0.5 + ball.depth(canvas.places(part)) / canvas.edge_mm, 0, 1)
    canvas.paint(part, cover, 1.0)
    found = canvas.pooled(canvas.hu).sum() * spacing.prod()
    assert found == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.3 if radius_mm < 1 else 0.08)


def test_the_depth_in_a_tube_is_the_distance_to_its_side() -> None:
    tube = Tube(np.array([0.0, 0.0, -50.0]), np.array([0.0, 0.0, 50.0]), 3.0, 3.0)
    places = Canvas((8, 8, 8), np.ones(3)).places(ALL)
    away = np.hypot(places[0], places[1])
    np.testing.assert_allclose(tube.depth(places), 3 - away, atol=1e-4)
