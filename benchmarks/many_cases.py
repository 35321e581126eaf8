"""CPU time of every step at many small cases: none may grow faster than their number.

usage: many_cases.py OUT --cases 250 1000

Made-up cases of 16 x 16 x 16 voxels hold a bright ball each, which two clicks show. They go through
`check`, `label`, `train` (few steps), `predict`, `measure`, `run` and `report`, each in a process
of its own and in one thread. A row tells milliseconds of CPU for each case and step, less what four
cases take, so that starting is left out; the size of the report stands at its end.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from voxhint.core import Grid, Volume
from voxhint.files.images import write_ids, write_image

SIZE = 16
TRAINING = ("--steps", 5, "--width", 4, "--patch-voxels", 4096)
HERE = ("--threads", 1, "--device", "cpu")


def make_study(folder: Path, cases: int, size: int = SIZE) -> None:
    """Write a study: half of its cases have clicks, the others a truth."""
    grid, radius = Grid((size,) * 3, np.diag([2.0, 2.0, 2.0, 1.0])), size / 4
    parts = ("imagesTr", "imagesTs", "labelsTs", "hints")
    for part in parts:
        (folder / part).mkdir(parents=True)
    facts = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "ball": 1}}
    half = cases // 2
    told = {**facts, "numTraining": cases - half, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(told))
    rng, rows = np.random.default_rng(0), []
    for number in range(cases):
        name, middle = f"c{number:05d}", rng.uniform(radius, size - radius, 3)
        away_from = np.linalg.norm(np.indices(grid.shape).T - middle, axis=-1).T
        ball = away_from < radius
        voxels = 200 * ball - 100 + rng.normal(0, 20, ball.shape)
        image = Volume(np.rint(voxels).astype(np.float32), grid, "HU")
        tested = number < half
        write_image(folder / f"images{'Ts' if tested else 'Tr'}" / f"{name}_0000.nii.gz", image)
        if tested:
            write_ids(folder / "labelsTs" / f"{name}.nii.gz", ball.astype(np.uint8), grid)
            continue
        away = np.minimum((middle + size / 2) % size, size - 1)
        rows += [(name, label, *(2 * at).round(2)) for label, at in
                 (("ball", middle), ("background", away))]  # fmt: skip
    with (folder / "hints" / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "label", "x", "y", "z"), *rows])


def seconds(*words: object) -> float:
    """Run a command.

    Returns:
        Its CPU time.
    """
    command = [sys.executable, "-m", "voxhint", *map(str, words)]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(process, 0)
    if status:
        sys.exit(f"{words} ended with {status}")
    return used.ru_utime + used.ru_stime


def steps(study: Path, out: Path) -> Iterator[tuple[str, float]]:
    """Yield the CPU time of every step."""
    labels, model, masks = out / "labels", out / "model", out / "masks"
    learnt = ("--labels", labels, "--out", model, *TRAINING, *HERE)
    yield "check", seconds("check", study)
    yield "label", seconds("label", study, "--out", labels, *HERE)
    yield "train", seconds("train", study, *learnt)
    yield "predict", seconds("predict", model, study / "imagesTs", "--out", masks, *HERE)
    yield "measure", seconds("measure", masks, study / "labelsTs")
    yield "run", seconds("run", study, "--out", out / "run", *TRAINING, *HERE)
    yield "report", seconds("report", out / "run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", type=int, nargs="+", default=[250, 1000])
    args = parser.parse_args()
    few: dict[str, float] = {}
    for cases in [4, *args.cases]:
        study = args.out / f"study{cases}"
        make_study(study, cases)
        if not few:
            few = dict(steps(study, args.out / str(cases)))
            print("| cases |" + "".join(f" {step} |" for step in few) + " report MB |")
            print("|---|" + "---|" * (len(few) + 1), end="")
            continue
        print(f"\n| {cases} |", end="", flush=True)
        for step, spent in steps(study, args.out / str(cases)):
            print(f" {1000 * (spent - few[step]) / cases:.0f} |", end="", flush=True)
        size = (args.out / str(cases) / "run" / "report.html").stat().st_size / 1e6
        print(f" {size:.1f} |", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
