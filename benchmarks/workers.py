"""How much sooner `label` and `predict` of 8 cases end with two workers than with one.

usage: workers.py OUT --size 128

Made-up cases of as many voxels along each axis are labelled, and predicted by an untrained network,
in one thread each. The wall clock means something on an idle machine alone. Beside it stands what
it comes to at most: the CPU time of one process, over that of the first process and half that of
its two workers, as if both cores were free and the cases shared evenly.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from many_cases import make_study
from whole_scan_prediction import make_model

from voxhint.files.images import read_volume

CASES = 8
PROGRAM = """
import resource
from voxhint.cli import main
if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        print(used.ru_utime + used.ru_stime)
"""


def spent(program: Path, *words: object) -> tuple[float, float, float]:
    """Return CPU seconds of a command and of its workers, and seconds of wall clock."""
    began = time.monotonic()
    how = ("--threads", 1, "--device", "cpu", "--precision", "float32")
    command = [sys.executable, str(program), *map(str, (*words, *how))]
    told = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
    own, others = map(float, told.split()[-2:])
    return own, others, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=16)
    args = parser.parse_args()
    study, model = args.out / "study", args.out / "model"
    make_study(study, 2 * CASES, args.size)
    image = read_volume(next((study / "imagesTs").iterdir()), channel="CT")
    make_model(image, model, 1, args.width)
    program = args.out / "timed.py"
    program.write_text(PROGRAM)
    print("| verb | workers | CPU s | of the workers | s of wall clock | sooner | by CPU |")
    print("|---|---|---|---|---|---|---|")
    for verb, given in (("label", (study,)), ("predict", (model, study / "imagesTs"))):
        alone = wall_alone = 0.0
        for count in (1, 2):
            out = args.out / f"{verb}{count}"
            own, others, wall = spent(program, verb, *given, "--out", out, "--workers", count)
            row = f"| {verb} | {count} | {own:.0f} | {others:.0f} | {wall:.0f} |"
            if count == 1:
                alone, wall_alone = own, wall
                print(f"{row} | |", flush=True)
            else:
                by_cpu = alone / (own + others / 2)
                print(f"{row} {wall_alone / wall:.2f} | {by_cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
