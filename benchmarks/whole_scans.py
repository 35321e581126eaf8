"""Time and memory of `label` on one whole CT: clicks, strokes on every tenth slice, boxes.

usage: whole_scans.py IMAGE OUT --slices 100 300 --labels 5 100 --kinds clicks taught strokes

IMAGE is a folder of DICOM slices or a file. It is made as long as asked for by mirroring it along
its slices. Labels are made-up: balls around places inside the body, 20 clicks in each and 20 in
the background, a stroke across each ball on every tenth slice, or a box around each. With `taught`
seven thinned copies of the image are clicked, too, and the cases teach each other; they are
labelled in the same time. Time is CPU time of the process, start included; memory is its peak.
"""

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from voxhint.core import UNDRAWN, Grid, Volume
from voxhint.files.images import read_volume, write_ids, write_image

CLICKS = 20
EVERY = 10  # slices from one that is drawn in to the next
INSIDE_HU = -200.0
RADIUS_MM = (12.0, 45.0)
COPIES, THINNED = 7, 4
Rows = list[tuple[Any, ...]]
HEADS = "| slices | labels | hints | CPU s | s of wall clock | peak GiB | output MB |"


def lengthened(image: Volume, slices: int) -> Volume:
    """Return an image of so many slices: its own, there and back."""
    own = image.voxels.shape[2]
    there = np.arange(slices) % (2 * own)
    order = np.where(there < own, there, 2 * own - 1 - there)
    grid = Grid((*image.grid.shape[:2], slices), image.grid.affine)
    return Volume(np.ascontiguousarray(image.voxels[:, :, order]), grid, image.unit)


def balls(image: Volume, count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """Return middles inside the body, as indices, and radii in mm that fit between them."""
    coarse = np.argwhere(image.voxels[::8, ::8, ::4] > INSIDE_HU) * (8, 8, 4)
    middles = coarse[rng.choice(len(coarse), count, replace=False)].astype(np.float64)
    places = middles * image.grid.spacing_mm
    apart = np.linalg.norm(places[:, None] - places, axis=2) + np.diag(np.full(count, np.inf))
    return list(zip(middles, np.clip(apart.min(1) / 2, *RADIUS_MM), strict=True))


def thinned(image: Volume) -> Volume:
    """Return every fourth voxel along each axis."""
    few = np.ascontiguousarray(image.voxels[::THINNED, ::THINNED, ::THINNED])
    i, j, k = few.shape
    affine = image.grid.affine @ np.diag([THINNED, THINNED, THINNED, 1.0])
    return Volume(few, Grid((i, j, k), affine), image.unit)


def clicks(
    image: Volume,
    where: list[tuple[np.ndarray, float]],
    rng: np.random.Generator,
    case: str = "one",
) -> Rows:
    """Return rows of a table of clicks."""
    rows: Rows = []
    spacing = image.grid.spacing_mm
    for number, (middle, radius) in enumerate(where, 1):
        ways = rng.normal(size=(CLICKS, 3))
        ways *= (rng.random(CLICKS) ** (1 / 3) / np.linalg.norm(ways, axis=1))[:, None]
        rows += [(f"l{number}", at) for at in middle + ways * radius / spacing]
        out = ways / np.linalg.norm(ways, axis=1)[:, None] * radius * 1.4 / spacing
        rows += [("background", at) for at in middle + out][: max(1, CLICKS // len(where))]
    limit = np.array(image.grid.shape) - 1
    return [
        (case, name, *image.grid.to_world(np.clip(at, 0, limit)[None])[0].round(3))
        for name, at in rows
    ]


def strokes(image: Volume, where: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """Return a line across each ball, and one beside it, on every tenth slice."""
    drawn = np.full(image.grid.shape, UNDRAWN, np.uint8)
    spacing = image.grid.spacing_mm
    for number, (middle, radius) in enumerate(where, 1):
        i, j, k = middle.round().astype(int)
        for at in range(0, image.grid.shape[2], EVERY):
            left = radius**2 - ((at - k) * spacing[2]) ** 2
            if left <= 0:
                continue
            wide = int(0.7 * np.sqrt(left) / spacing[0])
            drawn[max(0, i - wide) : i + wide + 1, j, at] = number
            beside = j + int(1.4 * radius / spacing[1])
            if beside < image.grid.shape[1]:
                drawn[max(0, i - wide) : i + wide + 1, beside, at] = 0
    return drawn


def make_study(image: Volume, folder: Path, labels: int, kind: str) -> None:
    """Write a study of one case."""
    rng = np.random.default_rng(0)
    (folder / "imagesTr").mkdir(parents=True)
    write_image(folder / "imagesTr" / "one_0000.nii.gz", image)
    names = {"background": 0} | {f"l{number}": number for number in range(1, labels + 1)}
    facts = {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 1}
    (folder / "dataset.json").write_text(json.dumps({**facts, "file_ending": ".nii.gz"}))
    where = balls(image, labels, rng)
    if kind == "boxes":
        (folder / "hints").mkdir()
        with (folder / "hints" / "boxes.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            ends = [f"{axis}_{end}" for end in ("min", "max") for axis in "xyz"]
            writer.writerow(["case", "label", *ends])
            for number, (middle, radius) in enumerate(where, 1):
                at = image.grid.to_world(middle[None])[0]
                box = np.concatenate([at - radius, at + radius]).round(3)
                writer.writerow(["one", f"l{number}", *box])
        return
    if kind in ("clicks", "taught"):
        rows = clicks(image, where, rng)
        for number in range(COPIES if kind == "taught" else 0):
            case = f"copy{number}"
            write_image(folder / "imagesTr" / f"{case}_0000.nii.gz", thinned(image))
            rows += clicks(image, where, rng, case)
        (folder / "hints").mkdir()
        with (folder / "hints" / "points.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "label", "x", "y", "z"])
            writer.writerows(rows)
        return
    (folder / "hints" / "scribbles").mkdir(parents=True)
    drawn = strokes(image, where)
    write_ids(folder / "hints" / "scribbles" / "one.nii.gz", drawn, image.grid)


def row(study: Path, out: Path) -> str:
    """Run `label` in a process of its own.

    Returns:
        What it took, as the rest of a row.
    """
    program = "import sys; from voxhint.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "label", str(study), "--out", str(out)]
    began = time.monotonic()
    _, status, used = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, words), 0)
    if status:
        sys.exit(f"label ended with {status}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    cpu, wall = used.ru_utime + used.ru_stime, time.monotonic() - began
    return f"{cpu:.0f} | {wall:.0f} | {used.ru_maxrss / 2**20:.2f} | {size:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slices", type=int, nargs="+", default=[300])
    parser.add_argument("--labels", type=int, nargs="+", default=[5])
    parser.add_argument(
        "--kinds", nargs="+", default=["clicks"], choices=["clicks", "taught", "strokes", "boxes"]
    )
    args = parser.parse_args()
    image = read_volume(args.image, channel="CT")
    print(HEADS + "\n|" + "---|" * (HEADS.count("|") - 1))
    for slices in args.slices:
        for labels in args.labels:
            for kind in args.kinds:
                folder = args.out / f"{slices}_{labels}_{kind}"
                make_study(lengthened(image, slices), folder / "study", labels, kind)
                found = row(folder / "study", folder / "labels")
                print(f"| {slices} | {labels} | {kind} | {found}", flush=True)


if __name__ == "__main__":
    main()
