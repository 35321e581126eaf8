"""What cases without hints teach beside a dozen with hints: ways begun from one training.

usage: unlabelled.py STUDY LABELS OUT [--ways none teacher teacher+cutmix sure sure+cutmix cutmix]
                     [--before 400] [--steps 800] [--spacing MM] [--patch I J K] [--seed 0]

STUDY has imagesTs and labelsTs, as benchmarks/_studies.py makes it of design cases, and hints of
some of its cases; LABELS is what `voxhint label` wrote. One training of the hinted cases goes until
`--before`; every way goes on from its checkpoint until `--steps`. Half of each batch then is
patches of cases without hints, labelled by the averaged network: `teacher` trusts its probabilities
by exp(-entropy), `sure` takes its class where that has 0.7 or more. `+cutmix` exchanges a box, two
thirds of each side, between a hinted and an unlabelled patch; `mixed` is that and `cutmix` in turns
at random. The control `cutmix` exchanges boxes between hinted patches, and sees no other case.
Scored is the averaged network, on the grid of training; a row is Dice, Dice and volume of each
label, and CPU seconds.
"""

import argparse
import copy
import resource
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor, nn
from torch.nn import functional

from voxhint.config import Machine, TrainConfig
from voxhint.core import SoftLabel
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
from voxhint.train import Example, Settings, VoxelTask, loop, train
from voxhint.train.batches import Batch, Examples, draw_batch
from voxhint.train.resume import load_state
from voxhint.verbs.train import _soft

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SURE = 0.7
SIDE = 2 / 3


def cpu_seconds() -> float:
    """Return the processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass(eq=False)
class Pupil:
    """The task of voxels, and cases that nobody hinted."""

    hinted: VoxelTask
    others: Examples
    way: str
    before: int
    fabric: "Fabric"
    teacher: nn.Module
    run: Any = None
    step: int = field(default=0, init=False)

    def before_step(self, step: int, /) -> None:
        """Take note of how far training is; the teacher is a copy with the averaged weights."""
        self.step = step
        self.teacher.load_state_dict(self.run.averaged)

    def validation_loss(self, net: nn.Module, device: torch.device, /) -> float | None:
        """Return the loss of held-out hints."""
        return self.hinted.validation_loss(net, device)

    def loss(self, model: nn.Module, rng: np.random.Generator, device: torch.device, /) -> Tensor:
        """Return the loss of a batch, half of it of other cases if the way asks for them."""
        if self.way == "none" or self.step < self.before:
            return self.hinted.loss(model, rng, device)
        plan, half = self.hinted.plan, self.hinted.plan.batch // 2
        alone = self.way == "cutmix" or (self.way == "mixed" and rng.random() < 0.5)
        one = draw_batch(self.hinted.fit, plan.patch, plan.batch - half, rng)
        two = draw_batch(self.hinted.fit if alone else self.others, plan.patch, half, rng)
        two = two if alone else self.labelled(two)
        names = ("image", "belief", "plausible", "inside")
        batch = Batch(*(torch.cat([getattr(one, n), getattr(two, n)]) for n in names))
        if self.way not in ("teacher", "sure"):
            batch = exchanged(batch, half, rng)
        batch = self.hinted._varied(batch, rng)
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        return self.hinted.score(model(image).float(), batch)

    def labelled(self, batch: Batch) -> Batch:
        """Return patches with what the teacher says of them."""
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        with torch.no_grad(), self.fabric.autocast():
            p = self.teacher(image).float().softmax(1)
        if self.way.startswith("teacher"):
            trust = (p * p.clamp(min=1e-6).log()).sum(1, keepdim=True).exp()
        else:
            most, winner = p.max(1)
            trust = (most >= SURE)[:, None].float()
            p = functional.one_hot(winner, p.shape[1]).movedim(-1, 1).float()
        trust = trust * batch.inside
        return replace(batch, belief=trust * p, plausible=1 - trust * (1 - p))


def exchanged(batch: Batch, half: int, rng: np.random.Generator) -> Batch:
    """Return a batch whose halves have exchanged a box."""
    sides = batch.image.shape[2:]
    lengths = [max(1, round(SIDE * side)) for side in sides]
    starts = [int(rng.integers(0, n - m + 1)) for n, m in zip(sides, lengths, strict=True)]
    box = (
        slice(None),
        slice(None),
        *(slice(a, a + m) for a, m in zip(starts, lengths, strict=True)),
    )

    def mixed(part: Tensor) -> Tensor:
        new = part.clone()
        new[:half][box], new[half:][box] = part[half:][box], part[:half][box]
        return new

    return batch.each(mixed)


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


def unlabelled_of(study: Study, cases: list[CaseFiles], plan: Plan, out: Path) -> list[Example]:
    """Return cases of which nothing but the image is known."""
    found = []
    for one in cases:

        def make(one: CaseFiles = one) -> tuple[Image, Bounds]:
            image, _ = prepare_image(study.load(one, hints=False, dense=False).images, plan)
            unknown = np.zeros((2, *image.shape[1:]), np.float32)
            unknown[1] = 1
            return image, (unknown for _ in plan.labels.names)

        found.append(prepared_example(out / "others", one.name, len(plan.labels.names), make))
    return found


def scores(net: nn.Module, tests: list[Example], fabric: "Fabric", plan: Plan) -> np.ndarray:
    """Return Dice and volume over true volume of each label of each case; NaN where it has none."""
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
            [
                [2 * (f & t).sum() / (f.sum() + t.sum()), f.sum() / t.sum()]
                if t.any()
                else [np.nan, np.nan]
                for f, t in pairs
            ]
        )
    return np.array(rows)


def learn(task: Pupil, steps: int, path: Path, seed: int) -> tuple[nn.Module, float]:
    """Return the averaged network of a way, and the processor time that it took."""
    torch.manual_seed(seed)
    net = network_of(task.hinted.plan)
    begin = loop._Run.start

    def start(*what: Any) -> Any:  # noqa: ANN401
        task.run = begin(*what)
        return task.run

    loop._Run.start = staticmethod(start)  # type: ignore[method-assign]
    rate = task.hinted.config.learning_rate
    how = Settings(steps=steps, learning_rate=rate, seed=seed, state=path, open_ended=True)
    began = cpu_seconds()
    train(task.fabric, net, task, settings=how, progress=lambda *_: None)
    loop._Run.start = staticmethod(begin)  # type: ignore[method-assign]
    spent = cpu_seconds() - began
    net.load_state_dict((load_state(path) or {})["averaged"])
    return net.eval(), spent


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("study", "labels", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--ways", nargs="+", default=["none", "cutmix", "sure+cutmix"])
    parser.add_argument("--before", type=int, default=400)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--spacing", type=float)
    parser.add_argument("--patch", nargs=3, type=int)
    parser.add_argument("--patch-voxels", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:  # noqa: PLR0915
    """Print the rows."""
    args = arguments()
    config = replace(TrainConfig(steps=args.steps), width=args.width, flips=False)
    config = replace(config, patch_voxels=args.patch_voxels)
    machine = Machine(threads=1, seed=args.seed)
    fabric = open_fabric(machine)
    study, _ = open_study(args.study, deep=False)
    files = study.learning_cases(dense=False)
    learning = VoxelLearning(
        study,
        files,
        lambda c: _soft(args.labels, c, study),
        config,
        machine,
        silent,
        time.monotonic(),
    )
    plan = learning.make_plan()
    if args.spacing and args.patch:
        plan = replace(plan, spacing_mm=(args.spacing,) * 3, patch=tuple(args.patch))
    examples = prepare_cases(
        args.out, files, lambda where, one: learning.prepare(where, one, plan), "", silent
    )
    fit, held_out = split_by_subject(files, examples, config.held_out, 0)
    names = {one.name for one in files}
    rest = [one for one in study.training if one.name not in names]
    others = unlabelled_of(study, rest, plan, args.out)
    tests = tests_of(study, plan, args.out)
    task = VoxelTask.of(fit, held_out, plan, config)
    begun = args.out / f"begun-{args.seed}.ckpt"
    for way in ("begun", *args.ways):
        path = args.out / f"{way}-{args.seed}.ckpt"
        if way != "begun":
            shutil.copyfile(begun, path)
        twin = copy.deepcopy(network_of(plan)).eval()
        pool = Examples(others, []) if others else Examples.of(fit)
        named = "none" if way == "begun" else way
        pupil = Pupil(task, pool, named, args.before, fabric, twin)
        steps = args.before if way == "begun" else args.steps
        net, spent = learn(pupil, steps, path, args.seed)
        found = scores(net, tests, fabric, plan)
        dice = np.nanmean(found[..., 0], axis=0)
        volumes = np.nanmedian(found[..., 1], axis=0).round(2).tolist()
        print(f"| {way} | {dice.mean():.3f} | {dice.round(3).tolist()} | {volumes} | {spent:.0f} |")


if __name__ == "__main__":
    main()
