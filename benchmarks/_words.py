"""The words of a benchmark that hands some of them on to `voxhint run`."""

import argparse
import sys


def read_words(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what a command says; the words after a lone `--` are those of `voxhint run`, `run`."""
    words, _, rest = "\0".join(sys.argv[1:]).partition("\0--\0")
    args = parser.parse_args(words.split("\0"))
    args.run = rest.split("\0") if rest else []
    return args
