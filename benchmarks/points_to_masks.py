"""From simulated hints to scored masks: a row for each kind of hint, way to learn, and seed.

usage: points_to_masks.py STUDY OUT --kinds points:20 boxes dense [--ways ours clicks ...]
                          [--minutes M] [--seeds 0 1 2] [--design] [--shown] [--simulator F]
                          [-- FLAGS OF voxhint run]

STUDY holds denseTr, imagesTs and labelsTs. With --design the cases named `design` in splits.json
are left out of the training and scored instead of the test set; with --shown only cases count in
whose masks a label is drawn. Hints come from `voxhint simulate`, or from another program with the
words `STUDY KIND OUT [--pose P]` (`points:20@1` asks it for pose 1). Of `points:20/15` fifteen
cases keep their hints; with `dense/15` those fifteen are the study. Dense masks have one way. With
--minutes every row trains that long, else each way its own steps. Rows of an earlier call are kept
and a row that was interrupted goes on. The table is printed and written to OUT/table.md; its share
is that of the dense row of the same seed.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _studies import design_study, few_hinted, few_outlined, shown_study
from _words import read_words

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--config", str(ROOT / "recipes" / "pw4medseg.toml"), "--width", "4", "--batch", "2")
PUBLISHED = (*SMALL, "--patch-voxels", "110000", "--learning-rate", "1e-3")
WAYS: Mapping[str, tuple[str, ...]] = {
    "ours": (),
    "clicks": ("--method", "none", "--dice-weight", "0"),
    "bells": ("--method", "pw4medseg"),
    "alone": ("--no-cross-case",),
    "confident": ("--loss", "probability"),
    "probabilistic": ("--network", "probabilistic", "--width", "4"),
    "pw4medseg": PUBLISHED,
}
"""Flags of `voxhint run`: the defaults; partial cross-entropy of what was clicked; the trunk on
bells as published; the defaults with one thing changed; the published network, a quarter as wide
and in ten times larger steps, because in minutes it learns nothing from those published."""

Run = dict[str, Any]


def call(*words: object) -> None:
    """Run a command; its words go to standard error, so that the table stays alone."""
    line = list(map(str, words))
    print("$", " ".join(line), file=sys.stderr, flush=True)
    subprocess.run(line, check=True, stdout=sys.stderr)


def simulate(study: Path, kind: str, out: Path, simulator: Path | None) -> None:
    """Write a study of hints of one kind."""
    if out.exists():
        return
    kind, _, pose = kind.partition("@")
    if simulator is None:
        call("voxhint", "simulate", study, "--hint", kind, "--out", out)
    else:
        call(sys.executable, simulator, study, kind, out, *(("--pose", pose) if pose else ()))


def scored(kind: str, way: str, seed: int, args: argparse.Namespace) -> Run:
    """Return scores, minutes and steps of a row, after running it."""
    name = kind.replace(":", "").replace("@", "-pose").replace("/", "-of-")
    told = [*([] if way == "ours" else [way]), *([str(seed)] if seed else [])]
    out = args.out / "-".join([name, *told])
    extra: tuple[str, ...]
    kind, _, few = kind.partition("/")
    if kind == "dense":
        source, extra = args.study, ("--supervision", "dense")
        if few:
            source = few_outlined(source, args.out / f"{name}-study", int(few))
    else:
        whole, _, _ = name.partition("-of-")
        source, extra = args.out / f"{whole}-study", WAYS[way]
        simulate(args.study, kind, source, args.simulator)
        if few:
            source = few_hinted(source, args.out / f"{name}-study", int(few))
    budget = ("--budget", f"{args.minutes}m") if args.minutes else ()
    call("voxhint", "run", source, "--out", out, "--seed", seed, *extra, *budget, *args.run)
    made = json.loads((out / "made.json").read_text("utf-8"))
    trained = json.loads((out / "model" / "made.json").read_text("utf-8"))
    scores = json.loads((out / "scores.json").read_text("utf-8"))
    return {"scores": scores, "seconds": made["seconds"], "steps": trained["steps"]}


def cells(run: Run, bound: Run | None) -> list[str]:
    """Return a row's numbers."""
    found = []
    overall = run["scores"]["overall"]
    for summary in (overall, *run["scores"]["labels"].values()):
        dice = summary["dice"]
        found.append(f"{dice['mean']:.3f} ({dice['low']:.3f} to {dice['high']:.3f})")
    share = "-"
    if bound is not None:
        share = (
            f"{100 * overall['dice']['mean'] / bound['scores']['overall']['dice']['mean']:.0f} %"
        )
    found += [share, f"{overall['nsd']['mean']:.3f}", f"{overall['hd95_mm']['mean']:.1f}"]
    spent = [run["seconds"].get("label", 0.0), run["seconds"]["train"]]
    return [*found, *(f"{seconds / 60:.1f}" for seconds in spent), str(run["steps"])]


def table_of(runs: Mapping[tuple[str, str, int], Run], names: Sequence[str]) -> str:
    """Return the table of all rows so far."""
    heads = ["hints", "way", "seed", "mean Dice", *names, "share", "surface Dice 1 mm", "HD95 mm"]
    heads += ["minutes of labels", "of training", "steps"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for (kind, way, seed), run in runs.items():
        row = [kind, way, str(seed), *cells(run, runs.get(("dense", "ours", seed)))]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", required=True)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["ours"])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--design", action="store_true")
    parser.add_argument("--shown", action="store_true")
    parser.add_argument("--simulator", type=Path)
    args = read_words(parser)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.design:
        args.study = design_study(args.study, args.out / "design-study")
    if args.shown:
        args.study = shown_study(args.study, args.out / "shown-study")
    labels = json.loads((args.study / "dataset.json").read_text("utf-8"))["labels"]
    names = [name for name in labels if name not in ("background", "ignore")]
    runs: dict[tuple[str, str, int], Run] = {}
    for seed in args.seeds:
        for kind in args.kinds:
            for way in args.ways if not kind.startswith("dense") else ("ours",):
                runs[kind, way, seed] = scored(kind, way, seed, args)
                (args.out / "table.md").write_text(table_of(runs, names), "utf-8")
    print(table_of(runs, names))


if __name__ == "__main__":
    main()
