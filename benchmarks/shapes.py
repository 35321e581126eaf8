"""Soft labels of shapes that are no blobs, beside the class of the nearest hint.

usage: shapes.py [--shapes NAME ...] [--hints KIND ...] [--seeds N]

For each made-up shape, spacing and kind of hint: Dice of the largest class of soft labels, Dice of
the class of the nearest hint with steep edges and without any (controls), the volume found over
the true one, and how far each label may be found. Means over labels and seeds. A row whose soft
labels fall short of the control with edges is marked.
"""

import argparse

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage
from tests.shapes import HINTS, SHAPES, Scan, hints_for, made_up

from voxhint.config import LabelConfig
from voxhint.core import Hint
from voxhint.propagate import (
    constraints_of,
    distance_caps,
    geodesic_mm,
    measure_marks,
    propagate_hints,
)
from voxhint.propagate.edge_cost import edge_cost

STEEP = 8.0  # edge weight of the control
NEAR = 3  # voxels around hints, whose slopes are the unit
SHORT = 0.005
HEADS = ("shape", "slices", "hints", "soft", "nearest hint, 8", "nearest hint, 0", "volume", "mm")


def nearest(scan: Scan, hints: tuple[Hint, ...], edge_weight: float) -> UInt8[np.ndarray, "i j k"]:
    """Return the class of the hint that is nearest along ways that avoid edges."""
    grid = scan.image.grid
    seeds = constraints_of(grid, hints, scan.truth.names).proven > 0.5
    shown = np.asarray(seeds.any(0))
    steep = edge_cost([scan.image], np.asarray(ndimage.binary_dilation(shown, iterations=NEAR)))
    ways = [geodesic_mm(places, steep, grid, edge_weight=edge_weight) for places in seeds]
    return np.asarray(np.argmin(ways, axis=0), np.uint8)


def softened(
    scan: Scan, hints: tuple[Hint, ...]
) -> tuple[UInt8[np.ndarray, "i j k"], dict[str, float]]:
    """Return the largest class of soft labels, and the caps they were made with."""
    labels = scan.truth.names
    constraints = constraints_of(scan.image.grid, hints, labels)
    caps = distance_caps([measure_marks(constraints, labels)], [constraints.grid], labels)
    soft = propagate_hints(constraints, [scan.image], labels, caps_mm=caps, config=LabelConfig())
    return soft.largest_class(), caps


def scores(found: UInt8[np.ndarray, "i j k"], scan: Scan) -> tuple[float, float]:
    """Return Dice, and volume over true volume, as means over labels."""
    rows = []
    for number in range(1, len(scan.truth.names.names)):
        one, two = found == number, scan.truth.ids == number
        rows.append((2 * (one & two).sum() / (one.sum() + two.sum()), one.sum() / two.sum()))
    dice, volume = np.mean(rows, axis=0)
    return float(dice), float(volume)


def row(shape: str, kind: str, *, thick: bool, seeds: int) -> str:
    """Return a row of the table."""
    found = []
    for seed in range(seeds):
        scan = made_up(shape, thick=thick, seed=seed)
        hints = hints_for(scan.truth, kind, seed)
        soft, caps = softened(scan, hints)
        dice, volume = scores(soft, scan)
        controls = [scores(nearest(scan, hints, weight), scan)[0] for weight in (STEEP, 0.0)]
        found.append((dice, *controls, volume, float(np.mean(list(caps.values())))))
    soft_dice, steep, flat, volume, cap = np.mean(found, axis=0)
    mark = " **" if soft_dice < steep - SHORT else " "
    numbers = f"{mark.strip()}{soft_dice:.3f}{mark.strip()} | {steep:.3f} | {flat:.3f}"
    spacing = "8 mm" if thick else "1 mm"
    return f"| {shape} | {spacing} | {kind} | {numbers} | {volume:.2f} | {cap:.1f} |"


def main() -> None:
    """Print the table while it grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=tuple(SHAPES))
    parser.add_argument("--hints", nargs="+", choices=HINTS, default=HINTS)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS))
    for shape in args.shapes:
        for thick in (False, True):
            for kind in args.hints:
                print(row(shape, kind, thick=thick, seeds=args.seeds), flush=True)


if __name__ == "__main__":
    main()
