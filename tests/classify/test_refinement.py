"""From a rough map to a border: on balls in air, on walls, with vessels, on any grid."""

import numpy as np
import pytest
from jaxtyping import Bool, Float32
from scipy import ndimage

from voxhint.classify.contrast import Contrast
from voxhint.classify.refinement import refine, weigh

LUNG = Contrast(0.0, 1.0)
SPACING = (0.7, 0.7, 1.5)


def ball(
    middle_mm: tuple[float, float, float],
    radius_mm: float,
    spacing_mm: tuple[float, float, float] = SPACING,
    shape: tuple[int, int, int] = (48, 48, 16),
) -> Bool[np.ndarray, "i j k"]:
    places = np.indices(shape).T * np.array(spacing_mm)
    return np.asarray(radius_mm >= np.linalg.norm(places - middle_mm, axis=-1).T)


def blurred(
    region: Bool[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float] = SPACING
) -> Float32[np.ndarray, "i j k"]:
    """Return dense tissue as a scanner sees it."""
    width = 0.6 / np.array(spacing_mm)
    return np.asarray(ndimage.gaussian_filter(region.astype(np.float32), width), np.float32)


def seen(
    middle_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float] = SPACING,
    shape: tuple[int, int, int] = (48, 48, 16),
) -> Float32[np.ndarray, "i j k"]:
    """Return a map of evidence: a wide hill, as gradients of a classifier give it."""
    places = np.indices(shape).T * np.array(spacing_mm)
    away = np.linalg.norm(places - middle_mm, axis=-1).T
    return np.asarray(np.exp(-0.5 * (away / 3.0) ** 2), np.float32)


def dice(one: Bool[np.ndarray, "i j k"], two: Bool[np.ndarray, "i j k"]) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


@pytest.mark.parametrize("radius_mm", [2.5, 4.0, 7.0])
def test_a_ball_is_found_from_a_hill_beside_its_middle(radius_mm: float) -> None:
    truth = ball((17.0, 16.0, 11.0), radius_mm)
    found = refine(seen((18.0, 15.5, 11.0)), blurred(truth), spacing_mm=SPACING, contrast=LUNG)
    assert dice(found, truth) > 0.8


def test_a_nodule_on_a_wall_keeps_off_the_wall() -> None:
    nodule = ball((17.0, 10.0, 11.0), 4.0)
    wall = np.zeros_like(nodule)
    wall[:, :10] = True
    found = refine(
        seen((17.0, 10.5, 11.0)), blurred(nodule | wall), spacing_mm=SPACING, contrast=LUNG
    )
    assert dice(found, nodule & ~wall) > 0.7
    assert (found & wall).sum() < 0.1 * found.sum()


def test_a_vessel_that_touches_is_cut_off() -> None:
    nodule = ball((17.0, 16.0, 11.0), 5.0)
    vessel = np.zeros_like(nodule)
    vessel[:, 22:25, 7:8] = True
    found = refine(
        seen((17.0, 16.0, 11.0)), blurred(nodule | vessel), spacing_mm=SPACING, contrast=LUNG
    )
    assert dice(found, nodule) > 0.85
    assert not found[:8].any()


def test_a_nodule_larger_than_the_wall_rule_is_kept() -> None:
    truth = ball((17.0, 17.0, 11.0), 10.0)
    found = refine(seen((17.0, 17.0, 11.0)), blurred(truth), spacing_mm=SPACING, contrast=LUNG)
    assert dice(found, truth) > 0.8


def test_the_same_place_is_found_on_another_grid() -> None:
    volumes = []
    for spacing, shape in ((SPACING, (48, 48, 16)), ((1.0, 1.0, 1.0), (34, 34, 24))):
        truth = ball((17.0, 16.0, 11.0), 5.0, spacing, shape)
        found = refine(
            seen((17.0, 16.0, 11.0), spacing, shape),
            blurred(truth, spacing),
            spacing_mm=spacing,
            contrast=LUNG,
        )
        volumes.append(found.sum() * np.prod(spacing))
    assert volumes[0] == pytest.approx(volumes[1], rel=0.15)


def test_dark_labels_are_found_by_turning_the_contrast() -> None:
    truth = ball((17.0, 16.0, 11.0), 4.0)
    evidence, image = seen((17.0, 16.0, 11.0)), blurred(truth)
    bright = refine(evidence, image, spacing_mm=SPACING, contrast=LUNG)
    dark = refine(evidence, 5 - 2 * image, spacing_mm=SPACING, contrast=Contrast(5.0, 3.0))
    assert np.array_equal(bright, dark)


def test_flipping_image_and_evidence_flips_the_region() -> None:
    truth = ball((15.0, 16.0, 11.0), 4.0)
    image, evidence = blurred(truth), seen((16.0, 16.0, 11.0))
    found = refine(evidence, image, spacing_mm=SPACING, contrast=LUNG)
    flipped = refine(
        np.ascontiguousarray(evidence[::-1]),
        np.ascontiguousarray(image[::-1]),
        spacing_mm=SPACING,
        contrast=LUNG,
    )
    assert dice(flipped[::-1], found) > 0.97


def test_no_evidence_gives_no_region() -> None:
    image = blurred(ball((17.0, 16.0, 11.0), 4.0))
    nothing = np.full(image.shape, -1.0, np.float32)
    assert not refine(nothing, image, spacing_mm=SPACING, contrast=LUNG).any()


def test_evidence_counts_only_where_there_is_tissue() -> None:
    evidence = np.ones((2, 2, 2), np.float32)
    assert not weigh(evidence, np.zeros((2, 2, 2), np.float32)).any()
    assert (weigh(evidence, np.ones((2, 2, 2), np.float32)) == 1).all()


def test_what_lies_far_away_changes_nothing() -> None:
    truth = ball((17.0, 16.0, 11.0), 4.0)
    image, evidence = blurred(truth), seen((17.0, 16.0, 11.0))
    near = refine(evidence, image, spacing_mm=SPACING, contrast=LUNG)
    pads = ((0, 200), (0, 0), (0, 0))
    far = refine(np.pad(evidence, pads), np.pad(image, pads), spacing_mm=SPACING, contrast=LUNG)
    assert np.array_equal(far[:48], near)
    assert not far[48:].any()


def test_a_speck_that_vanishes_in_the_smoothing_gives_no_region() -> None:
    image = np.zeros((20, 20, 8), np.float32)
    image[10, 10, 4] = 0.062
    evidence = np.zeros_like(image)
    evidence[10, 10, 4] = 1.0
    assert weigh(evidence, image).any()
    assert not refine(evidence, image, spacing_mm=(0.3, 0.3, 0.3), contrast=LUNG).any()
