"""How much sooner `label` and `predict` of 8 cases end with two workers than with one.

usage: workers.py OUT --size 128

Made-up cases of as many voxels along each axis are labelled, and predicted by an untrained network,
in one thread each. The wall clock means something on an idle machine alone. Beside it stands what
it comes to with both cores free: the CPU time of one process, over that of the first process and
half that of its two workers and of the one that loads modules for them. For Linux.
"""

import argparse
import ctypes
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from many_cases import make_study
from whole_scan_prediction import make_model

from voxhint.files.images import read_volume

CASES = 8
ADOPT = 36  # PR_SET_CHILD_SUBREAPER: what loads modules for the workers outlives the first process


def spent(*words: object) -> tuple[float, float, float]:
    """Return CPU seconds of a command and of its workers, and seconds of wall clock."""
    began = time.monotonic()
    how = ("--threads", 1, "--device", "cpu", "--precision", "float32")
    command = [sys.executable, "-m", "voxhint", *map(str, (*words, *how))]
    _, status, used = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, command), 0)
    if status:
        sys.exit(f"{command} ended with {status}")
    wall, others = time.monotonic() - began, 0.0
    with suppress(ChildProcessError):
        while True:
            *_, also = os.wait4(-1, 0)
            others += also.ru_utime + also.ru_stime
    return used.ru_utime + used.ru_stime, others, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--verbs", nargs="+", default=["label", "predict"])
    args = parser.parse_args()
    study, model = args.out / "study", args.out / "model"
    make_study(study, 2 * CASES, args.size)
    image = read_volume(next((study / "imagesTs").iterdir()), channel="CT")
    make_model(image, model, 1, args.width)
    ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    print("| verb | workers | CPU s | of the workers | s of wall clock | sooner | by CPU |")
    print("|---|---|---|---|---|---|---|")
    given = {"label": (study,), "predict": (model, study / "imagesTs")}
    for verb in args.verbs:
        alone = wall_alone = 0.0
        for count in (1, 2):
            out = args.out / f"{verb}{count}"
            own, others, wall = spent(verb, *given[verb], "--out", out, "--workers", count)
            row = f"| {verb} | {count} | {own:.0f} | {others:.0f} | {wall:.0f} |"
            if count == 1:
                alone, wall_alone = own, wall
                print(f"{row} | |", flush=True)
            else:
                by_cpu = alone / (own + others / 2)
                print(f"{row} {wall_alone / wall:.2f} | {by_cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
