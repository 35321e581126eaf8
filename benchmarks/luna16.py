"""From image-level tags of LUNA16 to scored masks, the published numbers in the same table.

usage: luna16.py LUNA16 OUT [--xml DIR] [--test-subsets 9] [--window-mm 64] [--windows 8]

LUNA16 is the challenge's folder as it is given out, DIR holds LIDC-IDRI's XML files; without them
nothing is scored. `voxhint import luna16` makes OUT/study unless it is there, `voxhint run` makes
OUT/run by recipes/luna16.toml and goes on where it was interrupted. Whatever follows `--` goes to
`voxhint run`. The table is printed and written to OUT/table.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "luna16.toml"
HEADS = ("what", "data", "mean Dice", "median of the mean surface distance (mm)", "scored")
PUBLISHED = (
    ("guided rectified flow, MedSAM classifier", "LUNA16", "42.05 %", "12.50", "not known"),
    ("guided rectified flow, RadImageNet classifier", "LUNA16", "35.01 %", "44.42", "not known"),
)
CAUTION = """\
The first two rows are published (arXiv 2604.08313): LUNA16 with the pretrained flow MAISI-v2 and
pretrained classifiers, on windows and a split that are not known. The last row is this run, with
other weights and its own windows and split. No row beats another. A nodule that a mask misses
counts as Dice 0 and as a distance of its window's diagonal; how the published rows count it is not
known.
"""


def call(*words: object) -> None:
    """Run a command; its words go to standard error, so that the table stays alone."""
    line = [str(word) for word in words]
    print("$", " ".join(line), file=sys.stderr, flush=True)
    subprocess.run(line, check=True, stdout=sys.stderr)


def row(scores: dict[str, Any], made: dict[str, Any]) -> tuple[str, ...]:
    """Return what a run scored, as a row of the table."""
    nodule = scores["labels"]["nodule"]
    dice, distance = nodule["dice"], nodule["assd_mm"]
    if dice["mean"] is None:
        return ("this run", "your LUNA16", "none", "none", "no window with a nodule")
    ends = "" if dice["low"] is None else f" ({100 * dice['low']:.2f} to {100 * dice['high']:.2f})"
    return (
        f"this run, {made['config']['label']['tags']['method']}",
        "your LUNA16",
        f"{100 * dice['mean']:.2f} %{ends}",
        f"{distance['median']:.2f}",
        f"{dice['n']} windows with a nodule, of {dice['subjects']} scans; "
        f"{100 * nodule['missed']:.0f} % missed",
    )


def main() -> None:
    """Import, run, and make the table."""
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("luna16", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--xml", type=Path)
    parser.add_argument("--test-subsets", type=int, nargs="+", default=[9])
    parser.add_argument("--window-mm", type=float, default=64.0)
    parser.add_argument("--windows", type=int, default=8)
    args = parser.parse_args(words[:end])
    study, run = args.out / "study", args.out / "run"
    if not study.exists():
        flags: list[object] = ["--test-subsets", *args.test_subsets]
        flags += ["--window-mm", args.window_mm, "--windows", args.windows]
        flags += [] if args.xml is None else ["--xml", args.xml]
        call("voxhint", "import", "luna16", args.luna16, "--out", study, *flags)
    call("voxhint", "run", study, "--out", run, "--config", RECIPE, *words[end + 1 :])
    rows: list[tuple[str, ...]] = list(PUBLISHED)
    if (run / "scores.json").exists():
        scores, made = (
            json.loads((run / f"{name}.json").read_text()) for name in ("scores", "made")
        )
        rows.append(row(scores, made))
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEADS, ["---"] * len(HEADS), *rows)]
    text = "\n".join([*lines, "", CAUTION])
    (args.out / "table.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
