"""Memory of training on whole CTs, and what reading patches costs beside a step.

usage: whole_scan_training.py IMAGE OUT --slices 100 --cases 2 16

IMAGE is a folder of DICOM slices or a file, made as long as asked for by mirroring. Its labels are
made-up, as for `whole_scans.py`. It is labelled and prepared once; more cases are links to its
files. Each number of cases is trained on for some steps in a process of its own, in one thread, by
a plan whose spacing is that of the image. Time is CPU time, start left out; memory is the peak.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from whole_scans import lengthened, make_study

from voxhint.config import LabelConfig, Machine, TrainConfig
from voxhint.core.study import Study
from voxhint.files import open_study
from voxhint.files.images import read_volume
from voxhint.files.soft_labels import compact_path, read_soft_label, write_soft_label
from voxhint.models.device import open_fabric
from voxhint.models.folder import network_of
from voxhint.models.planning import measure_images
from voxhint.models.prepared_cases import Bounds, Image, prepared_example
from voxhint.prepare import Plan, PlanOptions, bounds_on, make_plan, prepare_image
from voxhint.propagate.study import PropagationPlan, label_case
from voxhint.training import Example, VoxelTask
from voxhint.training.batches import Examples, draw_batch

STEPS = 10


def planned(study: Study) -> Plan:
    """Return the plan of usual patches at the spacing of the image."""
    return make_plan(
        measure_images(study, study.training, 0, lambda *_: None),
        study.channels,
        study.labels,
        options=PlanOptions(network="dynunet", width=16, patch_voxels=110_000),
    )


def prepared(study: Study, plan: Plan, folder: Path, name: str) -> Example:
    """Return the case, prepared if it is not yet."""
    (files,) = study.training

    def make() -> tuple[Image, Bounds]:
        soft = read_soft_label(folder, "one", study.labels)
        assert soft is not None  # noqa: S101
        image, grid = prepare_image(study.load(files, hints=False).images, plan)
        return image, bounds_on(grid, soft)

    return prepared_example(folder, name, len(plan.labels.names), make)


def trained(study: Study, folder: Path, cases: int) -> str:
    """Train for some steps.

    Returns:
        What a batch and a step took.
    """
    plan, fabric = planned(study), open_fabric(Machine(threads=1))
    examples = [prepared(study, plan, folder, f"c{number}") for number in range(cases)]
    task = VoxelTask.of(examples, [], plan, TrainConfig(dice_weight=0.3, flips=False))
    net = fabric.setup_module(network_of(plan))
    rng, drawn, steps = np.random.default_rng(0), 0.0, 0.0
    for step in range(STEPS + 1):
        began = time.process_time()
        draw_batch(Examples.of(examples), plan.patch, plan.batch, rng)
        read = time.process_time() - began
        began = time.process_time()
        fabric.backward(task.loss(net, np.random.default_rng(step), torch.device("cpu")))
        if step:  # the first one warms up
            drawn, steps = drawn + read, steps + time.process_time() - began
    size = sum((folder / f"c0.{part}.b2nd").stat().st_size for part in ("image", "bounds")) / 1e6
    share = drawn / steps
    return f"{size:.0f} | {drawn / STEPS:.3f} | {steps / STEPS:.2f} | {share:.1%} |"


def done(step: str, cases: int, out: Path) -> str:
    """Do one step.

    Returns:
        The beginning of its row.
    """
    study, _ = open_study(out / "study")
    if step == "label":
        plan = PropagationPlan(dict.fromkeys(study.labels.names, 30.0))
        known = label_case(study, study.training[0], plan, LabelConfig())
        write_soft_label(out, "one", known.soft, study.labels)
        size = compact_path(out, "one").stat().st_size / 1e6
        return f"| label | 1 | {size:.0f} | | | |"
    if step == "train":
        return f"| train | {cases} | {trained(study, out, cases)}"
    prepared(study, planned(study), out, "c0")
    for number in range(1, 100):
        for part in ("image", "bounds"):
            (out / f"c{number}.{part}.b2nd").hardlink_to(out / f"c0.{part}.b2nd")
    return "| prepare | 1 | | | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--labels", type=int, default=5)
    parser.add_argument("--cases", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--step", choices=["label", "prepare", "train"])
    args = parser.parse_args()
    if args.step is not None:
        print(done(args.step, args.cases[0], args.out), end="", flush=True)
        return
    image = lengthened(read_volume(args.image, channel="CT"), args.slices)
    make_study(image, args.out / "study", args.labels, "clicks")
    print("| step | cases | MB a case | s a batch | s a step | share | peak GiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for step, cases in [("label", 1), ("prepare", 1), *(("train", n) for n in args.cases)]:
        words = [str(args.image), str(args.out), "--step", step, "--cases", str(cases)]
        command = [sys.executable, __file__, *words]
        _, status, used = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, command), 0)
        if status:
            sys.exit(f"{step} ended with {status}")
        print(f" {used.ru_maxrss / 2**20:.2f} |", flush=True)


if __name__ == "__main__":
    main()
