"""What labels from tags are worth on test windows, for the record, with several classifiers.

usage: tags_test.py STUDY OUT --methods NAME ... [--seeds N ...] [--flow FOLDER] [--device D]
       [--threads N]

For each seed a classifier learns the tags of all training windows in OUT/all-SEED. NAME is as for
tags_to_masks.py, and so is --flow. Each test window with the label gets the region that is grown
from its map; each window without gets one only above the operating point. Nothing is chosen
here. Rows of an earlier call are kept; the table is printed and written to OUT/test.md, every
number to OUT/test.json.
"""

import argparse
import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _board import Kept, number, spread, table
from _looks import CONFIG, Looked, looked, operating_point_of, score, take_flow
from _rows import overlaps, refined, summed, volume
from _windows import Window, healthy_windows, tell, window

from voxhint.classify.classifier import Classifier
from voxhint.classify.tag_bags import TagJob
from voxhint.classify.train_classifier import fit_classifier
from voxhint.config import Machine
from voxhint.files import open_study
from voxhint.measure.roc import ranking

HEALTHY = 150  # training windows tagged absent that tell what maps show by chance


def row_of(of: Looked, windows: Sequence[Window]) -> dict[str, Any]:
    """Return Dice of each window with the label, and millilitres in each without."""
    classifier = of.saliency.classifier
    dice, wrong = [], []
    for seen in windows:
        if seen.truth.any():
            dice.append(float(overlaps([refined(of(seen), seen, classifier)], [seen])[0]))
        else:
            passed = score(classifier, seen) >= operating_point_of(classifier)
            wrong.append(volume(refined(of(seen), seen, classifier), seen) if passed else 0.0)
    return {"dice": dice, "ml": wrong}


def measured(
    view: Callable[[str], Looked], method: str, windows: Sequence[Window]
) -> dict[str, Any]:
    """Return the row of a method, which is made ready only now."""
    return row_of(view(method), windows)


def area(classifier: Classifier, windows: Sequence[Window]) -> dict[str, Any]:
    """Return how well a classifier tells the windows apart."""
    scores = np.array([score(classifier, seen) for seen in windows])
    truth = np.array([bool(seen.truth.any()) for seen in windows])
    subjects = [seen.subject for seen in windows]
    found = ranking(scores, truth, subjects, rng=np.random.default_rng(0))
    return dataclasses.asdict(found)


def text_of(kept: Kept, windows: Sequence[Window], methods: Sequence[str]) -> str:
    """Return the tables."""
    shown = [seen for seen in windows if seen.truth.any()]
    absent = [seen for seen in windows if not seen.truth.any()]
    areas = [[seed, spread({"mean": a["auc"], **a})] for seed, a in kept.areas.items()]
    lines = []
    for method in methods:
        rows = [row for name, row in kept.rows.items() if name.partition(", seed")[0] == method]
        means = [float(np.mean(row["dice"])) for row in rows]
        dice = summed(np.mean([row["dice"] for row in rows], 0), shown)
        wrong = summed(np.mean([row["ml"] for row in rows], 0), absent)
        each = ", ".join(number(mean) for mean in means)
        apart = number(float(np.std(means, ddof=1)) if len(means) > 1 else None)
        lines.append([method, each, apart, spread(dice), number(dice["median"]), spread(wrong)])
    heads = ("map", "Dice of each seed", "sd of seeds", "mean Dice", "median", "mL without")
    return table(("seed", "AUC"), areas) + "\n\n" + table(heads, lines) + "\n"


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--flow", type=Path, help="trained on training cases, to be copied to OUT")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    opened, _ = open_study(args.study)
    windows = [window(opened, files) for files in opened.test]
    healthy = healthy_windows(opened, HEALTHY)
    take_flow(args.flow, args.out)
    kept = Kept.of(args.out / "test.json")
    views = {}
    for seed in args.seeds:
        machine = Machine(device=args.device, threads=args.threads, seed=seed)
        labels, folder = opened.labels.foreground, args.out / f"all-{seed}"
        classifier = fit_classifier(folder, TagJob(opened, labels, CONFIG, machine, tell))
        if str(seed) not in kept.areas:
            kept.areas[str(seed)] = area(classifier, windows)
        views[seed] = functools.partial(
            looked, classifier, opened, args.out, machine, healthy=healthy
        )
    for method, (seed, view) in itertools.product(args.methods, views.items()):
        kept.add(
            f"{method}, seed {seed}",
            functools.partial(measured, view, method, windows),
        )
    text = text_of(kept, windows, args.methods)
    (args.out / "test.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
