"""Our trunk and training against nnU-Net v2's, in one CPU thread and the same minutes.

usage: against_nnunet.py PEER                                    seconds a step
       against_nnunet.py PEER --study STUDY --out OUT --minutes M

PEER is an interpreter that has nnunetv2 (`python -m venv nnunet; nnunet/bin/pip install nnunetv2`).
A step is timed on noise, both networks of one shape and number of parameters: nnU-Net's plain U-Net
as its trainer takes a step on a CPU (float32, coarse outputs scored too), and in bfloat16 with one
output, as ours. With STUDY both learn from the dense masks of the cases that splits.json calls
`fit`, each planned and varied by its own rules, and those called `design` are scored, unflipped.
Minutes are of CPU time, so that a busy machine does not matter; of nnU-Net only steps are counted,
of ours preparation too.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from _nnunet_peer import fastest
from _studies import design_study, linked

from voxhint.config import Machine, MeasureConfig, Recipe, TrainConfig
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.models import segmentation_training
from voxhint.models.device import open_fabric
from voxhint.nets import build_trunk
from voxhint.training import loop, step_time
from voxhint.training.losses import hint_loss
from voxhint.verbs import train
from voxhint.verbs.measure import measure
from voxhint.verbs.run import run

PEER = Path(__file__).with_name("_nnunet_peer.py")
NUMBER = 501
HALVED = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
FLAT = [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2]]
SHAPES: dict[str, dict[str, Any]] = {
    "40 x 56 x 40": {"patch": [40, 56, 40], "strides": HALVED, "kernels": [[3, 3, 3]] * 4},
    "112 x 112 x 8": {
        "patch": [112, 112, 8],
        "strides": FLAT,
        "kernels": [[3, 3, 1], [3, 3, 1], [3, 3, 3], [3, 3, 3]],
    },
}


def step_of(shape: dict[str, Any]) -> tuple[Callable[[], None], int]:
    """Return a training step of our trunk, and the number of its parameters."""
    fabric = open_fabric(Machine(device="cpu", threads=1))
    torch.manual_seed(0)
    parts = {name: shape[name] for name in ("classes", "strides", "kernels", "features")}
    net = build_trunk("dynunet", channels=1, **parts).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    model, optimizer = fabric.setup(net, torch.optim.AdamW(net.parameters(), 2e-3))
    image = torch.randn(shape["batch"], 1, *shape["patch"])
    image = image.contiguous(memory_format=torch.channels_last_3d)
    classes = torch.randint(0, shape["classes"], (shape["batch"], *shape["patch"]))
    claims = torch.nn.functional.one_hot(classes, shape["classes"])
    belief = claims.permute(0, 4, 1, 2, 3).float().contiguous()

    def step() -> None:
        optimizer.zero_grad()
        fabric.backward(hint_loss(model(image).float(), belief, belief, dice_weight=1.0))
        fabric.clip_gradients(model, optimizer, max_norm=5.0)
        optimizer.step()

    return step, sum(p.numel() for p in net.parameters())


def asked(peer: Path, *words: object, root: Path | None = None) -> dict[str, Any]:
    """Return what nnU-Net's side answers."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    places = {} if root is None else {name: str(root / name) for name in names}
    one = {**os.environ, **places, "nnUNet_n_proc_DA": "1", "OMP_NUM_THREADS": "1"}
    line = [str(peer), str(PEER), *map(str, words)]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, env=one)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def steps(peer: Path) -> None:
    """Print how long steps take, and how many of ours fit into one of nnU-Net's."""
    print("| patch | parameters, theirs | ours, CPU s | theirs in bfloat16 | as its trainer |")
    print("|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        shape |= {"batch": 2, "classes": 3, "features": [16, 32, 64, 128]}
        step, count = step_of(shape)
        theirs, ours = asked(peer, "steps", json.dumps(shape)), fastest(step)
        ratios = [f"{theirs[k]:.3f} ({theirs[k] / ours:.2f} x)" for k in ("bfloat16", "trainer")]
        cells = [name, f"{count:,}, {theirs['parameters']:,}", f"{ours:.3f}", *ratios]
        print("| " + " | ".join(cells) + " |", flush=True)


def learn(peer: Path, study: Path, out: Path, minutes: float) -> None:
    """Print how good masks of design cases are after as many minutes of either training."""
    part = design_study(study, out / "study")
    raw = out / "nnUNet_raw" / f"Dataset{NUMBER}_design"
    for source, target in (("imagesTr", "imagesTr"), ("denseTr", "labelsTr")):
        linked(part / source, raw / target)
    write_json(raw / "dataset.json", read_object(part / "dataset.json"))
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        (out / name).mkdir(exist_ok=True)
    masks = out / "masks"
    theirs = asked(peer, "train", NUMBER, minutes, part / "imagesTs", masks, root=out)
    for module in (loop, step_time, segmentation_training):  # budgets of CPU time
        module.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[attr-defined]
    train.monotonic = time.process_time  # type: ignore[attr-defined]
    recipe = Recipe(train=TrainConfig(supervision="dense", budget=f"{minutes}m"))
    run(part, out / "run", recipe=recipe, machine=Machine(threads=1))
    ours = read_object(out / "run" / "model" / "made.json")
    print("| training | steps | parameters | Dice | of each label |\n|---|---|---|---|---|")
    for name, made, folder in (("nnU-Net", theirs, masks), ("ours", ours, out / "run" / "masks")):
        row(name, made, folder, part / "labelsTs")


def row(name: str, made: dict[str, Any], masks: Path, truth: Path) -> None:
    """Print the scores of masks."""
    table = measure(masks, truth, config=MeasureConfig())
    dice = table.overall.dice
    each = ", ".join(f"{label.dice.mean:.3f}" for label in table.labels.values())
    spread = f"{dice.mean:.3f} ({dice.low:.3f} to {dice.high:.3f})"
    print(f"| {name} | {made['steps']} | {made['parameters']:,} | {spread} | {each} |", flush=True)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", type=Path)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args()
    if args.study is None:
        steps(args.peer)
    else:
        learn(args.peer, args.study, args.out, args.minutes)


if __name__ == "__main__":
    main()
