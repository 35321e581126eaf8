"""Change things at random, in ways of known meaning and in ways of none, and judge what follows.

A round changes one file of a world that holds one of everything, runs one command on it, and holds
the outcome against that of the world as it was. What a round does follows from the seed and its
number alone, so that `--seed S --only N` does it again.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tests.fuzz.damage import mutate, sample
from tests.fuzz.judge import finding
from tests.fuzz.table import Row, rows
from tests.fuzz.world import Outcome, build, commands, play

_DAMAGE = 0.25  # share of rounds that damage any file at random
_CHUNK = 20  # rounds that one process does at a time
_SLOW = ("report", "go on", "resume")  # these draw pictures
PAIRS = tuple((row, command) for row in rows() for command in row.commands)
_WEIGHTS = np.array([0.2 if command in _SLOW else 1.0 for _, command in PAIRS])
_OFTEN = _WEIGHTS / _WEIGHTS.sum()


class World:
    """A world, put back as it was before each round."""

    def __init__(self, folder: Path, study: Path | None = None) -> None:
        self.root, self._base = folder / "world", folder / "base"
        self._study = study
        self._known: dict[str, Outcome] = {}
        self.root.mkdir()
        if study is None:
            build(self.root)
        else:
            sample(study, self.root / "study")
        self.root.rename(self._base)

    def fresh(self) -> None:
        """Put everything back."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._base, self.root)

    def known(self, command: str) -> Outcome:
        """Return how a command ends when nothing is changed."""
        if command not in self._known:
            self.fresh()
            self._known[command] = play(self.root, command)
        return self._known[command]

    def round(self, seed: int, number: int) -> str:
        """Do one round; return what was wrong, nothing if all was well."""
        chance = np.random.default_rng([seed, abs(number), number < 0])
        if number < 0:  # one of the table, in order
            row, command = PAIRS[-1 - number]
            return self._change(row, command, chance)
        if self._study is not None or chance.random() < _DAMAGE:
            return self._damage(chance)
        row, command = PAIRS[int(chance.choice(len(PAIRS), p=_OFTEN))]
        return self._change(row, command, chance)

    def _change(self, row: Row, command: str, chance: np.random.Generator) -> str:
        known = self.known(command)
        self.fresh()
        files = sorted(path for path in self.root.glob(row.files) if path.is_file())
        path = files[int(chance.integers(len(files)))]
        how = row.change(path, chance)
        what = f"{row.what} ({path.relative_to(self.root)}{f', {how}' if how else ''})"
        said = finding(
            row.meaning,
            known,
            play(self.root, command),
            may_refuse=command in row.refusing,
        )
        return f"{command}: {what}, which is {row.meaning}\n{said}" if said else ""

    def _damage(self, chance: np.random.Generator) -> str:
        names = [*commands(self.root)] if self._study is None else ["check"]
        often = np.array([0.2 if name in _SLOW else 1.0 for name in names])
        command = names[int(chance.choice(len(names), p=often / often.sum()))]
        self.fresh()
        told = "; ".join(mutate(self._part(command), chance) for _ in range(chance.integers(1, 3)))
        said = finding("unknowable", None, play(self.root, command))
        return f"{command}: {told}\n{said}" if said else ""

    def _part(self, command: str) -> Path:
        """Return the folder that is damaged: all of a command's input lies in it."""
        special = {"import msd": "msd", "import dicom": "dicom", "go on": "part"}
        if self._study is not None or command in ("check", "label"):
            return self.root / "study"
        return self.root / special.get(command, "run")


_here: dict[str, World] = {}


def _rounds(seed: int, numbers: range, study: Path | None) -> list[tuple[int, str]]:
    """Do some rounds in a process that keeps its world."""
    if "world" not in _here:
        _here["world"] = World(Path(tempfile.mkdtemp(prefix="fuzz-")), study)
    return [(number, _round(_here["world"], seed, number)) for number in numbers]


def _round(world: World, seed: int, number: int) -> str:
    """Do one round; a mistake of the fuzzer is a finding too, and ends no other round."""
    try:
        return world.round(seed, number)
    except Exception:  # noqa: BLE001
        return f"the fuzzer itself:\n{traceback.format_exc()}"


def _all(words: argparse.Namespace, folder: str) -> Iterator[tuple[int, str]]:
    tempfile.tempdir = folder
    if words.only is not None:
        yield from _rounds(words.seed, range(words.only, words.only + 1), words.study)
        return
    end = time.monotonic() + words.seconds
    context = get_context("fork")
    numbers = range(-len(PAIRS), 0) if words.each else range(words.rounds)
    chunks = [numbers[n : n + _CHUNK] for n in range(0, len(numbers), _CHUNK)]
    with ProcessPoolExecutor(words.workers, mp_context=context) as pool:
        for done in [pool.submit(_rounds, words.seed, one, words.study) for one in chunks]:
            if time.monotonic() > end:
                pool.shutdown(cancel_futures=True)
                break
            yield from done.result()


def main() -> int:
    """Play rounds until enough are played or the time is up; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", type=Path, help="only damage this study, for `check`")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--each", action="store_true", help="each row and command once")
    parser.add_argument("--only", type=int, help="the one round to do again")
    words = parser.parse_args()
    found = count = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, said in _all(words, folder):
            count += 1
            if said:
                found += 1
                sys.stdout.write(f"--seed {words.seed} --only {number}: {said}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{count} rounds, {found} findings\n")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
