"""Geodesic distance from 20 seeds on one thread, against FastGeodis (raster scans, compiled C++).

usage: geodesic.py --size 256

pip install FastGeodis first, in an environment of its own: it compiles against PyTorch. Both take
the shortest ways over 26 neighbours of smooth noise. FastGeodis sums the differences of intensities
(lambda 1), after as many rounds as asked for; two are its default. voxhint sums millimetres that
slopes make longer, until no way gets shorter. Each is held against its own ways when nothing
changes any more. Times are CPU seconds, compilation not counted.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy import ndimage

from voxhint.core import Grid
from voxhint.propagate.edge_cost import cost_of_ways
from voxhint.propagate.geodesic import nearest_mark

SEEDS = 20
ROUNDS = (2, 4)
MOST = 64  # rounds after which FastGeodis is held to have ended
OFF = 0.01  # of a way


def timed(measure: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    began = time.process_time()
    return measure(), time.process_time() - began


def fast(image: np.ndarray, seeds: np.ndarray, rounds: int) -> np.ndarray:
    import FastGeodis

    # the seeds' mask is 0 where ways start
    tensors = [torch.from_numpy(a.astype(np.float32))[None, None] for a in (image, ~seeds)]
    far = FastGeodis.generalised_geodesic3d(*tensors, [1.0] * 3, 1e10, 1.0, rounds)
    return np.asarray(far.numpy()[0, 0])


def settled(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Return what FastGeodis says when more rounds change nothing."""
    rounds, now, before = 4, fast(image, seeds, 4), fast(image, seeds, 2)
    while rounds < MOST and not np.allclose(now, before, rtol=1e-4):
        rounds, before = 2 * rounds, now
        now = fast(image, seeds, rounds)
    return now


def looser(away: np.ndarray, cost: np.ndarray) -> float:
    """Return the share of ways that a step from one of 26 neighbours makes shorter by 1 %."""
    best, padded, costs = away.copy(), np.pad(away, 1, mode="edge"), np.pad(cost, 1, mode="edge")
    for step in itertools.product((-1, 0, 1), repeat=3):
        part = tuple(slice(1 + d, 1 + d + n) for d, n in zip(step, away.shape, strict=True))
        way = padded[part] + np.linalg.norm(step) / 2 * (costs[part] + cost)
        best = np.minimum(best, way)
    return float((away > (1 + OFF) * best).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--accuracy", action="store_true", help="ways off by 1 %% (small sizes)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng, size = np.random.default_rng(0), args.size
    noise = rng.normal(size=(size,) * 3).astype(np.float32)
    image = ndimage.gaussian_filter(noise, 2)
    image /= image.std()
    marks = np.zeros(image.shape, np.int32)
    marks[tuple(rng.integers(0, size, (3, SEEDS)))] = np.arange(1, SEEDS + 1)
    cost = cost_of_ways(np.abs(image) / np.median(np.abs(image)), 2.0)
    end = settled(image, marks > 0) if args.accuracy else None
    print("| by | rounds | CPU s | ways off by 1 % |\n|---|---|---|---|")
    for rounds in ROUNDS:
        found, seconds = timed(partial(fast, image, marks > 0, rounds))
        off = "" if end is None else f"{(found > (1 + OFF) * end).mean():.1%}"
        print(f"| FastGeodis | {rounds} | {seconds:.2f} | {off} |", flush=True)
    part = (slice(0, 16),) * 3
    nearest_mark(marks[part].copy(), cost[part].copy(), Grid((16, 16, 16), np.eye(4)))
    grid = Grid((size, size, size), np.eye(4))
    found, seconds = timed(lambda: nearest_mark(marks, cost, grid)[0])
    off = f"{looser(found, cost):.1%}" if args.accuracy else ""
    print(f"| voxhint | to the end | {seconds:.2f} | {off} |")


if __name__ == "__main__":
    main()
