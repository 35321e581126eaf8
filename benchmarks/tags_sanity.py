"""Whether maps follow what a network has learnt, and what they take away is what others see too.

usage: tags_sanity.py STUDY OUT [--methods NAME ...] [--windows N] [--flow FOLDER] [--seed N]
       [--device D] [--threads N]

STUDY, OUT and --flow are as for tags_to_masks.py. For N `design` windows with the label:
- alike: Spearman's correlation, voxel by voxel, of a map with that of a classifier of another seed,
  of one that learnt shuffled tags, and of random weights. Methods that ask no classifier have
  random weights in their flow. A map of what was learnt stays with another seed and goes with the
  others.
- transfer: what a classifier of another seed loses of its logit when the label is taken out, over
  what the guiding classifier loses; both means over windows. The first asks whether an image was
  changed or a network fooled.
- along z: mean squared difference between neighbouring slices per square millimetre, over that
  between neighbours in a slice; of the map, and of the change to the image. What has bands along z
  has far more than the image itself, which is the first row.
Rows of an earlier call are kept; the table is printed and written to OUT/sanity.md.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from _board import Kept, number, table
from _looks import METHODS, Looked, looked, score, take_flow, trained, unlearnt
from _windows import Window, design_windows, healthy_windows, parser_of
from scipy import stats

from voxhint.classify.classifier import Classifier
from voxhint.classify.counterfactual import METHODS as CHANGING
from voxhint.classify.saliency_methods import CounterfactualSaliency, counterfactual_images
from voxhint.classify.train_label_flow import flow_network
from voxhint.config import Machine
from voxhint.files import open_study

CHECKED = ("smooth-grad", "guided-flow-paired", "guided-flow", "pixel-counterfactual",
           "label-flow", "edit-flow")  # fmt: skip
HEADS = ("map", "other seed", "shuffled tags", "random weights", "guiding loses", "other loses",
         "transfer", "map along z", "change along z")  # fmt: skip


def along_z(values: np.ndarray, seen: Window) -> float:
    """Return how much faster values change along z than within slices."""
    i, j, k = (
        np.mean(np.square(np.diff(values, axis=axis) / step))
        for axis, step in enumerate(seen.spacing_mm)
    )
    return float(k / ((i + j) / 2))


def alike(maps: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Return the mean rank correlation of maps; 0 where one of them is flat."""
    found = []
    for one, other in zip(maps, others, strict=True):
        flat = np.ptp(one) == 0 or np.ptp(other) == 0
        found.append(0.0 if flat else float(stats.spearmanr(one.ravel(), other.ravel())[0]))
    return float(np.mean(found))


def with_random_flow(of: Looked) -> Looked:
    """Return a method whose flow has learnt nothing."""
    torch.manual_seed(1)
    methods = []
    for method in of.saliency.methods:
        if not isinstance(method, CounterfactualSaliency) or method.flow is None:
            sys.exit("a method that asks no flow has none to randomise")
        net = flow_network(method.flow.plan, method.flow.labels).eval()
        net.requires_grad_(requires_grad=False)
        methods.append(dataclasses.replace(method, flow=dataclasses.replace(method.flow, net=net)))
    return Looked(dataclasses.replace(of.saliency, methods=methods), ())


def row_of(
    name: str,
    classifiers: dict[str, Classifier],
    view: Callable[[Classifier, str], Looked],
    windows: Sequence[Window],
) -> dict[str, Any]:
    """Return what the checks say of a method."""
    of = view(classifiers["guiding"], name)
    sights = [of.maps(seen, calibrating=True)[0] for seen in windows]
    maps = [sight.values for sight in sights]
    changing = CHANGING.get(name)
    others: dict[str, Looked] = {}
    if changing is None or changing.needs_classifier:
        others = {n: view(p, name) for n, p in classifiers.items() if n != "guiding"}
    else:
        others = {"random weights": with_random_flow(of)}
    row: dict[str, Any] = {
        kind: alike(maps, [other.calibrating(seen) for seen in windows])
        for kind, other in others.items()
    }
    row["map along z"] = np.mean([along_z(m, w) for m, w in zip(maps, windows, strict=True)])
    if changing is not None:
        pairs = list(zip(windows, sights, strict=True))
        after = [changed(seen, counterfactual_images(seen.case, [sight])) for seen, sight in pairs]
        lost = {
            kind: np.mean(
                [score(classifiers[kind], w) - score(classifiers[kind], a)
                 for w, a in zip(windows, after, strict=True)]
            )
            for kind in ("guiding", "other seed")
        }  # fmt: skip
        row |= {"guiding loses": lost["guiding"], "other loses": lost["other seed"]}
        row["transfer"] = lost["other seed"] / lost["guiding"] if lost["guiding"] > 0 else None
        steps = [next(iter(sight.change.values())) for sight in sights]
        row["change along z"] = np.mean(
            [along_z(s, w) for s, w in zip(steps, windows, strict=True)]
        )
    return {key: None if value is None else float(value) for key, value in row.items()}


def changed(seen: Window, images: dict[str, Any]) -> Window:
    """Return a window with other voxels."""
    return dataclasses.replace(seen, case=dataclasses.replace(seen.case, images=images))


def main() -> None:
    """Make the table."""
    parser = parser_of(__doc__, 12)
    parser.add_argument("--methods", nargs="+", default=CHECKED, choices=METHODS)
    args = parser.parse_args()
    machine = Machine(device=args.device, threads=args.threads, seed=args.seed)
    guiding, fitted = trained(args.study, args.out, machine)
    take_flow(args.flow, args.out)
    opened, _ = open_study(args.study)
    windows = [w for w in design_windows(opened, args.windows) if w.truth.any()]
    classifiers = {
        "guiding": guiding,
        "other seed": trained(args.study, args.out, machine, "other")[0],
        "shuffled tags": trained(args.study, args.out, machine, "shuffled")[0],
        "random weights": unlearnt(guiding, healthy_windows(fitted, args.windows)),
    }

    def view(classifier: Classifier, name: str) -> Looked:
        return looked(classifier, fitted, args.out, machine, name)

    kept = Kept.of(args.out / f"sanity-{args.windows}.json")
    image = float(np.mean([along_z(w.image, w) for w in windows]))
    kept.add("the image itself", lambda: {"map along z": image})
    for name in args.methods:
        kept.add(name, functools.partial(row_of, name, classifiers, view, windows))
    lines = [
        [name, *(number(row.get(key), 2) for key in HEADS[1:])] for name, row in kept.rows.items()
    ]
    text = table(HEADS, lines) + "\n"
    (args.out / "sanity.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
