"""From constraints to soft labels: facts stay facts, guesses stay humble, unknown stays unknown."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from jaxtyping import Float32
from tests.poses import SOME_TURNS
from tests.propagate.grids import bounds, places, plain_grid, turned_image

from voxhint.config import LabelConfig
from voxhint.core import (
    UNDRAWN,
    Box,
    Case,
    Diameter,
    Grid,
    Hint,
    LabelSet,
    Mask,
    Points,
    Soft,
    SoftLabel,
    Strokes,
    Tag,
    Turn,
    Volume,
)
from voxhint.propagate import constraints_of, dense_label, facts_of, propagate_hints
from voxhint.propagate.prior import Prior

ONE = LabelSet(("background", "a"), (0, 5))
TWO = LabelSet(("background", "a", "b"), (0, 5, 2))
GRID = plain_grid((14, 12, 10), (1.0, 1.2, 1.5))
MIDDLE = (7.3, 7.0, 7.8)  # not half-way between voxels: ties may fall either way
Method = Literal["geodesic", "pw4medseg", "none"]
METHODS: tuple[Method, ...] = ("geodesic", "pw4medseg", "none")


def image_of(grid: Grid, place: tuple[float, float, float] = MIDDLE) -> Volume:
    """Return a noisy bright ball."""
    away = np.linalg.norm(places(grid) - np.array(place)[:, None, None, None], axis=0)
    noise = np.random.default_rng(0).normal(0, 5, grid.shape)
    return Volume((100 * (away < 4) + noise).astype(np.float32), grid)


def clicks(label: str, *at: tuple[float, float, float], sure: float = 1.0) -> Points:
    return Points(label, np.array(at, np.float64), np.full(len(at), sure))


def chance(seed: int = 0) -> Float32[np.ndarray, "i j k"]:
    return np.random.default_rng(seed).random(GRID.shape, np.float32)


def strokes(complete: bool = True) -> Strokes:
    drawn = np.full(GRID.shape, UNDRAWN, np.uint8)
    drawn[:, :, 5] = 0
    drawn[5:9, 4:8, 5] = 1
    return Strokes(drawn, GRID, complete=complete)


def soft_of(
    hints: Sequence[Hint],
    labels: LabelSet = ONE,
    *,
    image: Volume | None = None,
    config: LabelConfig | None = None,
    cap_mm: float = 3.0,
) -> SoftLabel:
    image = image or image_of(GRID)
    return propagate_hints(
        constraints_of(image.grid, hints, labels),
        [image],
        labels,
        caps_mm=dict.fromkeys(labels.names, cap_mm),
        config=config or LabelConfig(),
    )


HINTS: dict[str, tuple[Hint, ...]] = {
    "none": (),
    "absent": (Tag("a", "absent"),),
    "click": (clicks("a", MIDDLE),),
    "clicks": (clicks("a", MIDDLE), clicks("background", (1.1, 1.1, 1.1), (12.3, 12.2, 13.3))),
    "unsure": (clicks("a", MIDDLE, sure=0.6), clicks("background", (1.1, 1.1, 1.1), sure=0.7)),
    "contradiction": (
        clicks("a", MIDDLE),
        clicks("b", MIDDLE),
        clicks("background", (1.1, 1.1, 1.1)),
    ),
    "box": (Box("a", np.array([3.0, 3, 3]), np.array([11.0, 11, 12])),),
    "ball": (Diameter("a", np.array(MIDDLE), 8.0), clicks("b", (1.1, 1.1, 1.1))),
    "drawn": (strokes(),),
    "soft": (Soft("a", chance(), GRID), clicks("a", MIDDLE), clicks("b", (1.1, 1.1, 1.1))),
    "soft pair": (Soft("a", chance() / 2, GRID), Soft("b", chance(1) / 2, GRID)),
    "heights": (Tag("a", "absent", (0.0, 4.0)), clicks("b", MIDDLE, sure=0.9)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("hints", HINTS.values(), ids=HINTS.keys())
def test_facts_stay_facts_and_claims_stay_an_interval(
    hints: tuple[Hint, ...], method: Method
) -> None:
    least, most = bounds(facts_of(constraints_of(GRID, hints, TWO)))
    soft = soft_of(hints, TWO, config=LabelConfig(method=method))
    belief, plausible = bounds(soft)
    for part in (soft.probs, soft.trust):
        assert part.min() >= 0
        assert part.max() <= 1
    assert (belief >= least - 1e-5).all()
    assert (plausible <= most + 1e-5).all()
    assert (belief <= plausible + 1e-5).all()
    assert (belief.sum(0) <= 1 + 1e-5).all()


@pytest.mark.parametrize("hints", HINTS.values(), ids=HINTS.keys())
def test_without_spreading_only_the_facts_are_claimed(hints: tuple[Hint, ...]) -> None:
    soft = soft_of(hints, ONE if "b" not in str(hints) else TWO, config=LabelConfig(method="none"))
    facts = facts_of(constraints_of(GRID, hints, ONE if "b" not in str(hints) else TWO))
    assert np.allclose(soft.trust, facts.trust, atol=1e-5)
    assert np.allclose(soft.trust * soft.probs, facts.trust * facts.probs, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_hinted_is_nothing_known(method: Method) -> None:
    assert not soft_of((), TWO, config=LabelConfig(method=method)).trust.any()
    assert not soft_of((Tag("a", "present"),), config=LabelConfig(method=method)).trust.any()


@pytest.mark.parametrize("method", METHODS)
def test_the_absence_of_one_label_leaves_the_other_unknown(method: Method) -> None:
    soft = soft_of(
        (Tag("a", "absent"), Tag("b", "unknown")), TWO, config=LabelConfig(method=method)
    )
    assert (soft.trust[1] == 1).all()
    assert not soft.probs[1].any()
    assert not soft.trust[[0, 2]].any()


def test_a_class_that_nobody_showed_stays_unknown_and_is_not_taken_for_background() -> None:
    hints = (clicks("a", MIDDLE), clicks("background", (1.1, 1.1, 1.1)))
    soft = soft_of(hints, TWO, cap_mm=0.7)
    belief, plausible = bounds(soft)
    away = np.linalg.norm(places(GRID) - np.array(MIDDLE)[:, None, None, None], axis=0) > 6
    away[1, 0, 0] = away[0, 0, 0] = False
    away &= constraints_of(GRID, hints, TWO).proven.max(0) == 0
    assert not belief[2].any()
    assert (plausible[2][away] > 0.95).all()
    assert (belief[0][away] < 1e-5).all()


@pytest.mark.parametrize(
    ("beside", "trust"), [((), 0.1), ((clicks("background", (7.3, 7.0, 10.8)),), 0.3)]
)
def test_background_far_from_all_clicks_is_presumed_with_low_trust(
    beside: tuple[Hint, ...], trust: float
) -> None:
    far = np.linalg.norm(places(GRID) - np.array(MIDDLE)[:, None, None, None], axis=0) > 8
    soft = soft_of((clicks("a", MIDDLE), *beside), cap_mm=0.7)
    assert np.allclose(soft.trust[:, far], trust, atol=0.02)
    assert (soft.probs[1][far] < 0.1).all()


def test_where_only_background_is_shown_nothing_far_away_is_presumed() -> None:
    soft = soft_of((clicks("background", (1.1, 1.1, 1.1)),), cap_mm=0.7)
    assert not soft.trust[:, 8:, 8:, 6:].any()


def test_no_label_is_found_beyond_its_cap_whatever_lies_beyond() -> None:
    away = np.linalg.norm(places(GRID) - np.array(MIDDLE)[:, None, None, None], axis=0)
    flat = Volume(np.zeros(GRID.shape, np.float32), GRID)
    for cap in (2.0, 4.0):
        soft = soft_of((clicks("a", MIDDLE),), image=flat, cap_mm=cap)
        found = soft.probs[1] > 0.5
        assert away[found].max() <= cap + 2
        assert found[away < cap - 1.5].all()


def test_exchanging_two_labels_exchanges_what_is_found() -> None:
    hints = (clicks("a", (4.3, 7, 7)), clicks("b", (9.3, 6, 7)), clicks("background", (1, 1, 1)))
    other = (clicks("b", (4.3, 7, 7)), clicks("a", (9.3, 6, 7)), clicks("background", (1, 1, 1)))
    one, two = soft_of(hints, TWO), soft_of(other, TWO)
    assert np.allclose(one.probs[[0, 2, 1]], two.probs, atol=1e-6)
    assert np.allclose(one.trust[[0, 2, 1]], two.trust, atol=1e-6)


@pytest.mark.parametrize("chance_of_a", [0.2, 0.8])
def test_other_cases_decide_what_lies_half_way(chance_of_a: float) -> None:
    told = np.log(np.array([1 - chance_of_a, chance_of_a], np.float32))
    logs = np.broadcast_to(told[:, None, None, None], (2, *GRID.shape)).copy()
    constraints = constraints_of(
        GRID, (clicks("a", (4.5, 7, 7)), clicks("background", (9.5, 7, 7))), ONE
    )
    flat = Volume(np.zeros(GRID.shape, np.float32), GRID)
    caps = {"a": 9.0}
    soft = propagate_hints(
        constraints, [flat], ONE, caps_mm=caps, config=LabelConfig(), prior=Prior(logs)
    )
    assert (soft.probs[1, 6:8, 5, 4] > 0.5).all() == (chance_of_a > 0.5)
    assert soft.probs[1, 4, 5, 4] > 0.5 > soft.probs[1, 9, 5, 4]


@pytest.mark.parametrize(("chance_of_a", "doubtful"), [(0.005, False), (0.2, True), (0.7, False)])
def test_background_is_doubted_where_a_rare_label_is_likelier_than_usual(
    chance_of_a: float, doubtful: bool
) -> None:
    told = np.log(np.array([1 - chance_of_a, chance_of_a], np.float32))
    logs = np.broadcast_to(told[:, None, None, None], (2, *GRID.shape)).copy()
    constraints = constraints_of(GRID, (clicks("background", (1, 1, 1)),), ONE)
    flat = Volume(np.zeros(GRID.shape, np.float32), GRID)
    weights = np.array([1, 10], np.float32)
    trust = [
        propagate_hints(
            constraints,
            [flat],
            ONE,
            caps_mm={"a": 9.0},
            config=LabelConfig(),
            prior=Prior(logs, 0.0, rarity=rarity),
        ).trust[1, 13, 11, 9]
        for rarity in (weights, None)
    ]
    assert (trust[0] == 0) == doubtful
    assert (trust[0] > trust[1]) == (chance_of_a > 0.5)


def test_trust_is_high_beside_a_click_and_fades_with_distance() -> None:
    hints = (clicks("a", MIDDLE), clicks("background", (1.1, 1.1, 1.1)))
    soft = soft_of(hints, cap_mm=2.0)
    assert soft.probs[1, 7, 6, 5] > 0.7
    assert soft.trust[1, 7, 6, 5] > 0.4
    assert soft.probs[0, 1, 0, 0] > 0.6
    assert soft.trust[1, 13, 11, 9] < soft.trust[1, 7, 6, 5]


def test_the_object_around_a_click_is_found_along_its_edges() -> None:
    hints = (clicks("a", MIDDLE), clicks("background", (1.1, 1.1, 1.1), (13, 13, 14), (1, 13, 7)))
    soft = soft_of(hints, cap_mm=5.0)
    away = np.linalg.norm(places(GRID) - np.array(MIDDLE)[:, None, None, None], axis=0)
    assert (soft.probs[1] > 0.5)[away < 3].mean() > 0.6
    assert (soft.probs[0] > 0.5)[away > 5.5].mean() > 0.7


def test_what_follows_from_the_shape_of_a_box_is_trusted_in_part() -> None:
    hints = HINTS["box"]
    soft = soft_of(hints)
    open_ = ~constraints_of(GRID, hints, ONE).settled
    inside = open_ & (constraints_of(GRID, hints, ONE).possible[1] == 1)
    assert 0 < soft.trust[1][inside].max() <= 0.7 + 1e-5
    assert soft.probs[1, 7, 6, 5] > 0.5


@pytest.mark.parametrize("hints", [HINTS[n] for n in ("clicks", "box", "ball", "heights")])
@pytest.mark.parametrize("turn", SOME_TURNS, ids=str)
def test_storing_the_image_another_way_gives_the_same_soft_label(
    turn: Turn, hints: tuple[Hint, ...]
) -> None:
    one = bounds(soft_of(hints, TWO))
    two = bounds(soft_of(hints, TWO, image=turned_image(image_of(GRID), turn)))
    for straight, turned in zip(one, two, strict=True):
        apart = np.abs(turn.apply(straight) - turned)
        assert apart.max() < 0.02
        assert apart.mean() < 1e-4


def test_scale_and_offset_of_the_image_do_not_matter() -> None:
    image = image_of(GRID)
    other = Volume((image.voxels * 30 - 1000).astype(np.float32), GRID)
    one, two = (bounds(soft_of(HINTS["clicks"], image=i)) for i in (image, other))
    assert np.abs(one[0] - two[0]).mean() < 1e-3
    assert np.abs(one[1] - two[1]).mean() < 1e-3


def test_a_class_shown_only_among_settled_voxels_was_shown() -> None:
    drawn = np.full(GRID.shape, UNDRAWN, np.uint8)
    drawn[:, :, :7] = 0
    drawn[5:9, 4:8, 6] = 1
    drawn[5:9, 4:8, 0] = 2
    soft = soft_of((Strokes(drawn, GRID, complete=True),), TWO)
    assert (soft.probs[0] * soft.trust[0])[0, 0, 7] > 0.1


def test_when_every_voxel_is_decided_the_image_changes_nothing() -> None:
    classes = np.zeros(GRID.shape, np.uint8)
    classes[5:9, 4:8, 3:6] = 1
    soft = soft_of((Strokes(classes, GRID, complete=True),))
    assert (soft.trust == 1).all()
    assert np.array_equal(soft.probs[1], classes)


def test_a_dense_mask_is_sure_everywhere_but_where_nothing_was_drawn() -> None:
    ids = np.zeros(GRID.shape, np.uint8)
    ids[3:6] = 5
    ids[0] = UNDRAWN
    images = {"CT": image_of(GRID)}
    soft = dense_label(Case("c", images, truth=Mask(ids, GRID, ONE)), ONE)
    assert np.array_equal(soft.probs[1], ids == 5)
    assert np.array_equal(soft.probs[0], ids == 0)
    assert np.array_equal(soft.trust, np.broadcast_to(ids != UNDRAWN, soft.trust.shape))
    assert not dense_label(Case("c", images), ONE).trust.any()
