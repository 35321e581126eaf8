"""Pictures: right way round, true proportions, and something for every hint."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from jaxtyping import Float
from PIL import Image
from tests.review.scenes import NAMES, scene, turned_affine

from voxhint.core import Grid, Volume
from voxhint.core.colours import _COLOURS, colour_of, rgb_of
from voxhint.review.choose_slices import Scene
from voxhint.review.pictures import _grey_range, draw_case
from voxhint.review.slice_view import View


def seen(webp: bytes) -> Float[np.ndarray, "up across rgb"]:
    return np.asarray(Image.open(BytesIO(webp)).convert("RGB")) / 255


def panels(shown: Scene, view: View = "axial", *, most: int = 1) -> dict[str, np.ndarray]:
    """Return the panels of a view by title."""
    (drawn,) = [one for one in draw_case(shown, most=most) if one.view == view]
    for panel in drawn.panels:
        assert seen(panel.webp).shape[1::-1] == (
            drawn.shape[0], drawn.shape[1] * len(drawn.places),
        )  # fmt: skip
    return {panel.title: seen(panel.webp) for panel in drawn.panels}


def bright_quarter(affine: np.ndarray, axes: tuple[int, int]) -> Scene:
    """Return a black cube, bright where both world axes are beyond the middle."""
    grid = Grid((40, 40, 40), affine)
    world = grid.to_world(np.argwhere(np.ones(grid.shape)).astype(np.float64))
    bright = (world > world.mean(0))[:, axes].all(1)
    return Scene(Volume(bright.reshape(grid.shape).astype(np.float32), grid), NAMES)


@pytest.mark.parametrize(("view", "axes"), [("axial", (0, 1)), ("coronal", (0, 2))])
@pytest.mark.parametrize(
    "affine",
    [np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0]), np.diag([1.0, -1.0, -1.0, 1.0]),
     np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])],
)  # fmt: skip
def test_right_and_front_or_top_of_the_patient_are_at_the_upper_left(
    affine: np.ndarray, view: View, axes: tuple[int, int]
) -> None:
    panel = panels(bright_quarter(affine, axes), view)["image"].mean(2)
    rows, columns = (side // 2 for side in panel.shape)
    assert panel[:rows, :columns].mean() > 0.9
    for part in (panel[:rows, columns:], panel[rows:, :columns], panel[rows:, columns:]):
        assert part.mean() < 0.1


@pytest.mark.parametrize("affine", [np.diag([1.0, 1.0, 4.0, 1.0]), turned_affine()])
def test_every_hint_soft_label_mask_truth_and_doubt_has_a_panel(affine: np.ndarray) -> None:
    whole = scene(affine)
    unsure = (np.full(whole.image.grid.shape, 0.7, np.float32), whole.image.grid)
    assert list(panels(replace(whole, unsure=unsure), most=3)) == [
        "image", "hints", "soft label", "mask, truth dashed", "truth", "uncertainty",
    ]  # fmt: skip
    assert list(panels(replace(whole, hints=(), soft=None, truth=None))) == ["image", "mask"]


def test_each_kind_of_hint_leaves_a_mark_in_its_labels_colour() -> None:
    whole = scene(np.eye(4))
    bare = panels(replace(whole, hints=whole.hints[:1]), "coronal")["hints"]
    for hint in whole.hints[2:]:
        marked = panels(replace(whole, hints=(hint,)), "coronal")["hints"]
        assert np.abs(marked - bare).sum() > 30, type(hint).__name__


def test_the_same_case_gives_the_same_bytes() -> None:
    assert draw_case(scene(), most=2) == draw_case(scene(), most=2)


def test_thick_slices_are_drawn_thick() -> None:
    thin, thick = (
        panels(Scene(Volume(np.zeros((30, 30, 10), np.float32), Grid((30, 30, 10), affine)),
                     NAMES), "coronal")["image"]
        for affine in (np.eye(4), np.diag([1.0, 1.0, 3.0, 1.0]))
    )  # fmt: skip
    assert thick.shape[0] == pytest.approx(3 * thin.shape[0], abs=2)


def test_a_flat_image_has_one_view() -> None:
    grid = Grid((30, 30, 1), np.eye(4))
    flat = Scene(Volume(np.zeros(grid.shape, np.float32), grid), NAMES)
    assert [one.view for one in draw_case(flat)] == ["axial"]


def test_masks_are_drawn_smoothly_and_in_their_own_colour() -> None:
    whole = scene(np.eye(4))
    mask = panels(replace(whole, truth=None))["mask"]
    assert (mask.max(axis=2) - mask.min(axis=2) > 0.2).mean() > 0.02
    grey = panels(replace(whole, mask=None, truth=None))["image"]
    assert (grey.max(axis=2) - grey.min(axis=2)).max() < 0.1


def test_hounsfield_units_get_the_window_of_what_is_in_view() -> None:
    grid = Grid((2, 2, 2), np.eye(4))
    image = Volume(np.zeros(grid.shape, np.float32), grid, "HU")
    air, flesh = np.full((2, 2), -850, np.float32), np.full((2, 2), 40, np.float32)
    assert _grey_range(image, air)[0] < -900
    assert _grey_range(image, flesh)[0] > -300


def test_other_units_get_percentiles_and_a_constant_image_is_no_trouble() -> None:
    grid = Grid((10, 10, 10), np.eye(4))
    ramp = Volume(np.arange(1000, dtype=np.float32).reshape(10, 10, 10), grid)
    assert _grey_range(ramp, ramp.voxels[0]) == pytest.approx((5, 994), abs=1)
    low, high = _grey_range(Volume(np.ones(grid.shape, np.float32), grid), ramp.voxels[0])
    assert low < high


def test_labels_have_distinct_colours_and_more_labels_have_darker_ones() -> None:
    assert tuple(colour_of(number) for number in range(1, 1 + len(_COLOURS))) == _COLOURS
    assert len({colour_of(number) for number in range(30)}) == 30
    bright, dark = rgb_of(colour_of(1)), rgb_of(colour_of(1 + len(_COLOURS)))
    assert all(low < high or high == 0 for low, high in zip(dark, bright, strict=True))


def test_what_went_away_is_orange_and_what_came_is_blue() -> None:
    grid = Grid((40, 40, 40), np.eye(4))
    image = np.tile(np.linspace(0, 100, 40, dtype=np.float32)[:, None, None], (1, 40, 40))
    changed = image.copy()
    changed[:, :20] -= 60
    changed[:, 20:] += 60
    shown = Scene(Volume(image, grid), NAMES, without=Volume(changed, grid))
    same = replace(shown, without=shown.image)
    change, none = (panels(one)["difference"] for one in (shown, same))
    red, _, blue = change[5:-5].transpose(2, 0, 1)
    middle = len(red) // 2
    assert (blue > red)[: middle - 15].mean() > 0.9  # what came is in front, so above
    assert (red > blue)[middle + 15 :].mean() > 0.9
    assert none.mean() < 0.1
