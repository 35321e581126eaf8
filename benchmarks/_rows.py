"""What a kind of map is worth: overlap with the truth, false volume, and cost."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _looks import Looked, Map, operating_point_of, score
from _windows import Window

from voxhint.classify.classifier import Classifier, image_of
from voxhint.classify.map_threshold import NULL_QUANTILE, null_quantile
from voxhint.classify.refinement import refine
from voxhint.measure.confidence_intervals import estimate
from voxhint.measure.overlap import volume_ml

SHARES = np.geomspace(0.5, 0.0005, 60)  # of all voxels, above the thresholds the oracle tries
SCAN_VOXELS = 512 * 512 * 300


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


def overlaps(masks: Sequence[np.ndarray], shown: Sequence[Window]) -> np.ndarray:
    """Return the Dice of each window's mask; 0 for an empty one."""
    return np.array(
        [
            2 * np.count_nonzero(mask & seen.truth) / (mask.sum() + seen.truth.sum())
            for mask, seen in zip(masks, shown, strict=True)
        ]
    )


def summed(values: Sequence[float] | np.ndarray, windows: Sequence[Window]) -> dict[str, Any]:
    """Return mean, median and interval over subjects."""
    rng = np.random.default_rng(0)  # intervals are the same at every look
    found = estimate(np.asarray(values, float)[:, None], [w.subject for w in windows], rng=rng)
    return dataclasses.asdict(found)


def refined(found: np.ndarray, seen: Window, classifier: Classifier) -> np.ndarray:
    """Return the region that the library grows from a map."""
    return refine(
        found,
        image_of(seen.case, classifier.plan),
        spacing_mm=seen.spacing_mm,
        contrast=classifier.contrast(classifier.labels[0]),
    )


def volume(mask: np.ndarray, seen: Window) -> float:
    """Return millilitres."""
    return volume_ml(mask, voxel_mm3=seen.case.grid.voxel_mm3)


def measured(
    of: Map,
    classifier: Classifier,
    windows: Sequence[Window],
    *,
    healthy: Sequence[Window] = (),
) -> dict[str, Any]:
    """Return a row: what one kind of map gives, raw and refined.

    Args:
        of: Makes the map.
        classifier: Its operating point and its kinds of tissue.
        windows: Measured on.
        healthy: Decide the threshold of the raw map; without them there is none.
    """
    shown = [w for w in windows if w.truth.any()]
    absent = [w for w in windows if not w.truth.any()]
    threshold = None
    if healthy:
        rng = np.random.default_rng(0)
        calibrating = of.calibrating if isinstance(of, Looked) else of
        threshold = null_quantile(map(calibrating, healthy), NULL_QUANTILE, rng=rng)
    peak_mb(anew=True)
    began = time.perf_counter()
    maps = [of(w) for w in shown]
    seconds = (time.perf_counter() - began) / len(shown)
    asks = np.mean(of.asks[-len(shown) :], 0).tolist() if isinstance(of, Looked) else [None]
    peak = peak_mb()
    cuts = np.quantile(np.concatenate([m.ravel() for m in maps]), 1 - SHARES)
    best = max(cuts, key=lambda cut: overlaps([m > cut for m in maps], shown).mean())
    pairs = list(zip(maps, shown, strict=True))
    regions = overlaps([refined(m, w, classifier) for m, w in pairs], shown)
    row = {
        "present": len(shown),
        "absent": len(absent),
        "healthy": len(healthy),
        "hit": float(np.mean([w.truth.ravel()[m.argmax()] for m, w in pairs])),
        "threshold": threshold,
        "oracle_threshold": float(best),
        "oracle": summed(overlaps([m > best for m in maps], shown), shown),
        "refined": summed(regions, shown),
        "seconds": seconds,
        "scan_hours": seconds * SCAN_VOXELS / np.mean([m.size for m in maps]) / 3600,
        "asks": asks,
        "peak_mb": peak,
        "dice": dict(zip([w.case.name for w in shown], regions.tolist(), strict=True)),
        "subjects": [w.subject for w in shown],
    }
    if threshold is None:
        return row
    row["raw"] = summed(overlaps([m > threshold for m in maps], shown), shown)
    raw_ml, refined_ml = [], []
    for seen in absent:
        found = of(seen)
        raw_ml.append(volume(found > threshold, seen))
        passed = score(classifier, seen) >= operating_point_of(classifier)
        region = refined(found, seen, classifier) if passed else np.zeros(1, bool)
        refined_ml.append(volume(region, seen))
    return {**row, "raw_ml": float(np.mean(raw_ml)), "refined_ml": float(np.mean(refined_ml))}
