"""Where a predictor trained on tags looked: every map of evidence, raw and refined, with controls.

usage: tags_to_masks.py STUDY OUT [--methods NAME[:KNOB=VALUE,...] ...] [--limit N] [--test]
       [--seed N] [--device D] [--threads N]

STUDY holds tags and denseTr, and splits.json names its `fit` and `design` cases. A predictor learns
the tags of the `fit` cases in OUT. Maps of `design` cases are held against denseTr, with --test
those of the test cases against labelsTs, for the record. Thresholds follow from `fit` cases tagged
absent; only what is called oracle has seen masks. Methods that take the label out of the image ask
a flow, which learns the same tags in OUT/flow unless it is there; the knobs of a method may be told
behind its name, for a row of their own. --limit bounds the windows of each kind. Rows of
an earlier call are kept, so slow methods can be added with fewer windows. The tables are printed
and written to OUT/table.md, every number to OUT/rows.json.
"""

import argparse
import csv
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
from _board import Board

from voxhint.config import LabelConfig, Machine, checked
from voxhint.core import Case
from voxhint.files import CaseFiles, Study, load_case, open_study, read_ids
from voxhint.label import attribution, counterfactual
from voxhint.label.calibrate import null_threshold
from voxhint.label.refine import Refinement, refine
from voxhint.measure.detection import ranking
from voxhint.measure.estimate import estimate
from voxhint.measure.overlap import volume_ml
from voxhint.prepare import prepare_image
from voxhint.verbs.looking import Eye, eyes_of
from voxhint.verbs.presence import Presence, image_of, network_for
from voxhint.verbs.tagging import fit_presence

METHODS = {**attribution.METHODS, **counterfactual.METHODS}
CONFIG = LabelConfig(weights="none")  # those that come with voxhint know the design tags
DEFAULT = CONFIG.tag_method
SHUFFLED_STEPS = 200  # of the predictor that learns shuffled tags: there is nothing to learn
HEALTHY = 150  # windows tagged absent that decide a threshold, at most
BLOB_MM = 5.0  # standard deviation of the blob at a random place
FLAT = 0.01  # weight of millimetres along z in a cylinder: the middle slice is its peak
SHARES = np.geomspace(0.5, 0.0005, 60)  # of all voxels, above the thresholds the oracle tries
STATISTICS = {
    "highest HU": np.max,
    "99th percentile of HU": functools.partial(np.percentile, q=99),
    "mean HU": np.mean,
    "share of -600 to -200 HU": lambda image: np.mean((image > -600) & (image < -200)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A case, whom it belongs to, and the label's true mask."""

    case: Case
    subject: str
    truth: np.ndarray

    @property
    def image(self) -> np.ndarray:
        """Return the voxels of the first channel."""
        return next(iter(self.case.images.values())).voxels


Map = Callable[[Window], np.ndarray]
"""Makes a map of evidence on the grid of a window."""


def tell(what: str, done: int, total: int, note: str) -> None:
    """Write progress to standard error, so that the table stays alone."""
    if done % 50 == 0:
        print(f"{what}: {done} of {total} {note}", file=sys.stderr, flush=True)


def fit_study(study: Path, out: Path, *, shuffled: bool) -> Path:
    """Return a folder with the study of the `fit` cases: their tags, and links to images."""
    names = set(json.loads((study / "splits.json").read_text("utf-8"))["fit"])
    (out / "hints").mkdir(parents=True, exist_ok=True)
    (out / "imagesTr").mkdir(exist_ok=True)
    for path in (study / "imagesTr").iterdir():
        link = out / "imagesTr" / path.name
        if path.name.rpartition("_")[0] in names and not link.is_symlink():
            link.symlink_to(path.resolve())
    described = json.loads((study / "dataset.json").read_text("utf-8"))
    described["numTraining"] = len(names)
    (out / "dataset.json").write_text(json.dumps(described), "utf-8")
    for table in ("cases.csv", "hints/tags.csv"):
        with (study / table).open(encoding="utf-8", newline="") as stream:
            head, *rows = csv.reader(stream)
        kept = [row for row in rows if row[0] in names]
        if shuffled and table == "hints/tags.csv":
            states = np.random.default_rng(0).permutation([row[1:] for row in kept])
            kept = [[row[0], *state] for row, state in zip(kept, states.tolist(), strict=True)]
        with (out / table).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([head, *kept])
    return out


def trained(study: Path, out: Path, machine: Machine, *, shuffled: bool) -> tuple[Presence, Study]:
    """Return the predictor of the `fit` cases, trained where no earlier call has, and its study."""
    name = "shuffled" if shuffled else "fit"
    opened, _ = open_study(fit_study(study, out / f"{name}-study", shuffled=shuffled))
    config = LabelConfig(predictor_steps=SHUFFLED_STEPS, weights="none") if shuffled else CONFIG
    labels = opened.labels.foreground
    presence = fit_presence(out / name, opened, labels, config=config, machine=machine, tell=tell)
    return presence, opened


def some(files: Sequence[CaseFiles], limit: int) -> Sequence[CaseFiles]:
    """Return every case, or every n-th of too many."""
    return files[:: max(1, -(-len(files) // limit))]


def tagged(study: Study, files: Sequence[CaseFiles], state: str) -> list[CaseFiles]:
    """Return the cases whose tag says so."""
    return [f for f in files if any(hint.state == state for hint in study.hints.get(f.name, ()))]


def window(study: Study, files: CaseFiles) -> Window:
    """Return a case with its true mask, empty where none is stored."""
    case = load_case(study, files, hints=False)
    path = files.truth or files.dense
    number = study.labels.ids[1]
    truth = read_ids(path)[0] == number if path else np.zeros(case.grid.shape, bool)
    return Window(case, files.subject, truth)


def windows_of(study: Study, limit: int, *, test: bool) -> list[Window]:
    """Return the windows to measure on, those with the label first."""
    if test:
        every = [window(study, files) for files in study.test]
        shown = [w for w in every if w.truth.any()]
        healthy = [w for w in every if not w.truth.any()]
        return [*some(shown, limit), *some(healthy, limit)]
    design = [files for files in study.training if files.name in study.design]
    parts = (some(tagged(study, design, state), limit) for state in ("present", "absent"))
    return [window(study, files) for part in parts for files in part]


class Looked:
    """The maps that a method makes, and what they cost."""

    def __init__(self, eye: Eye, label: str) -> None:
        self.eye, self.label = eye, label
        self.asks: list[tuple[int, int]] = []

    def __call__(self, seen: Window, *, calibrating: bool = False) -> np.ndarray:
        """Return the map of a window."""
        rng = np.random.default_rng([0, *seen.case.name.encode()])
        found = self.eye.look(seen.case, self.label, rng, calibrating=calibrating)
        self.asks.append((found.flow_evaluations, found.predictor_evaluations))
        return found.evidence

    def calibrating(self, seen: Window) -> np.ndarray:
        """Return the map of a window whose label is known to be absent."""
        return self(seen, calibrating=True)


def knobs_of(name: str) -> dict[str, Any]:
    """Return the knobs behind the name of a method."""
    method, _, text = name.partition(":")
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    kinds = get_type_hints(LabelConfig)
    return {"tag_method": method} | {
        knob: value if "Literal" in str(kinds[knob]) else json.loads(value)
        for knob, _, value in pairs
    }


def looked(presence: Presence, fitted: Study, out: Path, machine: Machine, name: str) -> Looked:
    """Return the map that a method makes of a predictor, and of a flow if it asks one."""
    config = checked(dataclasses.replace(CONFIG, **knobs_of(name)))
    (eye,) = eyes_of(presence, fitted, out, config, machine, tell=tell)
    return Looked(eye, presence.labels[0])


def peak_mb(*, anew: bool = False) -> float | None:
    """Return the most memory this process has held since it was last asked anew, where known."""
    if torch.cuda.is_available():
        if anew:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        if anew:
            Path("/proc/self/clear_refs").write_text("5", "utf-8")
        told = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return None
    return int(told.partition("VmHWM:")[2].split()[0]) / 1024


def away_mm(seen: Window, place: np.ndarray, *, along_z: float) -> np.ndarray:
    """Return millimetres from a voxel; slices lie along the last axis."""
    weights = np.array(seen.case.grid.spacing_mm) * (1, 1, along_z)
    squares = [
        ((np.arange(n) - p) * w) ** 2
        for n, p, w in zip(seen.truth.shape, place, weights, strict=True)
    ]
    return np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])


def at_truth(seen: Window) -> np.ndarray:
    """Return cylinders around the true centre, higher inside: any threshold gives a radius."""
    middle = np.argwhere(seen.truth).mean(0)
    return np.exp(-away_mm(seen, middle, along_z=FLAT) / 10).astype(np.float32)


def at_middle(seen: Window) -> np.ndarray:
    """Return cylinders around the middle of the window."""
    middle = (np.array(seen.truth.shape) - 1) / 2
    return np.exp(-away_mm(seen, middle, along_z=FLAT) / 10).astype(np.float32)


def anywhere(seen: Window) -> np.ndarray:
    """Return a blob at a random place."""
    rng = np.random.default_rng([0, *seen.case.name.encode()])
    squares = away_mm(seen, rng.integers(seen.truth.shape), along_z=1.0) ** 2
    return np.exp(-squares / (2 * BLOB_MM**2)).astype(np.float32)


def intensity(presence: Presence, seen: Window) -> np.ndarray:
    """Return how dense the tissue is: what needs no predictor."""
    return presence.contrast(presence.labels[0]).of(image_of(seen.case, presence.plan))


def overlaps(masks: Sequence[np.ndarray], shown: Sequence[Window]) -> np.ndarray:
    """Return the Dice of each window's mask; 0 for an empty one."""
    return np.array(
        [
            2 * np.count_nonzero(mask & seen.truth) / (mask.sum() + seen.truth.sum())
            for mask, seen in zip(masks, shown, strict=True)
        ]
    )


def summed(values: np.ndarray, shown: Sequence[Window]) -> dict[str, Any]:
    """Return mean, median and interval over subjects."""
    rng = np.random.default_rng(0)  # intervals are the same at every look
    return dataclasses.asdict(estimate(values[:, None], [w.subject for w in shown], rng=rng))


def gate_of(presence: Presence) -> float:
    """Return the score from which a window is believed to hold the label."""
    return presence.facts[presence.labels[0]]["gate"]


def score(presence: Presence, seen: Window) -> float:
    """Return the predictor's logit of a window."""
    return presence.scores(prepare_image(seen.case.images, presence.plan)[0])[presence.labels[0]]


def measured(
    of: Map,
    presence: Presence,
    windows: Sequence[Window],
    *,
    healthy: Sequence[Window] = (),
    threshold: float | None = None,
    refinement: Refinement = "half-maximum",
) -> dict[str, Any]:
    """Return a row: what one kind of map gives, raw and refined.

    Args:
        of: Makes the map.
        presence: Its gate and its kinds of tissue.
        windows: Measured on.
        healthy: Decide the threshold, unless it is given; without either there is none.
        threshold: For the raw map.
        refinement: Of the map.
    """
    shown = [w for w in windows if w.truth.any()]
    absent = [w for w in windows if not w.truth.any()]
    if healthy and threshold is None:
        rng = np.random.default_rng(0)
        calibrating = of.calibrating if isinstance(of, Looked) else of
        threshold = null_threshold(map(calibrating, healthy), CONFIG.null_quantile, rng=rng)
    peak_mb(anew=True)
    began = time.perf_counter()
    maps = [of(w) for w in shown]
    seconds = (time.perf_counter() - began) / len(shown)
    asks = np.mean(of.asks[-len(shown) :], 0).tolist() if isinstance(of, Looked) else [None]

    def refined(found: np.ndarray, seen: Window) -> np.ndarray:
        i, j, k = (float(s) for s in seen.case.grid.spacing_mm)
        return refine(
            found,
            image_of(seen.case, presence.plan),
            spacing_mm=(i, j, k),
            contrast=presence.contrast(presence.labels[0]),
            method=refinement,
        )

    cuts = np.quantile(np.concatenate([m.ravel() for m in maps]), 1 - SHARES)
    best = max(cuts, key=lambda cut: overlaps([m > cut for m in maps], shown).mean())
    regions = overlaps([refined(m, w) for m, w in zip(maps, shown, strict=True)], shown)
    peaks = [w.truth.ravel()[m.argmax()] for m, w in zip(maps, shown, strict=True)]
    row = {
        "present": len(shown),
        "absent": len(absent),
        "healthy": len(healthy),
        "hit": float(np.mean(peaks)),
        "threshold": threshold,
        "oracle_threshold": float(best),
        "oracle": summed(overlaps([m > best for m in maps], shown), shown),
        "refined": summed(regions, shown),
        "seconds": seconds,
        "asks": asks,
        "peak_mb": peak_mb(),
        "dice": dict(zip([w.case.name for w in shown], regions.tolist(), strict=True)),
        "subjects": [w.subject for w in shown],
    }
    if threshold is None:
        return row
    row["raw"] = summed(overlaps([m > threshold for m in maps], shown), shown)
    raw_ml, refined_ml = [], []
    for seen in absent:
        found, size = of(seen), seen.case.grid.voxel_mm3
        raw_ml.append(volume_ml(found > threshold, voxel_mm3=size))
        passed = score(presence, seen) >= gate_of(presence)
        refined_ml.append(volume_ml(refined(found, seen), voxel_mm3=size) if passed else 0.0)
    return {**row, "raw_ml": float(np.mean(raw_ml)), "refined_ml": float(np.mean(refined_ml))}


def fresh(presence: Presence, healthy: Sequence[Window]) -> Presence:
    """Return the predictor with random weights, its gate set anew.

    Source:
        Adebayo et al. 2018, "Sanity Checks for Saliency Maps".
    """
    torch.manual_seed(1)
    net = network_for(presence.plan, presence.labels, CONFIG.pooling, flat=CONFIG.predictor_flat)
    unlearnt = dataclasses.replace(presence, net=net.eval())
    gate = np.quantile([score(unlearnt, w) for w in healthy], CONFIG.presence_specificity)
    label = presence.labels[0]
    return dataclasses.replace(unlearnt, facts={label: {**presence.facts[label], "gate": gate}})


def ranked(predictors: dict[str, Presence], windows: Sequence[Window]) -> dict[str, dict[str, Any]]:
    """Return how well whole windows are told apart, by predictors and by plain statistics."""
    truth = np.array([bool(w.truth.any()) for w in windows])
    subjects = [w.subject for w in windows]
    found = {}
    for name, presence in predictors.items():
        scores = np.array([score(presence, w) for w in windows])
        passed = scores >= gate_of(presence)
        found[name] = scores, [float(passed[truth].mean()), float(passed[~truth].mean())]
    for name, statistic in STATISTICS.items():
        found[name] = np.array([float(statistic(w.image)) for w in windows]), [None, None]
    rows = {}
    for name, (scores, passed) in found.items():
        area = ranking(scores, truth, subjects, rng=np.random.default_rng(0))
        rows[name] = {**dataclasses.asdict(area), "passed": passed}
    return rows


def parsed() -> argparse.Namespace:
    """Return the words of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(attribution.METHODS))
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="of the predictors; another OUT each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Make the table."""
    args = parsed()
    machine = Machine(device=args.device, threads=args.threads, seed=args.seed)
    presence, fitted = trained(args.study, args.out, machine, shuffled=False)
    misled, _ = trained(args.study, args.out, machine, shuffled=True)
    without = tagged(fitted, fitted.training, "absent")
    healthy = [window(fitted, files) for files in some(without, min(HEALTHY, args.limit))]
    opened, _ = open_study(args.study)
    windows = windows_of(opened, args.limit, test=args.test)
    unlearnt = fresh(presence, healthy)
    board = Board.of(args.out, "-test" if args.test else "", list(METHODS), DEFAULT)
    if not board.areas:
        named = {"predictor": presence, "shuffled tags": misled, "random weights": unlearnt}
        board.areas.update(ranked(named, windows))
    row = functools.partial(measured, presence=presence, windows=windows, healthy=healthy)
    view = functools.partial(looked, fitted=fitted, out=args.out, machine=machine)
    for name in args.methods:
        board.add(name, functools.partial(row, view(presence, name=name)))
    for name, other in (("shuffled tags", misled), ("random weights", unlearnt)):
        default = view(other, name=DEFAULT)
        board.add(f"control: {name}", functools.partial(row, default, presence=other))
    density = functools.partial(intensity, presence)
    for name, of in (("intensity", density), ("random place", anywhere), ("middle", at_middle)):
        board.add(f"control: {name}", functools.partial(row, of))
    board.add("control: true middle", functools.partial(row, at_truth, healthy=()))
    rows = board.rows
    best = max(
        attribution.METHODS.keys() & rows.keys(), key=lambda name: rows[name]["refined"]["mean"]
    )
    again = functools.partial(row, view(presence, name=best), threshold=rows[best]["threshold"])
    for way in ("random-walker", "active-contour"):
        board.add(f"{best}, {way}", functools.partial(again, refinement=way))
    board.save()
    print(board.text())


if __name__ == "__main__":
    main()
