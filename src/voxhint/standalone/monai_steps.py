"""What a MONAI bundle of voxhint needs beside MONAI: its preparation, and the way back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from scripts.preparation import prepare, restore

_Item = dict[str, Any]


def cases(folder: str, keys: Sequence[str]) -> list[_Item]:
    """Return the images of a folder, one item a case.

    Args:
        folder: Holds CASE_0000.nii.gz, CASE_0001.nii.gz and so on, a number for each channel, or
            one file for each case if there is one channel.
        keys: What the channels are called in an item.

    Raises:
        FileNotFoundError: There is none.
    """
    files = sorted(Path(folder).glob("*.nii*"))
    first = [path for path in files if "_0000.nii" in path.name]
    if not first and len(keys) == 1:
        first = files
    if not first:
        msg = f"{folder}: holds no CASE_0000.nii.gz; name the folder with --dataset_dir"
        raise FileNotFoundError(msg)
    found = []
    for path in first:
        named = [
            (key, path.with_name(path.name.replace("_0000.nii", f"_{number:04d}.nii")))
            for number, key in enumerate(keys)
        ]
        found.append({key: str(one) for key, one in named if one.is_file()})
    return found


class Prepared:
    """Makes the images of a case alike those that the network learnt from."""

    def __init__(self, plan: str, keys: Sequence[str]) -> None:
        self.plan = json.loads(Path(plan).read_text("utf-8"))
        self.keys = keys

    def __call__(self, item: _Item) -> _Item:
        """Return a case with one array for the network in `image`.

        Args:
            item: Its images, each with a channel before its axes.

        Raises:
            ValueError: A channel is missing that is not optional.
        """
        channels = dict(zip(self.plan["channels"], self.keys, strict=True))
        lacking = {c for c, key in channels.items() if key not in item}
        if not lacking <= {*self.plan["optional_channels"]}:
            msg = f"channels {', '.join(sorted(lacking))} are missing; add their images"
            raise ValueError(msg)
        loaded = {c: item[key] for c, key in channels.items() if key in item}
        images = {
            channel: (np.asarray(one[0], np.float32), np.asarray(one.affine, np.float64))
            for channel, one in loaded.items()
        }
        stack, affine = prepare(images, self.plan)
        first = next(iter(loaded.values()))
        meta = {**_without_place(first.meta), "spatial_shape": np.array(first.shape[1:])}
        meta["original_affine"] = np.asarray(first.affine, np.float64)
        image = MetaTensor(torch.from_numpy(stack), affine=torch.from_numpy(affine), meta=meta)
        return {"image": image}


class Restored:
    """Makes a mask of probabilities, on the grid of the first image."""

    def __init__(self, plan: str) -> None:
        labels = json.loads(Path(plan).read_text("utf-8"))["labels"]
        self.ids = np.array([*labels.values()], np.uint8)

    def __call__(self, item: _Item) -> _Item:
        """Return a case with its mask in `pred`.

        Args:
            item: Probabilities in `pred`, the prepared image in `image`.
        """
        meta = item["image"].meta
        i, j, k = (int(n) for n in meta["spatial_shape"])
        onto = np.asarray(meta["original_affine"], np.float64)
        affine = np.asarray(item["image"].affine, np.float64)
        said = np.asarray(torch.as_tensor(item["pred"]).cpu(), np.float32)
        ids = self.ids[restore(said, affine, (i, j, k), onto).argmax(0)]
        kept, place = _without_place(meta), torch.from_numpy(onto)
        mask = MetaTensor(torch.from_numpy(ids[None]), affine=place, meta=kept)
        return {**item, "pred": mask}


def _without_place(meta: _Item) -> _Item:
    """Return what is told of an image but where it lies, which is said anew."""
    return {key: value for key, value in meta.items() if key != "affine"}


class Probabilities(torch.nn.Module):
    """A network and its temperature: from a patch to probabilities."""

    def __init__(self, net: torch.nn.Module, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(  # type: ignore[explicit-override]  # typing.override needs Python 3.12
        self, image: torch.Tensor
    ) -> torch.Tensor:
        """Return the probability of each class."""
        logits: torch.Tensor = self.net(image)
        return (logits.float() / self.temperature).softmax(1)
