"""From simulated hints to scored masks on a study with dense masks, a row for each kind of hint.

usage: hints_to_masks.py STUDY OUT --kinds points:20 boxes dense [--simulator F]

STUDY holds denseTr, imagesTs and labelsTs. Hints come from `voxhint simulate`, or from another
program with the words `STUDY KIND OUT [--pose P]` (`points:20@1` asks it for pose 1). Whatever
follows `--` goes to `voxhint run`. The table is printed and written to OUT/table.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path


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


def row(study: Path, kind: str, out: Path, args: argparse.Namespace) -> str:
    """Return one kind's row of the table, after running it."""
    name = kind.replace(":", "").replace("@", "-pose")
    if kind == "dense":
        source, extra = study, ("--supervision", "dense")
    else:
        source, extra = out / f"{name}-study", ()
        simulate(study, kind, source, args.simulator)
        call("voxhint", "run", source, "--out", out / name, *extra, *args.run)
    minutes = sum(json.loads((out / name / "made.json").read_text())["seconds"].values()) / 60
    scores = json.loads((out / name / "scores.json").read_text())
    cells = [kind]
    for summary in (scores["overall"], *scores["labels"].values()):
        dice = summary["dice"]
        cells.append(f"{dice['mean']:.3f} ({dice['low']:.3f} to {dice['high']:.3f})")
    overall = scores["overall"]
    cells += [f"{overall['nsd']['mean']:.3f}", f"{overall['hd95_mm']['mean']:.1f}"]
    cells.append(f"{minutes:.1f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Make the table."""
    words, _, rest = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", required=True)
    parser.add_argument("--simulator", type=Path)
    args = parser.parse_args(words.split())
    args.run = rest.split()
    args.out.mkdir(parents=True, exist_ok=True)
    labels = json.loads((args.study / "dataset.json").read_text())["labels"]
    names = [name for name in labels if name not in ("background", "ignore")]
    heads = ["hints", "mean Dice", *names, "surface Dice 1 mm", "HD95 mm", "minutes"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for kind in args.kinds:
        lines.append(row(args.study, kind, args.out, args))
        (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
