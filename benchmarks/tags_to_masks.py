"""Where a classifier trained on tags looked: every map of evidence, raw and refined, with controls.

usage: tags_to_masks.py STUDY OUT [--methods NAME ...] [--windows N] [--flow FOLDER] [--controls]
       [--seed N] [--device D] [--threads N]

STUDY holds tags and denseTr, and splits.json names its `fit` and `design` cases. A classifier
learns the tags of the `fit` cases in OUT. Maps of N `design` cases with the label and N without are
held against denseTr. Thresholds follow from `fit` cases tagged absent; only what is called oracle
has seen masks. Methods that take the label out of the image ask a flow, which learns the same tags
in OUT/flow unless --flow names one that has. NAME is METHOD or METHOD:KNOB=VALUE,... or several of
these joined by a slash. With --controls come shuffled tags, random weights, and what needs no
classifier. Rows of an earlier call with as many windows are kept. The tables are printed and
written to OUT/table-N.md, every number to OUT/rows-N.json.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

from _board import Kept, tables
from _controls import anywhere, at_middle, at_truth, ranked
from _looks import DEFAULT, METHODS, Looked, intensity, looked, take_flow, trained, unlearnt
from _rows import measured
from _windows import design_windows, healthy_windows, parser_of

from voxhint.classify.classifier import Classifier
from voxhint.config import Machine
from voxhint.files import open_study


def parsed() -> argparse.Namespace:
    """Return the words of the command line."""
    parser = parser_of(__doc__, 60)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--controls", action="store_true")
    return parser.parse_args()


def row_of(
    row: Callable[[Looked], dict[str, Any]],
    view: Callable[..., Looked],
    classifier: Classifier,
    name: str,
) -> dict[str, Any]:
    """Return the row of a method, which is made ready only now."""
    return row(view(classifier, name=name))


def main() -> None:
    """Make the table."""
    args = parsed()
    machine = Machine(device=args.device, threads=args.threads, seed=args.seed)
    classifier, fitted = trained(args.study, args.out, machine)
    take_flow(args.flow, args.out)
    opened, _ = open_study(args.study)
    windows = design_windows(opened, args.windows)
    healthy = healthy_windows(fitted, args.windows)
    board = Kept.of(args.out / f"rows-{args.windows}.json")
    row = functools.partial(measured, classifier=classifier, windows=windows, healthy=healthy)
    view = functools.partial(looked, fitted=fitted, out=args.out, machine=machine, healthy=healthy)
    for name in args.methods:
        board.add(name, functools.partial(row_of, row, view, classifier, name))
    if args.controls:
        misled, _ = trained(args.study, args.out, machine, "shuffled")
        fresh = unlearnt(classifier, healthy)
        named = {"classifier": classifier, "shuffled tags": misled, "random weights": fresh}
        if not board.areas:
            board.areas.update(ranked(named, windows))
        for name, other in (("shuffled tags", misled), ("random weights", fresh)):
            default = view(other, name=DEFAULT)
            board.add(f"control: {name}", functools.partial(row, default, classifier=other))
        density = functools.partial(intensity, classifier)
        for name, of in (("intensity", density), ("random place", anywhere), ("middle", at_middle)):
            board.add(f"control: {name}", functools.partial(row, of))
        board.add("control: true middle", functools.partial(row, at_truth, healthy=()))
    text = tables(board.areas, board.rows, list(METHODS), DEFAULT)
    (args.out / f"table-{args.windows}.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
