import numpy as np
import pytest

from voxhint.core import UNDRAWN, Case, Mask, Points, Strokes, Tag
from voxhint.simulate.abdomen_phantom import organ_case
from voxhint.simulate.cost import PRICES, seconds_dense, seconds_of
from voxhint.simulate.hints import KINDS, parse_request, simulate_hints

CASE: Case = organ_case(np.random.default_rng(0), name="p")


def truth() -> Mask:
    assert CASE.truth is not None
    return CASE.truth


def seconds(request: str) -> float:
    return seconds_of(simulate_hints(truth(), parse_request(request), np.random.default_rng(0)))


def test_nothing_costs_nothing() -> None:
    assert seconds_of(()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_hint_is_cheaper_than_outlining_everything(kind: str) -> None:
    assert 0 < seconds(kind) < seconds_dense(truth()) / 3


def test_more_of_a_hint_costs_more() -> None:
    assert seconds("points:5") < seconds("points:10") < seconds("points:50")
    assert seconds("slices:2") < seconds("slices:6") < seconds("slices:20")


def test_all_slices_cost_what_a_dense_mask_costs() -> None:
    assert seconds("slices:999") == pytest.approx(seconds_dense(truth()))


def test_tags_are_cheapest_and_outlines_dearest() -> None:
    assert seconds("tags") < seconds("boxes") < seconds("points:20") < seconds("slices:10")


def test_outlining_four_organs_takes_hours_as_reported() -> None:
    # Qu et al. 2023 report 30 to 60 minutes per organ and scan
    assert 0.5 * 4 * 1800 < seconds_dense(truth()) < 1.5 * 4 * 3600


def test_a_case_is_opened_once() -> None:
    tag, other = Tag("liver", "present"), Tag("spleen", "absent")
    both = seconds_of((tag, other))
    assert both == seconds_of((tag,)) + PRICES["tag"].seconds


def test_clicks_follow_the_published_times() -> None:
    points = Points("liver", np.zeros((4, 3)), np.ones(4))
    clicks = PRICES["first point"].seconds + 3 * PRICES["further point"].seconds
    around = PRICES["open a scan"].seconds + 4 * PRICES["find a slice"].seconds
    assert seconds_of((points,)) == pytest.approx(clicks + around)


def test_two_objects_on_a_slice_are_two_outlines() -> None:
    grid = CASE.grid
    classes = np.full(grid.shape, UNDRAWN, np.uint8)
    classes[:, :, 3] = 0
    empty = seconds_of((Strokes(classes.copy(), grid, complete=True),))
    classes[3:6, 3:6, 3] = classes[10:14, 10:14, 3] = 1
    two = seconds_of((Strokes(classes, grid, complete=True),))
    gained = 2 * PRICES["outline"].seconds - PRICES["empty slice"].seconds
    assert two - empty == pytest.approx(gained)


def test_a_scribble_costs_a_squiggle_a_class_and_slice() -> None:
    classes = np.full(CASE.grid.shape, UNDRAWN, np.uint8)
    classes[2:5, 3, 4], classes[2:5, 6, 4], classes[2:5, 3, 7] = 1, 2, 1
    squiggles = 3 * PRICES["stroke"].seconds + 2 * PRICES["find a slice"].seconds
    drawn = seconds_of((Strokes(classes, CASE.grid, complete=False),))
    assert drawn == pytest.approx(PRICES["open a scan"].seconds + squiggles)


def test_every_price_says_why() -> None:
    assert all(price.seconds > 0 and price.why for price in PRICES.values())
    assert any(price.measured for price in PRICES.values())
    assert not all(price.measured for price in PRICES.values())
