"""What a minute of a person is worth: Dice by kind of hint and by how cases share the minutes.

usage: minutes.py STUDY OUT --kinds points:5 boxes dense --minutes 10 30 120
                  [-- FLAGS OF voxhint run]

STUDY holds denseTr and a part `design` in splits.json, which is scored and gives no hint. The other
cases are hinted in one random order, the same for every kind, until the minutes are spent by the
prices of `voxhint simulate` (src/voxhint/simulate/cost.py), or no case is left; no row has less
than one case. Few clicks a label so share the minutes among many cases, many clicks among few. The
control sees no image: the commonest class at each place of the image in the dense masks of all
cases. Rows of an earlier call are kept. The table is printed and written to OUT/table.md.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _studies import case_of, design_study, part
from _words import read_words
from points_to_masks import scored, simulate
from scipy.ndimage import zoom

from voxhint.files import read_ids

PLACES = 64  # along each axis of the control
ORDER = 0  # seed of the order in which cases are hinted


def bought(seconds: dict[str, float], minutes: float) -> list[str]:
    """Return the first cases of a random order that the minutes pay for, at least one."""
    names = sorted(seconds)
    order = [names[n] for n in np.random.default_rng(ORDER).permutation(len(names))]
    spent = np.cumsum([seconds[name] for name in order])
    return order[: max(1, int(np.count_nonzero(spent <= 60 * minutes)))]


def measured(kind: str, minutes: float, args: argparse.Namespace) -> tuple[Any, ...]:
    """Return kind, cases, minutes and scores of a row, after running it."""
    priced = args.out / f"{(kind if kind != 'dense' else 'tags').replace(':', '')}-all"
    simulate(args.study, kind if kind != "dense" else "tags", priced, None)
    bill = json.loads((priced / "hints" / "cost.json").read_text("utf-8"))["cases"]
    paid = "dense_seconds" if kind == "dense" else "seconds"
    seconds = {case: cost[paid] for case, cost in bill.items()}
    chosen = bought(seconds, minutes)
    test = {case_of(path.name) for path in (args.study / "labelsTs").iterdir()}
    folder = args.out / f"{kind.replace(':', '')}-{len(chosen)}"
    study = folder / "cases"
    if not study.exists():
        part(args.study, study, chosen, test, ("imagesTs", "labelsTs"))
    row = argparse.Namespace(
        study=study, out=folder, minutes=None, simulator=None, run=["--overwrite", *args.run]
    )
    kept = folder / "row.json"
    if not kept.exists():
        kept.write_text(json.dumps(scored(kind, "ours", 0, row)), "utf-8")
    spent = sum(seconds[case] for case in chosen) / 60
    return kind, len(chosen), spent, json.loads(kept.read_text("utf-8"))["scores"]


def scaled(ids: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return ids at the nearest voxels of an image that many times as large."""
    return np.asarray(zoom(ids, factor, order=0, grid_mode=True, mode="nearest"))


def control(study: Path, labels: Sequence[int]) -> float:
    """Return the mean Dice of the commonest class at each place of the image."""
    shares = np.zeros((len(labels) + 1, *(PLACES,) * 3))
    for path in (study / "denseTr").iterdir():
        ids = read_ids(path)[0]
        at = scaled(ids, np.divide(PLACES, ids.shape))
        for number, label in enumerate((0, *labels)):
            shares[number] += at == label
    commonest = np.array([0, *labels])[shares.argmax(0)]
    found = []
    for path in (study / "labelsTs").iterdir():
        ids = read_ids(path)[0]
        said = scaled(commonest, np.divide(ids.shape, PLACES))
        for label in labels:
            one, two = said == label, ids == label
            if two.any():
                found.append(2 * (one & two).sum() / (one.sum() + two.sum()))
    return float(np.mean(found))


def table_of(rows: Sequence[tuple[Any, ...]], names: Sequence[str], flat: float) -> str:
    """Return the table, rows in the order of minutes."""
    heads = ["minutes of a person", "hints", "cases", "mean Dice", *names]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    blind = ["-", "none: the commonest class of each place", "-", f"{flat:.3f}"]
    lines.append("| " + " | ".join([*blind, *("-" for _ in names)]) + " |")
    for kind, cases, minutes, scores in sorted(rows, key=lambda row: (row[2], row[0])):
        dice = scores["overall"]["dice"]
        each = [f"{label['dice']['mean']:.3f}" for label in scores["labels"].values()]
        whole = f"{dice['mean']:.3f} ({dice['low']:.3f} to {dice['high']:.3f})"
        lines.append("| " + " | ".join([f"{minutes:.0f}", kind, str(cases), whole, *each]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", required=True)
    parser.add_argument("--minutes", nargs="+", type=float, required=True)
    args = read_words(parser)
    args.out.mkdir(parents=True, exist_ok=True)
    args.study = design_study(args.study, args.out / "design-study")
    labels = json.loads((args.study / "dataset.json").read_text("utf-8"))["labels"]
    names = [name for name in labels if name not in ("background", "ignore")]
    flat = control(args.study, [labels[name] for name in names])
    rows: dict[tuple[str, int], tuple[Any, ...]] = {}
    for minutes in args.minutes:
        for kind in args.kinds:
            row = measured(kind, minutes, args)
            rows[row[:2]] = row  # minutes that buy no further case buy no further row
            (args.out / "table.md").write_text(table_of([*rows.values()], names, flat), "utf-8")
    print(table_of([*rows.values()], names, flat))


if __name__ == "__main__":
    main()
