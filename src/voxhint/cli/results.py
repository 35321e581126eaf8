"""The commands that tell of what is there: scores, a page, the next hints, facts."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from voxhint.cli.options import Existing, ExistingOption, Place
from voxhint.config import MeasureConfig
from voxhint.core.progress import Tell
from voxhint.core.workers import cluster

_Lines = Iterator[str]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Score masks against truth, with intervals over subjects."""

    masks: Existing
    """A folder of CASE.nii.gz."""

    truth: Existing
    """A folder of CASE.nii.gz drawn by people, such as `labelsTs`."""

    out: Path | None = None
    """Where the scores go as JSON."""

    compare: ExistingOption | None = None
    """Other masks of the same cases, for a paired test."""

    probabilities: ExistingOption | None = None
    """A folder of CASE__LABEL.nii.gz: also measure their calibration, and FROC of lesions."""

    seed: int = 0
    """Seed of the resampling."""

    workers: int = 1
    """Processes that score cases at the same time."""

    cluster: str | None = None
    """Address of a Ray cluster whose machines score cases instead."""

    overwrite: bool = False
    """Replace scores that are there already."""

    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def run(self, tell: Tell, /) -> _Lines:
        """Yield a line for each label."""
        from voxhint.verbs.measure import (
            measure,
            read_truth,
            require_free,
            summary_lines,
            write_scores,
        )

        if self.out is not None:
            require_free(self.out, overwrite=self.overwrite)
        truth = read_truth(self.truth)
        yield from (f"warning: {odd}" for odd in truth.problems if odd.severity == "warning")
        with cluster(self.cluster):
            table = measure(
                self.masks,
                truth,
                config=self.measure,
                compare_with=self.compare,
                probabilities=self.probabilities,
                seed=self.seed,
                workers=self.workers,
                tell=tell,
            )
        if self.probabilities is not None:
            from voxhint.verbs.calibration import measure_trust

            trust = measure_trust(self.probabilities, truth, seed=self.seed, tell=tell)
            table = dataclasses.replace(table, trust=trust)
        if self.out is not None:
            write_scores(table, self.out, overwrite=self.overwrite)
        yield from summary_lines(table)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one static page about a run: numbers and pictures."""

    folder: Annotated[Path, Place("RUN")]
    """What `voxhint run` wrote."""

    def run(self, tell: Tell, /) -> _Lines:
        """Yield the path of the page."""
        from voxhint.verbs.report import report

        yield str(report(self.folder, tell=tell))


@dataclass(frozen=True, kw_only=True)
class Next:
    """Say where one more click would tell most: a table of places, the best first."""

    study: Existing
    """The study folder."""

    folder: Annotated[Path, Place("RUN")]
    """What `voxhint run` or `voxhint label` made of it."""

    out: Path
    """Where the table goes as CSV."""

    undrawn: int | None = None
    """Value of drawn maps that means "not drawn"; else dataset.json says it, or it is 255."""

    overwrite: bool = False
    """Replace a table that is there already."""

    def run(self, tell: Tell, /) -> _Lines:
        """Yield the first row in words, then the path of the table."""
        from voxhint.verbs.next import rank_next_hints

        first = rank_next_hints(
            self.study,
            self.folder,
            self.out,
            undrawn=self.undrawn,
            overwrite=self.overwrite,
            tell=tell,
        )[0]
        place = ", ".join(f"{value:.1f}" for value in first.position_mm)
        yield (
            f"first: case '{first.case}', label '{first.label}', at ({place}) mm; "
            f"about {first.expected_gain:.2f} Dice to gain"
        )
        yield str(self.out)


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a study, a model or a run is of: version, channels, labels."""

    folder: Annotated[Path, Place("FOLDER")]
    """A study, a model folder, a file of `export --to folder`, or a run."""

    json: bool = False
    """Print JSON, for other programs."""

    def run(self, _tell: Tell, /) -> _Lines:
        """Yield a line for each fact, or all of them as JSON."""
        from voxhint.verbs.info import info

        facts = info(self.folder)
        told = (f"{name}: {_words(value)}" for name, value in facts.items())
        yield from [json.dumps(facts, ensure_ascii=False)] if self.json else told


def _words(value: object) -> str:
    """Return a value of JSON for people to read."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
