"""Polygons hold exactly the pixels of a mask, however a reader fills them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from jaxtyping import Bool
from matplotlib.path import Path as Polygon
from scipy import ndimage

from voxhint.files.dicom.contours import Ring, outlines
from voxhint.files.dicom.contours import filled as filled_in

Flat = Bool[np.ndarray, "row column"]


def filled(ring: Ring, shape: tuple[int, ...]) -> Flat:
    """Return which pixel centres lie in a polygon, by matplotlib's rule."""
    places = np.indices(shape).reshape(2, -1).T
    return np.asarray(Polygon(np.concatenate([ring, ring[:1]])).contains_points(places)).reshape(
        shape
    )


def joined_and_in_turns(rings: list[Ring], shape: tuple[int, ...]) -> tuple[Flat, Flat]:
    masks = [filled(ring, shape) for ring in rings] or [np.zeros(shape, bool)]
    return np.logical_or.reduce(masks), np.logical_xor.reduce(masks)


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()))
def test_polygons_hold_the_pixels_of_any_mask(inside: Flat) -> None:
    for read in joined_and_in_turns(outlines(inside), inside.shape):
        np.testing.assert_array_equal(read, inside)


@pytest.mark.parametrize("seed", range(4))
def test_polygons_hold_smooth_shapes_with_holes_and_islands_in_them(seed: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(48, 40)), 2)
    inside = noise > np.quantile(noise, 0.4)
    for read in joined_and_in_turns(outlines(inside), inside.shape):
        np.testing.assert_array_equal(read, inside)


def test_a_patch_is_one_polygon_and_its_hole_a_keyhole() -> None:
    inside = np.ones((5, 5), bool)
    inside[2, 2] = False
    (ring,) = outlines(inside)
    corners = {tuple(place) for place in ring.tolist()}
    assert {(1.5, 2.0), (2.5, 2.0), (2.0, 1.5), (2.0, 2.5)} <= corners
    assert len(ring) == len(corners) + 2  # the way to the hole is gone twice, both its ends


def test_corners_lie_midway_between_pixels_so_that_rounding_moves_none() -> None:
    inside = np.random.default_rng(0).random((20, 20)) < 0.5
    for ring in outlines(inside):
        apart = np.abs(ring - np.rint(ring)).max(axis=1)
        np.testing.assert_array_equal(apart, 0.5)


def test_an_empty_mask_has_no_outline() -> None:
    assert outlines(np.zeros((4, 4), bool)) == []


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()))
def test_filling_is_the_inverse_of_outlining(inside: Flat) -> None:
    rings = outlines(inside)
    if rings:
        read, crossing = filled_in(rings, (inside.shape[0], inside.shape[1]))
        np.testing.assert_array_equal(read, inside)
        assert not crossing


@pytest.mark.parametrize("seed", range(3))
def test_any_polygon_is_filled_as_matplotlib_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ring = rng.uniform(-3, 33, (9, 2))  # crosses itself, and leaves the image
    read, _ = filled_in([ring], (30, 25))
    edges = np.roll(ring, -1, axis=0) - ring
    for row, column in np.argwhere(read ^ filled(ring, (30, 25))):  # only those on an outline
        to = np.array([row, column]) - ring
        along = np.clip((to * edges).sum(axis=1) / (edges**2).sum(axis=1), 0, 1)
        assert np.linalg.norm(to - along[:, None] * edges, axis=1).min() <= 0.01


def square(low: float, high: float) -> Ring:
    return np.array([[low, low], [low, high], [high, high], [high, low]], dtype=np.float64)


def test_a_polygon_in_another_is_a_hole_and_one_in_the_hole_an_island() -> None:
    nested = [square(0.5, 10.5), square(2.5, 8.5), square(4.5, 6.5)]
    read, crossing = filled_in(nested, (12, 12))
    assert not crossing
    assert read.sum() == 10 * 10 - 6 * 6 + 2 * 2
    repeated, _ = filled_in([*nested, square(2.5, 8.5)], (12, 12))
    np.testing.assert_array_equal(repeated, read)


def test_pixels_on_an_outline_belong_to_it_also_around_a_hole() -> None:
    """As programs write that trace the outer pixels of a mask, and the ring around its holes."""
    read, _ = filled_in([square(1, 8), square(3, 6)], (10, 10))
    expected = np.zeros((10, 10), bool)
    expected[1:9, 1:9] = True
    expected[4:6, 4:6] = False
    np.testing.assert_array_equal(read, expected)
    thin, _ = filled_in([np.array([[2.0, 3.0], [2.0, 7.0]])], (10, 10))
    assert np.argwhere(thin).tolist() == [[2, column] for column in range(3, 8)]


def test_polygons_that_cross_are_joined_and_it_is_told() -> None:
    low, high = square(0.5, 6.5), square(3.5, 9.5)
    read, crossing = filled_in([low, high], (12, 12))
    assert crossing
    assert read.sum() == 2 * 36 - 9
