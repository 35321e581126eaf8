"""Clicks against Dice: a simulated person clicks where the mask is most wrong.

`scripts/bench clicks STUDY --cases 20 --clicks 10` for the curve, `--latency` for the seconds
at 256 x 256 x 128 and 512 x 512 x 300. Of a study with splits.json the design cases are clicked.
`--model RUN` begins with the mask of a model, trained on hints of other cases; 0 clicks is that.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from voxhint.config import LabelConfig
from voxhint.core import Case, Grid, LabelSet, Points, Volume
from voxhint.core.study import CaseFiles, Study
from voxhint.propagate.interactive import LiveMask
from voxhint.propagate.study import aligned_case
from voxhint.verbs.serve import open_for_review
from voxhint.verbs.session_model import SessionModel

Curve = list[dict[str, float]]
Prior = Float32[np.ndarray, "class i j k"]


def next_click(
    mask: UInt8[np.ndarray, "i j k"], truth: UInt8[np.ndarray, "i j k"], number: int, grid: Grid
) -> tuple[int, tuple[int, int, int]] | None:
    """Return the class and the innermost voxel of a label's largest error; None without any."""
    best: tuple[float, int, tuple[int, int, int]] | None = None
    for kind, wrong in (
        (number, (truth == number) & (mask != number)),
        (-1, (mask == number) & (truth != number)),
    ):
        parts, count = ndimage.label(wrong, np.ones((3, 3, 3)))
        if not count:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        region = parts == 1 + int(sizes.argmax())
        inside = ndimage.distance_transform_edt(np.pad(region, 1), grid.spacing_mm)[
            1:-1, 1:-1, 1:-1
        ]
        i, j, k = (int(n) for n in np.unravel_index(int(inside.argmax()), mask.shape))
        klass = number if kind > 0 else int(truth[i, j, k])
        if best is None or sizes.max() > best[0]:
            best = (float(sizes.max()), klass, (i, j, k))
    return None if best is None else (best[1], best[2])


def dice(mask: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"]) -> float:
    total = int(mask.sum() + truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def curve_of(
    study: Study, files: CaseFiles, clicks: int, asked: Callable[[Case], Prior | None]
) -> dict[str, Curve]:
    """Return Dice and seconds after 0, 1, ... rounds; in a round every label gets one click."""
    dense = study.load(files, hints=False, dense=True).truth
    assert dense is not None  # noqa: S101
    truth, case = study.labels.to_classes(dense.ids), aligned_case(study, files)
    labels = study.labels
    live = LiveMask(list(case.images.values()), labels, config=LabelConfig(), prior=asked(case))
    shown = [n for n in range(1, len(labels.names)) if (truth == n).any()]
    hints: list[Points] = []
    waited: dict[int, float] = {}
    found: dict[str, Curve] = {labels.names[n]: [] for n in shown}
    for round_ in range(clicks + 1):
        for number in shown if round_ else ():
            click = next_click(live.classes, truth, number, case.grid)
            seconds = 0.0
            if click is not None:
                klass, voxel = click
                at = case.grid.to_world(np.array([voxel], np.float64))
                hints.append(Points(labels.names[klass], at, np.ones(1)))
                i, j, k = voxel
                began = time.perf_counter()
                live.answer(hints, (slice(i, i + 1), slice(j, j + 1), slice(k, k + 1)))
                seconds = time.perf_counter() - began
            waited[number] = seconds
        for number in shown:
            good = dice(live.classes == number, truth == number)
            row = {"clicks": round_, "seconds": waited.get(number, 0.0), "dice": good}
            found[labels.names[number]].append(row)
    return found


def run_curve(root: Path, cases: int, clicks: int, out: Path | None, run: Path | None) -> None:
    study, splits = open_for_review(root), root / "splits.json"
    design = json.loads(splits.read_text())["design"] if splits.exists() else None
    chosen = [f for f in study.training if f.dense and (design is None or f.name in design)]
    chosen = chosen[:: max(1, len(chosen) // cases)][:cases]
    curves: dict[str, list[Curve]] = {}
    model = SessionModel(study.labels)

    def asked(case: Case) -> Prior | None:
        said = None if run is None else model.ask(run, case.images)
        if run is not None and said is None:
            msg = f"{run}: no model of the labels and channels of {root}"
            raise SystemExit(msg)
        return said

    for files in chosen:
        for label, curve in curve_of(study, files, clicks, asked).items():
            curves.setdefault(label, []).append(curve)
    for label, each in curves.items():
        table = np.array([[step["dice"] for step in curve] for curve in each])
        needed = [next((n for n, d in enumerate(row) if d >= 0.8), np.inf) for row in table]
        seconds = [step["seconds"] for curve in each for step in curve[1:]]
        print(
            f"{label}: {len(each)} cases; median Dice after 0, 1, ... clicks:",
            *np.round(np.median(table, 0), 3),
        )
        print(
            f"  clicks to 0.80, median {np.median(needed)}; "
            f"reached in {np.isfinite(needed).mean():.0%}; seconds a click: "
            f"median {np.median(seconds):.2f}, p95 {np.quantile(seconds, 0.95):.2f}"
        )
    if out is not None:
        out.write_text(json.dumps(curves, indent=1))


def run_latency(clicks: int) -> None:
    for shape, spacing in (((256, 256, 128), (1.0, 1.0, 1.5)), ((512, 512, 300), (0.8, 0.8, 1.0))):
        rng = np.random.default_rng(0)
        grid = Grid(shape, np.diag([*spacing, 1.0]))
        along = [
            ((np.arange(n) - n / 2) * s).astype(np.float32)
            for n, s in zip(shape, spacing, strict=True)
        ]
        i, j, k = np.meshgrid(*along, indexing="ij", sparse=True)
        ball = i**2 + j**2 + k**2 < 40**2
        voxels = 40 * ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), 1) + 60 * ball
        live = LiveMask(
            [Volume(voxels.astype(np.float32), grid)],
            LabelSet(("background", "ball"), (0, 1)),
            config=LabelConfig(),
        )
        hints: list[Points] = []
        seconds = []
        for _ in range(clicks + 1):
            click = next_click(live.classes, ball.astype(np.uint8), 1, grid)
            if click is None:
                break
            at = grid.to_world(np.array([click[1]], np.float64))
            hints.append(Points(("background", "ball")[click[0]], at, np.ones(1)))
            a, b, c = click[1]
            began = time.perf_counter()
            live.answer(hints, (slice(a, a + 1), slice(b, b + 1), slice(c, c + 1)))
            seconds.append(time.perf_counter() - began)
        warm = seconds[1:]  # the first one compiles
        print(
            f"{shape}: {len(warm)} clicks, median {np.median(warm):.2f} s, "
            f"p95 {np.quantile(warm, 0.95):.2f} s; Dice {dice(live.classes > 0, ball):.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--latency", action="store_true")
    words = parser.parse_args()
    if words.latency:
        run_latency(words.clicks)
    if words.study:
        run_curve(words.study, words.cases, words.clicks, words.out, words.model)


if __name__ == "__main__":
    main()
