"""Scribbles on stacks of thick slices, shaped like cine MR of the heart in short axis.

usage: short_axis.py OUT [--cases N] [--budget TIME] [--threads N] [-- FLAGS OF voxhint run]

Invented hearts of 256 x 256 x 10 voxels of 1.4 x 1.4 x 9 mm: a cavity, the wall around it and the
other chamber, with strokes two voxels wide in every slice, of background too. It is not anatomy:
it shows what such a study costs. Printed are the plan, seconds to label a case, seconds of a step,
the steps that fit into two hours, peak memory, and Dice on cases without hints.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from _words import read_words
from jaxtyping import Float32, UInt8
from scipy import ndimage

from voxhint.core import UNDRAWN, Grid, Volume
from voxhint.files.images import write_ids, write_image

Image = Float32[np.ndarray, "i j k"]
Classes = UInt8[np.ndarray, "i j k"]

SHAPE, SPACING_MM = (256, 256, 10), (1.4, 1.4, 9.0)
LABELS = ("background", "right ventricle", "myocardium", "left ventricle")
BRIGHT = (90.0, 210.0, 60.0, 230.0)
TWO_HOURS = 7200.0
WIDE = 2  # voxels of a stroke


def heart(rng: np.random.Generator) -> tuple[Image, Classes]:
    """Return an invented image and its classes."""
    x, y, z = np.indices(SHAPE).astype(np.float32)
    at = 128 + rng.normal(0, 8, 2)
    i, j = (x - at[0]) * SPACING_MM[0], (y - at[1]) * SPACING_MM[1]
    taper = 1 - 0.5 * ((z - 3) / 10) ** 2
    size = rng.uniform(0.85, 1.15) * taper
    away = np.hypot(i, j * rng.uniform(0.9, 1.1))
    right = np.hypot(i + 38 * size, 0.7 * j) < 30 * size
    classes = np.where(right & (z < 9), 1, 0)
    classes = np.where(away < 34 * size, 2, classes)
    classes = np.where(away < rng.uniform(20, 25) * size, 3, classes).astype(np.uint8)
    body = np.hypot(i / 150, j / 110) < 1
    clutter = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (9, 9, 1))
    image = np.asarray(BRIGHT)[classes] * body + np.where(classes == 0, 900 * clutter * body, 0)
    image = ndimage.gaussian_filter(image, (0.7, 0.7, 0)) * rng.uniform(0.5, 4)
    noise = rng.normal(0, 0.05 * image.std(), SHAPE)
    return (image + noise).astype(np.float32), classes


def strokes(classes: Classes, rng: np.random.Generator) -> Classes:
    """Return a bending line along the middle of each class in each slice."""
    drawn = np.full_like(classes, UNDRAWN)
    for k in range(SHAPE[2]):
        sheet = classes[:, :, k]
        for number in range(len(LABELS)):
            depth = ndimage.distance_transform_edt(sheet == number)
            middle = (depth > 0.6 * depth.max()) if number else (depth > 6) & (depth < 9)
            places = np.argwhere(middle & (depth > 1))
            if not len(places):
                continue
            start = places[rng.integers(len(places))]
            near = np.abs(places - start).max(1) < (40 if number == 0 else 12)
            line = np.zeros(sheet.shape, bool)
            line[tuple(places[near].T)] = True
            thin = line & (np.abs(depth - np.median(depth[line])) < WIDE / 2)
            drawn[:, :, k][thin] = number
    return drawn


def write_study(out: Path, cases: int, test_cases: int) -> None:
    """Write training cases with strokes, and test cases with truths."""
    affine = np.diag([*SPACING_MM, 1.0])
    grid = Grid(SHAPE, affine)
    for number in range(cases + test_cases):
        rng = np.random.default_rng([0, number])
        image, classes = heart(rng)
        name, training = f"heart_{number:03d}", number < cases
        folder = "imagesTr" if training else "imagesTs"
        write_image(out / folder / f"{name}_0000.nii.gz", Volume(image, grid, "a.u."))
        truth = "denseTr" if training else "labelsTs"
        write_ids(out / truth / f"{name}.nii.gz", classes, grid)
        if training:
            write_ids(out / "hints/scribbles" / f"{name}.nii.gz", strokes(classes, rng), grid)
    described = {
        "channel_names": {"0": "MR"},
        "labels": {name: number for number, name in enumerate(LABELS)},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (out / "dataset.json").write_text(json.dumps(described), "utf-8")


def main() -> None:
    """Make the study, run it and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--threads", default="1")
    args = read_words(parser)
    study, run = args.out / "study", args.out / "run"
    if not study.exists():
        write_study(study, args.cases, 3)
    flags = (
        "--budget",
        args.budget,
        "--threads",
        args.threads,
        *args.run,
    )
    subprocess.run(["voxhint", "run", study, "--out", run, *flags], check=True, stdout=sys.stderr)
    made = json.loads((run / "made.json").read_text("utf-8"))
    model = json.loads((run / "model/made.json").read_text("utf-8"))
    plan = json.loads((run / "model/plan.json").read_text("utf-8"))
    scores = json.loads((run / "scores.json").read_text("utf-8"))
    step = model["seconds"]["train"] / model["steps"]
    print(f"patch {plan['patch']}, strides {plan['strides']}, kernels {plan['kernels']}")
    print(f"label {made['seconds']['label'] / args.cases:.1f} s a case")
    print(f"train {step:.2f} s a step: {TWO_HOURS / step:.0f} steps in two hours")
    print(f"predict {made['seconds']['predict'] / (args.cases + 3):.1f} s a case")
    print(f"peak memory {made['peak_ram_mb'] / 1024:.1f} GiB")
    print(f"Dice after {model['steps']} steps: {scores['overall']['dice']['mean']:.3f}")


if __name__ == "__main__":
    main()
