"""Maps in any unit become one, and none shouts the others down."""

import numpy as np
import pytest
from jaxtyping import Float32
from scipy import ndimage

from voxhint.classify.calibrated_saliency import fuse
from voxhint.classify.null_distribution import NullDistribution

Map = Float32[np.ndarray, "i j k"]


def healthy(seed: int) -> Map:
    return ndimage.gaussian_filter(
        np.random.default_rng(seed).normal(size=(30, 30, 30)).astype(np.float32), 1.0
    )


def null_of(values: Map) -> NullDistribution:
    return NullDistribution.of([values], rng=np.random.default_rng(0))


def fused(*maps: Map, nulls: tuple[Map, ...]) -> Map:
    return fuse(maps, [null_of(values) for values in nulls])


ONE, TWO = healthy(1), healthy(2)


def test_a_map_fused_with_itself_is_that_map() -> None:
    alone = fused(healthy(3), nulls=(ONE,))
    assert np.allclose(fused(healthy(3), healthy(3), nulls=(ONE, ONE)), alone)


def test_units_cancel() -> None:
    plain = fused(healthy(3), healthy(4), nulls=(ONE, TWO))
    other = fused(1000 * healthy(3) - 7, healthy(4), nulls=(1000 * ONE - 7, TWO))
    assert np.allclose(other, plain, atol=0.02)


def test_bending_a_map_changes_nothing_below_the_tail_of_its_null() -> None:
    plain = fused(healthy(3), nulls=(ONE,))
    bent = fused(np.exp(5 * healthy(3)), nulls=(np.exp(5 * ONE),))
    common = healthy(3) < np.quantile(ONE, 0.985)
    assert common.mean() > 0.9
    assert np.allclose(bent[common], plain[common], atol=1e-3)


def test_the_order_of_maps_does_not_matter() -> None:
    assert np.allclose(
        fused(healthy(3), healthy(4), nulls=(ONE, TWO)),
        fused(healthy(4), healthy(3), nulls=(TWO, ONE)),
    )


def test_a_place_that_both_maps_see_beats_one_that_either_sees() -> None:
    first, second = healthy(3), healthy(4)
    first[5, 5, 5] = second[20, 20, 20] = 1.2 * max(ONE.max(), TWO.max())
    first[12, 12, 12] = second[12, 12, 12] = 1.1 * max(ONE.max(), TWO.max())
    seen = fused(first, second, nulls=(ONE, TWO))
    assert seen[12, 12, 12] == seen.max()


def test_as_many_nulls_as_maps_are_needed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        fused(ONE, nulls=())
