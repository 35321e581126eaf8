"""How good soft labels are before any network is trained, for each kind of hint and each method.

usage: pseudo_labels.py STUDY OUT --kinds points:5 boxes --methods default geodesic+alone pw4medseg

STUDY holds denseTr and a part `design` in splits.json: the hints of all training cases are looked
at, those of `design` are labelled and scored. A voxel belongs to its most probable class; where
nothing is trusted, to the background. `points:20~3` moves each click by a Gaussian of 3 mm,
`points:20-posterior` forgets that label in every fourth case, `points:20*` tells every tenth
foreground click also as another label. Methods are values of --method; `+alone`
switches off learning across cases; `nearest` is the control: the class of the nearest hint along
ways that avoid edges. A label that a dense mask lacks is not scored there. With
--simulator hints come from a program with the words `STUDY KIND OUT`. Intervals come from
resampling subjects.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from voxhint.config import LabelConfig, Machine
from voxhint.core import Case, LabelSet
from voxhint.core.study import Study
from voxhint.files.images import read_ids
from voxhint.files.validate.study import open_study
from voxhint.propagate import constraints_of, geodesic_mm
from voxhint.propagate.edge_cost import edge_cost
from voxhint.propagate.study import aligned_case, label_case, plan_propagation

KIND = re.compile(
    r"(?P<plain>[a-z]+(:\d+)?)(~(?P<mm>[\d.]+))?(-(?P<forgotten>\w+))?(?P<double>\*)?"
)
RESAMPLES = 2000
STEEP = 8.0  # edge weight of the control
Clicks = list[dict[str, str]]


def simulate(study: Path, kind: str, out: Path, simulator: Path | None) -> None:
    """Write a study of hints of one kind, spoilt as its name says."""
    if out.exists():
        return
    parts = KIND.fullmatch(kind)
    if parts is None:
        sys.exit(f"kind is '{kind}'; such as points:20, points:20~3 or boxes expected")
    if simulator is None:
        words = ["voxhint", "simulate", study, "--hint", parts["plain"], "--out", out]
    else:
        words = [sys.executable, simulator, study, parts["plain"], out]
    subprocess.run(list(map(str, words)), check=True, stdout=sys.stderr)
    table = out / "hints" / "points.csv"
    if table.exists():
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        rows = list(spoilt(rows, parts))
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def spoilt(rows: Clicks, parts: re.Match[str]) -> Iterator[dict[str, str]]:
    """Yield clicks as a hasty person sets them; a click may leave its label, not its image."""
    wander_mm = float(parts["mm"] or 0)
    rng = np.random.default_rng(0)
    cases = sorted({row["case"] for row in rows})
    careless = set(cases[::4])
    ends = {
        case: (np.min(at, axis=0), np.max(at, axis=0))
        for case in cases
        for at in [[[float(r[a]) for a in "xyz"] for r in rows if r["case"] == case]]
    }
    names = sorted({row["label"] for row in rows} - {"background"})
    for row in rows:
        if row["label"] == parts["forgotten"] and row["case"] in careless:
            continue
        low, high = ends[row["case"]]
        at = np.array([float(row[axis]) for axis in "xyz"])
        if wander_mm:
            at = np.clip(at + rng.normal(0, wander_mm, 3), low, high)
        moved = {**row, **{axis: f"{v:.3f}" for axis, v in zip("xyz", at, strict=True)}}
        yield moved
        if parts["double"] and row["label"] != "background" and rng.random() < 0.1:
            other = [name for name in (*names, "background") if name != row["label"]]
            yield {**moved, "label": other[0]}


def config_of(method: str) -> LabelConfig:
    """Return the knobs that a name in the table stands for."""
    name, _, alone = method.partition("+")
    if name in ("default", "nearest"):
        return LabelConfig(cross_case=not alone)
    knobs: dict[str, Any] = {"method": name}
    return LabelConfig(cross_case=not alone, **knobs)


def nearest(case: Case, labels: LabelSet) -> np.ndarray:
    """Return the class of the hint that is nearest along ways that avoid edges."""
    known = constraints_of(case.grid, case.hints, labels)
    seeds = (known.proven > 0.5) | (known.likely > 0)
    steep = edge_cost(tuple(case.images.values()), known.near)
    ways = [geodesic_mm(places, steep, case.grid, edge_weight=STEEP) for places in seeds]
    return np.asarray(np.argmin(np.where(known.possible > 0, ways, np.inf), axis=0))


def scores(study: Study, truth: Path, design: set[str], method: str) -> np.ndarray:
    """Return Dice and volume over true volume of each label, a row for each design case."""
    hinted, config = study.hinted, config_of(method)
    plan = None
    if method != "nearest":
        plan = plan_propagation(study, hinted, config=config, machine=Machine())
    rows = []
    for files in (files for files in hinted if files.name in design):
        if plan is None:
            found = nearest(aligned_case(study, files), study.labels)
        else:
            found = label_case(study, files, plan, config).soft.largest_class()
        there = study.labels.to_classes(read_ids(truth / f"{files.name}.nii.gz")[0])
        row = []
        for number in range(1, len(study.labels.names)):
            one, two = found == number, there == number
            outlined = two.any()
            dice = 2 * (one & two).sum() / (one.sum() + two.sum()) if outlined else np.nan
            row += [dice, one.sum() / two.sum() if outlined else np.nan]
        rows.append(row)
    return np.array(rows)


def row(cells: list[str], found: np.ndarray, seconds: float) -> str:
    """Return a row of the table from the scores of all cases."""
    each = np.nanmean(found[:, ::2], axis=1)
    drawn = np.random.default_rng(0).integers(0, len(each), (RESAMPLES, len(each)))
    low, high = np.percentile(each[drawn].mean(1), [2.5, 97.5])
    dices, volumes = np.nanmean(found[:, ::2], axis=0), np.nanmedian(found[:, 1::2], axis=0)
    pairs = [f"{d:.3f} ({v:.2f})" for d, v in zip(dices, volumes, strict=True)]
    cells = [*cells, f"{each.mean():.3f} ({low:.3f} to {high:.3f})", *pairs, f"{seconds:.0f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table while it grows; it is also written to OUT/table.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", default=["default+alone", "default"])
    parser.add_argument("--simulator", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table = args.out / "table.md"
    design = set(json.loads((args.study / "splits.json").read_text())["design"])
    for kind in args.kinds:
        source = args.out / re.sub(r"\W", "_", kind)
        simulate(args.study, kind, source, args.simulator)
        study = open_study(source, skip_bad=True, deep=False)[0]
        if not table.exists():
            heads = [f"{name} (volume)" for name in study.labels.foreground]
            line = " | ".join(["hints", "method", "mean Dice", *heads, "CPU s"])
            table.write_text(f"| {line} |\n|" + "---|" * (len(heads) + 4) + "\n")
        for method in args.methods:
            began = time.process_time()
            found = scores(study, args.study / "denseTr", design, method)
            line = row([kind, method], found, time.process_time() - began)
            with table.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    main()
