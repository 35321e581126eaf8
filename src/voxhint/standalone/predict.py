"""Masks from a network that was handed on, without voxhint: python predict.py IMAGE --out MASK.

Needs numpy, scipy and nibabel, and onnxruntime for model.onnx or PyTorch for model.ts. Several
channels are several images, in the order of plan.json; "-" stands for an optional one that is not
there.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from preparation import Array, prepare, restore

HERE = Path(__file__).resolve().parent
Network = Callable[[Array], Array]
"""From (1, channel, i, j, k) to probabilities (1, class, i, j, k)."""


def network(path: Path) -> Network:
    """Return the network of a file."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(
            path, providers=onnxruntime.get_available_providers()
        )
        return lambda patch: np.asarray(session.run(None, {"image": patch})[0])
    import torch

    script = torch.jit.load(path).eval()  # type: ignore[no-untyped-call]

    def ask(patch: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(script(torch.from_numpy(patch)).numpy())

    return ask


def probabilities(net: Network, image: Array, plan: Mapping[str, Any]) -> Array:
    """Return what the network says of a prepared image of any size, tile by tile.

    Tiles are blended by a Gaussian that trusts their middles; a small image is padded by its
    border.

    Args:
        net: The network.
        image: An array (channel, i, j, k).
        plan: The patch, and how far tiles overlap.

    Returns:
        An array (class, i, j, k).
    """
    patch = plan["patch"]
    short = [max(0, size - n) for size, n in zip(patch, image.shape[1:], strict=True)]
    pads = [(0, 0), *((n // 2, n - n // 2) for n in short)]
    padded = np.pad(image, pads, mode="edge")
    weight = _weight(patch)
    total: Array | None = None
    weights = np.zeros(padded.shape[1:], np.float32)
    for place in _places(padded.shape[1:], patch, plan["overlap"]):
        said = net(np.ascontiguousarray(padded[(slice(None), *place)])[None])[0]
        if total is None:
            total = np.zeros((len(said), *padded.shape[1:]), np.float32)
        total[(slice(None), *place)] += said * weight
        weights[place] += weight
    assert total is not None  # noqa: S101 - there is always a tile
    inner = tuple(
        slice(low, low + n) for (low, _), n in zip(pads[1:], image.shape[1:], strict=True)
    )
    return np.asarray((total / weights)[(slice(None), *inner)], np.float32)


def _weight(patch: list[int]) -> Array:
    """Return how far each voxel of a tile is trusted."""
    each = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in patch]
    blend = np.einsum("i,j,k->ijk", *each)
    return np.asarray(np.maximum(blend, max(float(blend.min()), 1e-3)), np.float32)


def _places(
    shape: tuple[int, ...], patch: list[int], overlap: float
) -> Iterator[tuple[slice, ...]]:
    """Yield where tiles lie; the last along an axis ends where the image ends."""
    starts = []
    for size, side in zip(shape, patch, strict=True):
        step = max(1, int(side * (1 - overlap)))
        starts.append([min(n, size - side) for n in range(0, size - side + step, step)])
    for place in itertools.product(*starts):
        yield tuple(slice(n, n + side) for n, side in zip(place, patch, strict=True))


def main() -> None:
    """Write the mask of one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", help="NIfTI files, one a channel")
    parser.add_argument("--out", required=True, help="the mask, a NIfTI file")
    parser.add_argument("--plan", type=Path, default=HERE / "plan.json")
    asked = parser.parse_args()
    plan = json.loads(asked.plan.read_text("utf-8"))
    if len(asked.images) != len(plan["channels"]):
        parser.error(f"give one image for each of {', '.join(plan['channels'])}")
    opened: dict[str, Any] = {
        channel: nibabel.load(path)
        for channel, path in zip(plan["channels"], asked.images, strict=True)
        if path != "-" or channel not in plan["optional_channels"]
    }
    images = {
        channel: (image.get_fdata(dtype=np.float32), image.affine)
        for channel, image in opened.items()
    }
    prepared, affine = prepare(images, plan)
    said = probabilities(network(asked.plan.with_name(plan["network"])), prepared, plan)
    first = next(iter(opened.values()))
    classes = restore(said, affine, first.shape, first.affine).argmax(0)
    ids = np.array([*plan["labels"].values()], np.uint8)[classes]
    mask: Any = nibabel.nifti1.Nifti1Image(ids, first.affine, first.header)  # type: ignore[no-untyped-call]
    mask.set_data_dtype(np.uint8)
    nibabel.save(mask, asked.out)


if __name__ == "__main__":
    main()
