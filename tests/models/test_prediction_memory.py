"""What predicting takes is foretold, and bands are as few as a limit allows."""

from dataclasses import replace

import pytest

from voxhint.models.prediction_memory import PredictionMemory

SCAN = PredictionMemory(
    classes=101,
    read=512 * 512 * 300,
    working=(300, 512, 512),
    target=(300, 512, 512),
    patch=(24, 64, 64),
    features=8,
    channels=1,
    passes=1,
    whole=False,
    each=0,
)


def test_more_of_anything_needs_more_memory() -> None:
    least = SCAN.taken(1)
    for more in (
        replace(SCAN, classes=202),
        replace(SCAN, features=64),
        replace(SCAN, passes=4),
        replace(SCAN, each=6),
        replace(SCAN, channels=4, read=4 * SCAN.read),
        replace(SCAN, whole=True),
    ):
        assert more.taken(1) > least


def test_each_band_saves_memory_until_one_is_a_tile_wide() -> None:
    every = [SCAN.taken(bands) for bands in range(1, SCAN.most_bands + 1)]
    assert every == sorted(every, reverse=True)
    assert len(set(every)) == 8
    assert every[-1] < 0.6 * every[0]
    assert replace(SCAN, whole=True).most_bands == 1


@pytest.mark.parametrize("gib", [0.5, 2.0, 3.0, 6.0])
def test_bands_are_the_fewest_that_fit(gib: float) -> None:
    limit = int(gib * 2**30)
    bands = SCAN.bands_within(limit)
    assert SCAN.taken(bands) <= limit or bands == SCAN.most_bands
    assert bands == 1 or SCAN.taken(bands - 1) > limit
