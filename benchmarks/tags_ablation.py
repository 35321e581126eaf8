"""What each step from a guided flow to a mask brings, one after the other.

usage: tags_ablation.py STUDY OUT [--windows N] [--flow FOLDER] [--seed N] [--device D]
       [--threads N]

STUDY, OUT and --flow are as for tags_to_masks.py, whose classifiers are used where they are there.
The first row is what is certain of guided rectified flow (arXiv:2604.08313), with a flow and a
classifier of our own; each row below adds a step to the one above, or replaces what it names. Dice
is over N `design` windows with the label, false volume over N without, whatever a classifier says
of them as a whole. No step has seen a mask. Rows of an earlier call are kept; the table is printed
and written to OUT/ablation.md, every number to OUT/ablation-N.json.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from _board import Kept, number, spread, table
from _looks import CONFIG, Looked, looked, take_flow, trained
from _rows import overlaps, summed, volume
from _windows import Window, design_windows, healthy_windows, parser_of
from scipy import ndimage

from voxhint.classify.candidates import candidates
from voxhint.classify.classifier import Classifier, image_of
from voxhint.classify.map_threshold import NULL_QUANTILE, null_quantile
from voxhint.classify.occlusion_check import swap_test
from voxhint.config import Machine
from voxhint.files import open_study
from voxhint.prepare import prepare_image
from voxhint.prepare.preprocess import to_working

PLACES = 4  # candidates that are tried in a window
NEAR = "guided-flow-paired:gate=0.1"
STARTS = "/".join(f"{NEAR},start={start}" for start in (0.35, 0.5, 0.65))
LABEL = "label-flow"
BOTH = f"{LABEL}/flow-contrast"
STEPS = (
    ("guided from noise, size of the difference to the image, above half its peak",
     "guided-flow", "half"),
    ("+ inverted rather than noised, against a twin without guidance, steps scaled by belief",
     NEAR, "half"),
    ("+ above what healthy windows show", NEAR, "healthy"),
    ("+ parts that a second classifier misses", NEAR, "verified"),
    ("+ borders from the image", NEAR, "refined"),
    ("+ three starts joined", STARTS, "refined"),
    ("label-flow in place of the guided flow", LABEL, "refined"),
    ("label-flow joined with flow-contrast", BOTH, "refined"),
)  # fmt: skip
"""What a row is called, its map, and how it becomes a mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What the rows share."""

    classifier: Classifier
    verifier: Classifier
    windows: Sequence[Window]
    healthy: Sequence[Window]
    view: Callable[[str], Looked]

    def believed(self, parts: Sequence[np.ndarray], seen: Window) -> list[np.ndarray]:
        """Return the regions that the second classifier misses, the most missed one first."""
        label = self.classifier.labels[0]
        image, working = prepare_image(seen.case.images, self.verifier.plan)
        carried = [to_working(part.astype(np.float32), seen.case.grid, working) for part in parts]
        x, y, z = working.spacing_mm.tolist()
        verdict = swap_test(
            image,
            [share >= min(0.5, share.max()) for share in carried],
            lambda changed: self.verifier.scores(changed)[label],
            spacing_mm=(x, y, z),
        )
        return [parts[number] for number in verdict.kept]

    def mask(self, found: np.ndarray, seen: Window, threshold: float, cut: str) -> np.ndarray:
        """Return the mask of a map."""
        shown: np.ndarray = found > threshold
        if cut == "half":
            above: np.ndarray = found > max(0.5 * float(found.max()), 0.0)
            return above
        if cut == "healthy":
            return shown
        if cut == "verified":
            numbers, count = ndimage.label(shown, np.ones((3, 3, 3)))
            kept = self.believed([numbers == n + 1 for n in range(count)], seen)
            return sum(kept, np.zeros_like(shown))
        kept = self.believed(list(islice(self.grown(found, shown, seen), PLACES)), seen)
        return kept[0] if kept else np.zeros_like(shown)

    def grown(self, found: np.ndarray, shown: np.ndarray, seen: Window) -> Iterator[np.ndarray]:
        """Return regions around the strongest places, one after the other."""
        return candidates(
            found,
            shown,
            image_of(seen.case, self.classifier.plan),
            spacing_mm=seen.spacing_mm,
            contrast=self.classifier.contrast(self.classifier.labels[0]),
            method=CONFIG.tags.refine,
        )


def maps_of(bench: Bench, name: str) -> dict[str, Any]:
    """Return a map of each window, the threshold of healthy ones, and the cost of a map."""
    of = bench.view(name)
    threshold = null_quantile(
        map(of.calibrating, bench.healthy), NULL_QUANTILE, rng=np.random.default_rng(0)
    )
    began = time.perf_counter()
    maps = [of(seen) for seen in bench.windows]
    seconds = (time.perf_counter() - began) / len(maps)
    asks = np.mean(of.asks[-len(maps) :], 0).tolist()
    return {"maps": maps, "threshold": threshold, "seconds": seconds, "asks": asks}


def row_of(
    bench: Bench, made: Callable[[str], dict[str, Any]], name: str, cut: str
) -> dict[str, Any]:
    """Return what one way to make masks gives."""
    found = made(name)
    masks = [
        bench.mask(one, seen, found["threshold"], cut)
        for one, seen in zip(found["maps"], bench.windows, strict=True)
    ]
    pairs = list(zip(masks, bench.windows, strict=True))
    shown = [(mask, seen) for mask, seen in pairs if seen.truth.any()]
    holders = [seen for _, seen in shown]
    return {
        "dice": summed(overlaps([mask for mask, _ in shown], holders), holders),
        "touched": float(np.mean([(mask & seen.truth).any() for mask, seen in shown])),
        "astray_ml": float(np.mean([volume(mask & ~seen.truth, seen) for mask, seen in shown])),
        "absent_ml": float(np.mean([volume(m, w) for m, w in pairs if not w.truth.any()])),
        "seconds": found["seconds"],
        "asks": found["asks"],
    }


def text_of(rows: dict[str, Any]) -> str:
    """Return the table."""
    heads = ("step", "Dice", "touched", "mL outside", "mL in windows without",
             "asks of flow, classifier", "seconds a map")  # fmt: skip
    lines = []
    for name, row in rows.items():
        asks = ", ".join(number(ask, 0) for ask in row["asks"])
        parts = (number(row[key], 2) for key in ("touched", "astray_ml", "absent_ml"))
        lines.append([name, spread(row["dice"]), *parts, asks, number(row["seconds"], 1)])
    return table(heads, lines) + "\n"


def main() -> None:
    """Make the table."""
    args = parser_of(__doc__, 12).parse_args()
    machine = Machine(device=args.device, threads=args.threads, seed=args.seed)
    classifier, fitted = trained(args.study, args.out, machine)
    verifier, _ = trained(args.study, args.out, machine, "other")
    take_flow(args.flow, args.out)
    opened, _ = open_study(args.study)
    healthy = healthy_windows(fitted, args.windows)

    def view(name: str) -> Looked:
        return looked(classifier, fitted, args.out, machine, name, healthy)

    bench = Bench(classifier, verifier, design_windows(opened, args.windows), healthy, view)
    made = functools.cache(functools.partial(maps_of, bench))
    kept = Kept.of(args.out / f"ablation-{args.windows}.json")
    for name, method, cut in STEPS:
        kept.add(name, functools.partial(row_of, bench, made, method, cut))
    text = text_of(kept.rows)
    (args.out / "ablation.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
