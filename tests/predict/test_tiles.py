"""Tiles leave no trace: a network that only looks at each voxel gives what it gives at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float, Float32
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from voxhint.predict import Segmenter, Tiling, predict_planes

CPU = torch.device("cpu")
Triple = tuple[int, int, int]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def copy(image: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, "batch class i j k"]:
    """Take the channels for logits."""
    return image


def noise(shape: Triple, channels: int = 3) -> Float32[np.ndarray, "channel i j k"]:
    return np.random.default_rng(0).normal(0, 2, (channels, *shape)).astype(np.float32)


def softmax(logits: Float32[np.ndarray, "class i j k"]) -> Float32[np.ndarray, "class i j k"]:
    powers = np.exp(logits - logits.max(0))
    return np.asarray(powers / powers.sum(0), np.float32)


def tiled(
    segment: Segmenter,
    image: Float32[np.ndarray, "c i j k"],
    patch: Triple,
    overlap: float = 0.5,
    flips: tuple[tuple[int, ...], ...] = ((),),
) -> Float32[np.ndarray, "class i j k"]:
    tiling = Tiling(segment=segment, patch=patch, overlap=overlap, device=CPU)
    return np.stack(list(predict_planes(tiling, image, flips)), 1)


@pytest.mark.parametrize("shape", [(21, 13, 9), (8, 8, 4), (5, 20, 9), (3, 3, 3)], ids=str)
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5])
def test_planes_are_those_of_monais_sliding_window(shape: Triple, overlap: float) -> None:
    patch, image = (8, 8, 4), noise(shape, 2)
    convolution = torch.nn.Conv3d(2, 3, 3, padding=1)

    def chances(tile: Tensor) -> Tensor:
        return torch.softmax(convolution(tile), 1)

    for axes in ((), (1,), (2,), (1, 2)):
        with torch.inference_mode():
            flipped = torch.from_numpy(np.flip(image, axes).copy())[None]
            wanted = sliding_window_inference(
                flipped, patch, 1, chances, overlap, "gaussian", padding_mode="replicate"
            )
        wanted = np.flip(wanted[0].numpy() / wanted[0].numpy().sum(0), axes)
        found = tiled(convolution, image, patch, overlap, (axes,))
        assert np.allclose(found, wanted, atol=1e-6)


def test_of_several_flips_the_mean_is_given() -> None:
    image, patch = noise((17, 11, 9)), (8, 8, 4)
    convolution = torch.nn.Conv3d(3, 2, 3, padding=1)
    flips = ((), (1,), (2,), (1, 2))
    each = [tiled(convolution, image, patch, flips=(axes,)) for axes in flips]
    assert np.allclose(tiled(convolution, image, patch, flips=flips), np.mean(each, 0), atol=1e-6)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(4, 9), slice(6, 11)], ids=str)
def test_rows_are_those_of_the_whole_and_no_other_tile_is_asked_about(rows: slice) -> None:
    image, asked = noise((17, 11, 9)), []

    def count(tiles: Tensor) -> Tensor:
        asked.append(len(tiles))
        return tiles

    tiling = Tiling(segment=count, patch=(8, 4, 4), overlap=0.3, device=CPU)
    for axes in ((), (2,)):
        whole = np.stack(list(predict_planes(tiling, image, (axes,))), 1)
        asked.clear()
        found = np.stack(list(predict_planes(tiling, image, (axes,), rows)), 1)
        assert np.array_equal(found, whole[:, :, rows])
        if not axes:
            assert sum(asked) == np.prod([len(one) for one in tiling.tiles_of((17, 11, 9), rows)])
            assert sum(asked) < np.prod([len(one) for one in tiling.tiles_of((17, 11, 9))])


def test_tiles_of_one_value_are_asked_about_once_and_say_the_same() -> None:
    image = noise((40, 8, 4))
    image[:, 10:] = -3
    asked = []

    def count(tiles: Tensor) -> Tensor:
        asked.append(len(tiles))
        return torch.cumsum(tiles, 4)

    tiling = Tiling(segment=count, patch=(8, 8, 4), overlap=0.0, device=CPU)
    wanted = np.stack(list(predict_planes(tiling, image)), 1)
    every = sum(asked)
    asked.clear()
    found = np.stack(list(predict_planes(replace(tiling, alike=True), image)), 1)
    assert np.array_equal(found, wanted)
    assert (every, sum(asked)) == (5, 4)  # two of them share a batch
    assert tiling.asked_of(image) == 5
    assert replace(tiling, alike=True).asked_of(image) == 3


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(
    "shape",
    [(8, 8, 4), (16, 16, 8), (13, 9, 11), (8, 21, 4), (5, 3, 2), (1, 1, 1), (20, 6, 4)],
    ids=str,
)
def test_a_network_that_copies_its_input_gives_the_softmax_of_it(
    shape: Triple, overlap: float
) -> None:
    image = noise(shape)
    assert np.allclose(tiled(copy, image, (8, 8, 4), overlap), softmax(image), atol=1e-5)


def test_probabilities_sum_to_one_also_where_tiles_disagree() -> None:
    calls = iter(range(10_000))

    def moody(image: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, "batch class i j k"]:
        return image if next(calls) % 2 else -image

    found = tiled(moody, noise((17, 11, 9)), (8, 8, 4))
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert (found >= 0).all()


def test_the_network_sees_nothing_but_tiles_of_the_patchs_size() -> None:
    seen: set[tuple[int, ...]] = set()

    def watch(image: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, "batch class i j k"]:
        seen.add(tuple(image.shape))
        return image

    for shape in ((5, 20, 9), (3, 3, 3), (8, 8, 4)):
        tiled(watch, noise(shape, 2), (8, 8, 4))
    assert {size[1:] for size in seen} == {(2, 8, 8, 4)}


def test_an_image_smaller_than_a_tile_is_continued_by_its_border() -> None:
    def highest(image: Float[Tensor, "batch channel i j k"]) -> Float[Tensor, "batch class i j k"]:
        return image.amax((2, 3, 4), keepdim=True).expand_as(image)

    image = -5 - np.abs(noise((3, 4, 2)))  # padding by 0 would be the highest value
    expected = softmax(np.broadcast_to(image.max((1, 2, 3), keepdims=True), image.shape).copy())
    assert np.allclose(tiled(highest, image, (8, 8, 4)), expected, atol=1e-5)


def test_the_image_is_left_as_it_was_and_no_gradient_is_kept() -> None:
    image = noise((9, 9, 9))
    before = image.copy()
    weight = torch.nn.Parameter(torch.ones(()))
    found = tiled(lambda tile: tile * weight, image, (8, 8, 4))
    assert np.array_equal(image, before)
    assert found.dtype == np.float32
    assert weight.grad is None


def test_every_tile_is_told_in_turn() -> None:
    told: list[tuple[int, int]] = []
    tiling = Tiling(
        segment=copy,
        patch=(8, 8, 4),
        overlap=0.0,
        device=CPU,
        progress=lambda tile, tiles: told.append((tile, tiles)),
    )
    for _ in predict_planes(tiling, noise((16, 8, 4)), ((), (1,))):
        pass
    assert sorted(told) == [(tile, 4) for tile in range(1, 5)]
