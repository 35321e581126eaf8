"""How long help takes to appear, in units of starting Python and doing nothing.

usage: startup.py [TIMES]

A ratio says the same on a fast machine and on a slow one. The median is taken, after one start
that warms the disk's cache. Help must stay below half a second on a laptop, which it does as long
as no command's module is loaded before it is asked for.
"""

import statistics
import subprocess
import sys
import time

MAIN = "from voxhint.cli import main; main()"
STARTS = {
    "python -c pass": ["pass"],
    "voxhint --help": [MAIN, "--help"],
    "voxhint run --help": [MAIN, "run", "--help"],
    "voxhint --version": [MAIN, "--version"],
}


def seconds(words: list[str], times: int) -> float:
    """Return the median time of starting Python with a line of code and waiting for its end."""
    spent = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", *words], check=True, stdout=subprocess.DEVNULL)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])


def main() -> None:
    """Print a table."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    measured = {name: seconds(words, times) for name, words in STARTS.items()}
    nothing = measured["python -c pass"]
    print("| start | seconds | times an empty one |\n|---|---|---|")
    for name, spent in measured.items():
        print(f"| `{name}` | {spent:.3f} | {spent / nothing:.1f} |")


if __name__ == "__main__":
    main()
