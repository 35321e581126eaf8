"""The command line: parse words, call one verb, print, and give the exit code."""

from voxhint.cli.main import main

__all__ = ["main"]
