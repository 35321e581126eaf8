"""Regions of a large image are judged one by one; a window is one question."""

import numpy as np
import pytest
from jaxtyping import Bool, Float32
from tests.classify.test_saliency_methods import LABEL, PLAN, classifier

from voxhint.classify.classifier import Classifier
from voxhint.classify.false_positives import reduce_false_positives
from voxhint.core import Grid, Volume

MOVED = np.array([[0, -2.0, 0, 5], [1.0, 0, 0, 7], [0, 0, 1.5, -3], [0, 0, 0, 1]])


def brightest(
    _: Classifier,
    image: Float32[np.ndarray, "channel i j k"],
    inside: Bool[np.ndarray, "i j k"] | None = None,
) -> dict[str, float]:
    return {LABEL: float(image[0][inside].max())}


def scene(shape: tuple[int, int, int], affine: np.ndarray) -> tuple[np.ndarray, Volume]:
    """Return what a network says of two like regions, of which the image shows the first alone."""
    voxels = np.full(shape, -1000.0, np.float32)
    voxels[2:4, 2:4, 1:3] = 0
    probs = np.zeros((2, *shape), np.float32)
    probs[1, 2:4, 2:4, 1:3] = probs[1, -4:-2, -4:-2, 1:3] = 0.9
    probs[0] = 1 - probs[1]
    return probs, Volume(voxels, Grid(shape, affine), "HU")


@pytest.mark.parametrize("affine", [np.eye(4), MOVED])
def test_a_region_stays_if_the_classifier_sees_the_label_around_it(
    monkeypatch: pytest.MonkeyPatch, affine: np.ndarray
) -> None:
    monkeypatch.setattr(Classifier, "scores", brightest)
    asked = classifier()
    asked.facts[LABEL]["operating_point"] = 0.0
    probs, volume = scene((30, 28, 6), affine)
    found = reduce_false_positives(probs.copy(), PLAN.labels, {"CT": volume}, asked)
    assert np.array_equal(found[:, :15], probs[:, :15])
    assert not found[1, 15:].any()
    assert np.allclose(found.sum(0), 1)


def test_what_lies_beside_a_region_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "scores", brightest)
    asked = classifier()
    asked.facts[LABEL]["operating_point"] = 0.0
    probs, volume = scene((30, 28, 6), np.eye(4))
    volume.voxels[-8:-6, -8:-6] = 0  # beside the second region, which shows nothing itself
    found = reduce_false_positives(probs.copy(), PLAN.labels, {"CT": volume}, asked)
    assert found[1, :15].any()
    assert not found[1, 15:].any()


@pytest.mark.parametrize("score", [-2.5, -1.5, 1.5])
def test_a_region_is_believed_by_classifier_and_network_together(
    monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    monkeypatch.setattr(Classifier, "scores", lambda *_: {LABEL: score})
    asked = classifier()
    asked.facts[LABEL]["operating_point"] = 0.0
    kept = {}
    for sure in (0.55, 0.9, 0.99, 1.0):
        probs, volume = scene((30, 28, 6), np.eye(4))
        probs[1][probs[1] > 0] = sure
        probs[0] = 1 - probs[1]
        found = reduce_false_positives(probs, PLAN.labels, {"CT": volume}, asked)
        kept[sure] = bool(found[1].any())
    shares = np.clip([*kept], 0.05, 0.95)
    assert [*kept.values()] == [score + np.log(p / (1 - p)) >= 1 for p in shares]
    assert kept[0.99] == kept[1.0]  # however sure, the network has its say and no more


def test_an_image_of_one_window_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "scores", brightest)
    asked = classifier()
    asked.facts[LABEL]["operating_point"] = 1e9
    probs, volume = scene((12, 12, 5), np.eye(4))
    found = reduce_false_positives(probs.copy(), PLAN.labels, {"CT": volume}, asked)
    assert np.array_equal(found, probs)


def test_regions_that_fill_a_window_share_its_score() -> None:
    asked = classifier()
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 4)).astype(np.float32)
    half = np.zeros((8, 8, 4), bool)
    half[:4] = True
    parts = [asked.scores(image, part)[LABEL] for part in (half, ~half)]
    whole = asked.scores(image)[LABEL]
    assert max(parts) < whole
    assert np.logaddexp(5 * parts[0], 5 * parts[1]) / 5 == pytest.approx(whole, abs=1e-5)
