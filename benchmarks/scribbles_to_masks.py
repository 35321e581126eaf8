"""From scribbles to scored masks: each term of the loss, each network, bounds and controls.

usage: scribbles_to_masks.py OUT [--study STUDY] [--rows ...] [--minutes M ...] [--design]
                             [--steps N ...] [--simulator FILE] [--seed N] [--threads N]
                             [-- FLAGS OF voxhint run]

Every row gets the same minutes of training, or the same steps. Several of either give a curve: one
training that is asked for more each time, scored in between, without masks of hinted images. With
--study (one channel, denseTr, imagesTs, labelsTs and splits.json) scribbles are simulated from
denseTr, by voxhint or by a script that is called as FILE STUDY scribbles OUT --seed N; scribbles
that are there already are taken as they are. With --design the images of imagesDesign are scored,
where there are any; else those named `design` in splits.json, left out of the training and scored
instead of the test set. Without --study it is a phantom of two modalities, scored with both, and
with either missing in all test cases; rows of one channel alone see that channel when they spread
the same scribbles, learn and predict. Controls look at no image; they know the scribbles of a case,
so they are held against the masks of hinted images. Rows of an earlier call are kept and a row that
was interrupted goes on. The table is printed and written to OUT/table.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _studies import case_of, design_study, linked
from _words import read_words
from scipy import ndimage
from skimage.morphology import convex_hull_image

from voxhint.core import UNDRAWN
from voxhint.files import read_ids, write_ids
from voxhint.verbs.phantom_study import write_phantom_study

ROOT = Path(__file__).resolve().parents[1]
CMFNET, SEVERAL = (
    ("--config", str(ROOT / "recipes" / f"{name}.toml")) for name in ("cmfnet", "modalities")
)
TRUNK = ("--network", "dynunet")
CROSS = ("--network", "crossmodal")
SMALL = ("--width", "12", "--held-out", "0.1")
CROPS = ("--patch-voxels", "60000")
"""Patches of a study: about as large as its images."""

LUMPS = ("--patch-voxels", "10000", "--batch", "6", "--hu-window", "-160", "240")
"""Patches of the phantom: a few times as long as a tumour."""

DRAWN = (*SMALL, *TRUNK, "--method", "none", "--dice-weight", "0")
DENSE = (*SMALL, *TRUNK, "--supervision", "dense")
VIEWS = ("--pseudo-modalities", "plain", "gradient", "style")
STUDY_ROWS: Mapping[str, tuple[str, ...]] = {
    "partial cross-entropy": DRAWN,
    "+ gated CRF": (*DRAWN, "--crf-weight", "0.1"),
    "defaults": SMALL,
    "ours, cases teach each other": (*SEVERAL, *SMALL, *TRUNK),
    "CmFNet, reconstructed": (*CMFNET, *SMALL, *VIEWS),
    "ours": (*SMALL, *TRUNK),
    "ours, cross-modal with views": (*SMALL, *CROSS, *VIEWS),
    "dense masks": DENSE,
    "dense masks, cross-modal": (*DENSE, *CROSS, *VIEWS),
}
"""Flags of `voxhint run` for each row."""

PHANTOM_ROWS: Mapping[str, tuple[str, ...]] = {
    "partial cross-entropy": DRAWN,
    "defaults": SMALL,
    "channels stacked": (*SEVERAL, *SMALL, *TRUNK),
    "CT alone": (*SEVERAL, *SMALL, *TRUNK),
    "MR alone": (*SEVERAL, *SMALL, *TRUNK),
    "CmFNet, reconstructed": (*CMFNET, *SMALL),
    "ours": (*SEVERAL, *SMALL),
    "dense masks": DENSE,
    "dense masks, CT alone": DENSE,
    "dense masks, MR alone": DENSE,
    "dense masks, cross-modal": (*DENSE, *CROSS),
}

CASES, TEST_CASES = 40, 30
LOST = {"Dice without CT": 0, "Dice without MR": 1}


def only(name: str) -> int | None:
    """Return the only channel that a row of the phantom knows, if it is only one."""
    return next((n for n, each in enumerate(("CT", "MR")) if name.endswith(f"{each} alone")), None)


def call(*words: object) -> None:
    """Run a command; its words go to standard error, so that the table stays alone."""
    line = list(map(str, words))
    print("$", " ".join(line), file=sys.stderr, flush=True)
    subprocess.run(line, check=True, stdout=sys.stderr)


def scribbled(args: argparse.Namespace) -> Path:
    """Return the study of scribbles, made where no earlier call has."""
    out: Path = args.out / "study"
    if out.exists():
        return out
    if args.study is None:
        write_phantom_study(
            out, kind="two-modality", cases=CASES, test_cases=TEST_CASES, seed=args.seed
        )
        return out
    dense = args.study
    if (dense / "hints").is_dir():
        return drawn_study(dense, out, design=args.design)
    if args.design:
        dense = design_study(args.study, args.out / "dense-study")
    if args.simulator is None:
        call("voxhint", "simulate", dense, "--hint", "scribbles", "--seed", args.seed, "--out", out)
        return out
    call(sys.executable, args.simulator, dense, "scribbles", out, "--seed", args.seed)
    linked(dense / "denseTr", out / "denseTr")
    return out


def drawn_study(study: Path, out: Path, *, design: bool) -> Path:
    """Return a study with the scribbles that people drew, scored on design or on test images."""
    ending = "Design" if design else "Ts"
    parts = {"imagesTr": "imagesTr", f"images{ending}": "imagesTs", f"labels{ending}": "labelsTs"}
    for source, target in {**parts, "hints/scribbles": "hints/scribbles"}.items():
        linked(study / source, out / target)
    for path in study.glob("*.json"):
        if path.name != "splits.json":
            shutil.copyfile(path, out / path.name)
    return out


def scores_of(masks: Path, truth: Path, out: Path) -> dict[str, Any]:
    """Return the scores of a folder of masks, measured where no earlier call has."""
    if not out.exists():
        call("voxhint", "measure", masks, truth, "--out", out)
    scores: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return scores


def told(summary: Mapping[str, Any]) -> str:
    """Return a mean with its interval over subjects."""
    return f"{summary['mean']:.3f} ({summary['low']:.3f} to {summary['high']:.3f})"


def cells(scores: Mapping[str, Any]) -> list[str]:
    """Return Dice overall and by label, surface Dice and HD95."""
    overall = scores["overall"]
    dice = [told(each["dice"]) for each in (overall, *scores["labels"].values())]
    return [*dice, f"{overall['nsd']['mean']:.3f}", f"{overall['hd95_mm']['mean']:.1f}"]


def curve(
    name: str, flags: Sequence[str], study: Path, args: argparse.Namespace
) -> list[list[str]]:
    """Return the cells of a row for each time, after running it so long."""
    slug = "".join(c if c.isalnum() else "-" for c in name)
    out: Path = args.out / "rows" / slug
    if args.steps:
        times = [("--steps", str(steps)) for steps in sorted(args.steps)]
    else:
        times = [("--budget", f"{minutes}m") for minutes in sorted(args.minutes)]
    if len(times) == 1:
        flags = (*flags, "--hinted-masks")
    found = []
    for time in times:
        done = out.with_name(f"{slug}-{time[1]}.json")
        if not done.exists():
            cells_now = row(name, (*flags, *time), (study, out), args)
            done.write_text(json.dumps(cells_now), "utf-8")
        found.append(json.loads(done.read_text("utf-8")))
    return found


def row(
    name: str, flags: Sequence[str], where: tuple[Path, Path], args: argparse.Namespace
) -> list[str]:
    """Return the cells of a row, after running it, or going on with it."""
    study, out = where
    call(
        *("voxhint", "run", study, "--out", out, *flags),
        *("--seed", args.seed, "--threads", args.threads, *args.run),
    )
    made = json.loads((out / "model" / "made.json").read_text("utf-8"))
    found = [name, *cells(json.loads((out / "scores.json").read_text("utf-8")))]
    for channel in LOST.values() if args.study is None else ():
        scores = None if only(name) is not None else lacking(study, out, channel, args.threads)
        found.append("-" if scores is None else told(scores["overall"]["dice"]))
    hinted = "-"
    if (out / "masksTr").exists() and (study / "denseTr").exists():
        (out.parent / f"{out.name}-Tr.json").unlink(missing_ok=True)
        own = scores_of(out / "masksTr", study / "denseTr", out.parent / f"{out.name}-Tr.json")
        hinted = told(own["overall"]["dice"])
    return [*found, hinted, f"{made['seconds']['train'] / 60:.1f}", str(made["steps"])]


def lacking(study: Path, run: Path, channel: int, threads: int) -> dict[str, Any]:
    """Return the scores of a run's model on test images without a channel."""
    images = run.parent / f"images-{channel}"
    linked(study / "imagesTs", images, keep=lambda name: f"_{channel:04d}." not in name)
    masks = run.parent / f"{run.name}-{channel}"
    scores = run.parent / f"{run.name}-scores-{channel}.json"
    scores.unlink(missing_ok=True)
    call("voxhint", "predict", run, images, "--out", masks, "--threads", threads, "--overwrite")
    return scores_of(masks, study / "labelsTs", scores)


def nearest(drawn: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return the class of the nearest stroke."""
    places = ndimage.distance_transform_edt(
        drawn == UNDRAWN, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    classes: np.ndarray = drawn[tuple(places)]
    return classes


def filled(drawn: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Return the convex hull of each label's strokes in each slice, background elsewhere."""
    axis = int(np.argmax(spacing_mm)) if np.ptp(spacing_mm) > 1e-3 else 2
    classes = np.zeros_like(drawn)
    for sheet, result in zip(
        np.moveaxis(drawn, axis, 0), np.moveaxis(classes, axis, 0), strict=True
    ):
        for label in set(np.unique(sheet).tolist()) - {0, UNDRAWN}:
            result[convex_hull_image(sheet == label)] = label  # type: ignore[no-untyped-call]
    return classes


CONTROLS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "control: nearest stroke": nearest,
    "control: filled strokes": filled,
}


def control(name: str, study: Path, args: argparse.Namespace, blanks: int) -> list[str]:
    """Return the cells of a control, on hinted images alone."""
    out = args.out / "rows" / name.removeprefix("control: ").replace(" ", "-")
    for path in sorted((study / "hints" / "scribbles").iterdir()):
        if not (out / path.name).exists():
            drawn, grid = read_ids(path)
            write_ids(out / path.name, CONTROLS[name](drawn, grid.spacing_mm), grid)
    scores = scores_of(out, study / "denseTr", out.with_suffix(".json"))
    return [name, *["-"] * blanks, told(scores["overall"]["dice"]), "-", "-"]


def drawn_share(study: Path) -> float:
    """Return which share of the voxels is drawn on."""
    masks = [read_ids(path)[0] for path in sorted((study / "hints" / "scribbles").iterdir())]
    return float(np.mean([(mask != UNDRAWN).mean() for mask in masks]))


def rows_of(args: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the flags of the rows that are asked for."""
    rows = PHANTOM_ROWS if args.study is None else STUDY_ROWS
    size = LUMPS if args.study is None else CROPS
    return {
        name: (*flags, *size)
        for name, flags in rows.items()
        if args.rows is None or name in args.rows
    }


def alone(study: Path, out: Path, channel: int) -> Path:
    """Return a study of one channel of the phantom, with the same scribbles."""
    linked(study / "hints" / "scribbles", out / "hints" / "scribbles")
    for part in ("denseTr", "labelsTs"):
        linked(study / part, out / part)
    for part in ("imagesTr", "imagesTs"):
        (out / part).mkdir(parents=True, exist_ok=True)
        for path in (study / part).glob(f"*_{channel:04d}.nii.gz"):
            place = out / part / f"{case_of(path.name)}_0000.nii.gz"
            if not place.exists():
                place.symlink_to(path.resolve())
    described = json.loads((study / "dataset.json").read_text("utf-8"))
    described["channel_names"] = {"0": described["channel_names"][str(channel)]}
    del described["optional_channels"]
    (out / "dataset.json").write_text(json.dumps(described), "utf-8")
    shutil.copyfile(study / "cases.csv", out / "cases.csv")
    return out


def write(table: Sequence[Sequence[str]], path: Path) -> str:
    """Return a table as text, having written it."""
    lines = ["| " + " | ".join(line) + " |" for line in table]
    lines.insert(1, "|" + "---|" * len(table[0]))
    text = "\n".join(lines) + "\n"
    path.write_text(text, "utf-8")
    return text


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10])
    parser.add_argument("--steps", type=int, nargs="+")
    parser.add_argument("--design", action="store_true")
    parser.add_argument("--simulator", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    args = read_words(parser)
    args.out.mkdir(parents=True, exist_ok=True)
    study = scribbled(args)
    labels = json.loads((study / "dataset.json").read_text("utf-8"))["labels"]
    names = [name for name in labels if name not in ("background", "ignore")]
    heads = ["row", "Dice", *names, "surface Dice 1 mm", "HD95 mm"]
    heads += LOST if args.study is None else ()
    heads += ["Dice, hinted images", "minutes", "steps"]
    table = [heads]
    for name in CONTROLS if (study / "denseTr").exists() else ():
        if args.rows is None or name in args.rows:
            table.append(control(name, study, args, len(heads) - 4))
    for name, flags in rows_of(args).items():
        channel = only(name)
        own = study if channel is None else alone(study, args.out / f"study-{channel}", channel)
        table += curve(name, flags, own, args)
        write(table, args.out / "table.md")
    share = f"Strokes cover {100 * drawn_share(study):.2f} % of the voxels.\n"
    print(write(table, args.out / "table.md"), share, sep="\n")


if __name__ == "__main__":
    main()
