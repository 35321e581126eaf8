"""Time and memory of `predict` on one whole CT, against MONAI's sliding window.

usage: whole_scan_prediction.py IMAGE OUT --shape 256 256 150 --labels 5 --overlap 0.25

IMAGE is a folder of DICOM slices or a file. Of it as much as asked for is taken, mirrored along its
slices where there are too few. The network is untrained: masks mean nothing, time and memory do.
Both sides read the same file, prepare it alike, ask the same network about tiles of one size and
overlap, in one thread, blend by a Gaussian, and write a mask; each runs in a process of its own.
MONAI is given 1 and 4 tiles at a time. Time is CPU time, start included; memory is the peak. Both
compute in float32. `--every 50` asks the network about each 50th batch of tiles alone, and makes up
what it says of the others: the peak of memory stays the same, and the time means nothing.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from whole_scans import lengthened

from voxhint.config import Machine, PredictConfig
from voxhint.core import LabelSet, Volume
from voxhint.files.atomic import write_json
from voxhint.files.images import read_ids, read_volume, write_ids, write_image
from voxhint.models import folder
from voxhint.models.device import open_fabric
from voxhint.models.folder import PLAN, WEIGHTS, network_of, open_model
from voxhint.nets import weights_bytes
from voxhint.prepare import Fingerprint, PlanOptions, make_plan, prepare_image
from voxhint.verbs.predict import predict

MACHINE = Machine(device="cpu", threads=1, precision="float32")
HEADS = "| voxels | labels | by | tiles at once | CPU s | s of wall clock | peak GiB |"


def make_model(image: Volume, place: Path, labels: int, width: int) -> None:
    """Write the model folder of an untrained network that suits the image."""
    turned = image.grid.turned(image.grid.turn_to_ras())
    i, j, k = (float(step) for step in turned.spacing_mm)
    samples = tuple(float(value) for value in image.voxels[::16, ::16, ::8].ravel())
    names = ("background", *(f"l{number}" for number in range(1, labels + 1)))
    plan = make_plan(
        [Fingerprint(turned.shape, (i, j, k), {"CT": samples})],
        ("CT",),
        LabelSet(names, tuple(range(labels + 1))),
        options=PlanOptions(network="dynunet", width=width, patch_voxels=110_000),
    )
    place.mkdir(parents=True)
    torch.manual_seed(0)
    write_json(place / PLAN, plan.to_json())
    (place / WEIGHTS).write_bytes(weights_bytes(network_of(plan)))
    print(f"patch {plan.patch}, features {plan.features}", file=sys.stderr)


def asked_rarely(network: nn.Module, every: int, labels: int) -> nn.Module:
    """Return a network that computes each so manieth batch alone."""
    plain, turn = network.forward, iter(range(2**31))

    def forward(tiles: Tensor) -> Tensor:
        if next(turn) % every == 0:
            said: Tensor = plain(tiles)
            return said
        return torch.zeros(len(tiles), labels + 1, *tiles.shape[2:])

    network.forward = forward
    return network


def monai(model: Path, image: Path, out: Path, overlap: float, at_once: int) -> None:
    """Predict as a program would that is written around MONAI's sliding window."""
    from monai.inferers.utils import sliding_window_inference

    opened = open_model(model, open_fabric(MACHINE))
    volume = read_volume(image, channel="CT")
    grid = volume.grid
    prepared, working = prepare_image({"CT": volume}, opened.plan)
    del volume
    with torch.inference_mode():
        probs = sliding_window_inference(
            torch.from_numpy(prepared)[None],
            opened.plan.patch,
            at_once,
            lambda tiles: opened.net(tiles).softmax(1),
            overlap,
            "gaussian",
            padding_mode="replicate",
        )
    classes = probs[0].argmax(0).to(torch.uint8).numpy()
    out.mkdir()
    write_ids(out / "one.nii.gz", grid.turn_along(working).undo(classes), grid)


def in_own_process(words: Sequence[object]) -> str:
    """Run this program again with other words.

    Returns:
        What it took, as the rest of a row.
    """
    command = [sys.executable, __file__, *map(str, words)]
    began = time.monotonic()
    _, status, used = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, command), 0)
    if status:
        sys.exit(f"{words} ended with {status}")
    cpu, wall = used.ru_utime + used.ru_stime, time.monotonic() - began
    return f"{cpu:.0f} | {wall:.0f} | {used.ru_maxrss / 2**20:.2f} |"


def words() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 256, 150])
    parser.add_argument("--labels", type=int, default=5)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--by", choices=["voxhint", "monai"])
    return parser.parse_args()


def predict_by(args: argparse.Namespace) -> None:
    """Predict by one of the two."""
    if args.every > 1:
        plain = folder.network_of
        folder.network_of = lambda plan: asked_rarely(plain(plan), args.every, args.labels)
    model, scans, out = args.out / "model", args.out / "scans", args.out / args.by
    if args.by == "monai":
        (at_once,) = args.at_once
        out = out.with_name(f"monai{at_once}")
        monai(model, scans / "one_0000.nii.gz", out, args.overlap, at_once)
    else:
        config = PredictConfig(overlap=args.overlap)
        predict(model, scans, out, config=config, machine=MACHINE)


def main() -> None:
    args = words()
    if args.by:
        predict_by(args)
        return
    image = read_volume(args.image, channel="CT")
    i, j, k = args.shape
    image = lengthened(image.cropped((slice(0, i), slice(0, j), slice(None))), k)
    scan = args.out / "scans" / "one_0000.nii.gz"
    scan.parent.mkdir(parents=True)
    write_image(scan, image)
    make_model(image, args.out / "model", args.labels, args.width)
    del image
    print(HEADS + "\n|" + "---|" * (HEADS.count("|") - 1))
    asked = [args.image, args.out, "--overlap", args.overlap, "--labels", args.labels]
    asked += ["--every", args.every, "--by"]
    row = f"| {i} x {j} x {k} | {args.labels} |"
    print(f"{row} voxhint | 2 | {in_own_process([*asked, 'voxhint'])}", flush=True)
    ours, _ = read_ids(args.out / "voxhint" / "one.nii.gz")
    for at_once in args.at_once:
        found = in_own_process([*asked, "monai", "--at-once", at_once])
        print(f"{row} MONAI | {at_once} | {found}", flush=True)
        theirs, _ = read_ids(args.out / f"monai{at_once}" / "one.nii.gz")
        if args.every == 1:
            print(f"{np.mean(ours != theirs):.2e} of the voxels differ", file=sys.stderr)


if __name__ == "__main__":
    main()
