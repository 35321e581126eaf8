"""Whether networks that mend their labels learn more: ways begun from one and the same training.

usage: mending.py STUDY LABELS OUT [--ways none teacher rounds mixed] [--before 400] [--steps 800]
                  [--hinted N] [--share S] [--fill] [-- KNOB=VALUE of voxhint train]

STUDY has imagesTs and labelsTs, as benchmarks/_studies.py makes it of design cases; LABELS is what
`voxhint label` wrote. One training without mending goes until `--before`; every way goes on from
its checkpoint until `--steps`, with the same batches. With --hinted N only that many cases have
their labels; ways but none see the others' images, and mend them too. --share is how much of a
label is the network's, --fill leaves to it only what labels leave open. Scored is the averaged
network, on the grid of training; a row is Dice, Dice and volume of each label, CPU seconds of
training from the checkpoint on.
"""

import argparse
import resource
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from torch import nn

from voxhint.config import Machine, TrainConfig
from voxhint.core import Case, SoftLabel
from voxhint.core.compact import CompactSoftLabel
from voxhint.core.progress import silent
from voxhint.core.study import CaseFiles, Study
from voxhint.files.images import read_ids
from voxhint.files.validate.study import open_study
from voxhint.models.device import open_fabric
from voxhint.models.fit import prepare_cases
from voxhint.models.folder import network_of
from voxhint.models.held_out_subjects import split_by_subject
from voxhint.models.prepared_cases import Bounds, Image, prepared_example
from voxhint.models.segmentation_training import VoxelLearning
from voxhint.prepare import Plan, bounds_on, prepare_image
from voxhint.train import Example, Settings, VoxelTask, mending, train
from voxhint.train.resume import load_state
from voxhint.train.tasks import voxels
from voxhint.verbs.train import _soft

if TYPE_CHECKING:
    from lightning_fabric import Fabric

KNOBS = {"width": 8, "patch_voxels": 60_000}


def cpu_seconds() -> float:
    """Return the processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def scores(net: nn.Module, tests: list[Example], fabric: "Fabric", plan: Plan) -> np.ndarray:
    """Return Dice and volume over true volume of each label of each case."""
    rows = []
    for one in tests:
        image = torch.from_numpy(np.asarray(one.image[:]).astype(np.float32))[None]
        with torch.no_grad(), fabric.autocast():
            logits = sliding_window_inference(
                image, plan.patch, 1, net, overlap=0.1, mode="gaussian"
            )
        found = logits.float()[0].argmax(0).numpy()  # type: ignore[union-attr]
        truth = np.asarray(one.bounds[0]).argmax(0)
        pairs = [(found == n, truth == n) for n in range(1, one.bounds.shape[1])]
        rows.append(
            [[2 * (f & t).sum() / (f.sum() + t.sum()), f.sum() / t.sum()] for f, t in pairs]
        )
    return np.array(rows)


def tests_of(study: Study, plan: Plan, out: Path) -> list[Example]:
    """Return the test cases with their truth, on the grid of training."""
    tests = []
    for one in study.test:

        def make(one: CaseFiles = one) -> tuple[Image, Bounds]:
            case = study.load(one, hints=False, dense=False)
            image, grid = prepare_image(case.images, plan)
            ids = read_ids(study.root / "labelsTs" / f"{one.name}.nii.gz")[0]
            classes = study.labels.to_classes(ids)
            truth = np.stack([classes == n for n in range(len(plan.labels.names))])
            soft = SoftLabel(truth.astype(np.float32), np.ones(truth.shape, np.float32), case.grid)
            return image, bounds_on(grid, soft)

        tests.append(prepared_example(out / "tests", one.name, len(plan.labels.names), make))
    return tests


def unlabelled(one: Example) -> Example:
    """Return a case of which nothing is known but its image."""
    bounds = np.zeros(one.bounds.shape, np.float16)
    bounds[1] = 1
    return Example.of(one.name, one.image, bounds)


def quiet(*_: object) -> None:
    """Tell nobody how far training is."""


def learn(
    way: str, task: VoxelTask, steps: int, out: Path, fabric: "Fabric"
) -> tuple[nn.Module, float]:
    """Return the averaged network of a way, and the processor time that it took."""
    torch.manual_seed(0)
    net = network_of(task.plan)
    path = out / f"{way}.ckpt"
    rate = task.config.learning_rate
    how = Settings(steps=steps, learning_rate=rate, seed=0, state=path, open_ended=True)
    began = cpu_seconds()
    train(fabric, net, task, settings=how, progress=quiet)
    spent = cpu_seconds() - began
    net.load_state_dict((load_state(path) or {})["averaged"])
    return net.eval(), spent


def arguments() -> tuple[argparse.Namespace, dict[str, int]]:
    """Return what was asked for, and knobs of training."""
    words, _, rest = "\0".join(sys.argv[1:]).partition("\0--\0")
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("study", "labels", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--ways", nargs="+", default=["none", "teacher", "rounds", "mixed"])
    parser.add_argument("--before", type=int, default=400)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--hinted", type=int)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--fill", action="store_true")
    set_to = (word.split("=") for word in rest.split("\0") if rest)
    return parser.parse_args(words.split("\0")), KNOBS | {name: int(n) for name, n in set_to}


def main() -> None:
    """Print the rows."""
    args, knobs = arguments()
    mending._SHARE, mending._FILL, voxels._RIPE = args.share, args.fill, args.before
    config = replace(TrainConfig(steps=args.steps), **knobs)
    machine = Machine(threads=1)
    fabric = open_fabric(machine)
    study, _ = open_study(args.study, deep=False)
    files = study.learning_cases(dense=False)

    def label_of(case: Case) -> SoftLabel | CompactSoftLabel:
        return _soft(args.labels, case, study)

    learning = VoxelLearning(study, files, label_of, config, machine, silent, time.monotonic())
    plan = learning.make_plan()
    examples = prepare_cases(
        args.out, files, lambda where, one: learning.prepare(where, one, plan), "", silent
    )
    tests = tests_of(study, plan, args.out)
    fit, held_out = split_by_subject(files, examples, config.held_out, 0)
    fit, others = fit[: args.hinted], fit[args.hinted :] if args.hinted else []
    every = [*fit, *map(unlabelled, others)]
    learn("begun", VoxelTask.of(fit, held_out, plan, config), args.before, args.out, fabric)
    for way in args.ways:
        shutil.copyfile(args.out / "begun.ckpt", args.out / f"{way}.ckpt")
        cases = fit if way == "none" else every
        task = VoxelTask.of(cases, held_out, plan, replace(config, mending=way))
        net, spent = learn(way, task, args.steps, args.out, fabric)
        found = scores(net, tests, fabric, plan)
        dice, volumes = found[..., 0].mean(0), np.median(found[..., 1], axis=0).round(2).tolist()
        print(f"| {way} | {dice.mean():.3f} | {dice.round(3).tolist()} | {volumes} | {spent:.0f} |")


if __name__ == "__main__":
    main()
