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
