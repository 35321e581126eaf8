"""`voxhint demo`: the main job on two phantoms, in minutes on a laptop."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from voxhint.config import LabelConfig, Machine, Recipe, TrainConfig
from voxhint.config.tags import ClassifierConfig, TagConfig
from voxhint.core.progress import Tell, silent
from voxhint.runs import MADE
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.run import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """One phantom study and the recipe for it."""

    name: str
    kind: Literal["organs", "lung"]
    cases: int
    test_cases: int
    recipe: Recipe


# small patches, narrow networks, few steps: both pages in minutes on two cores of any age. A study
# keeps the defaults.
SHOWS = (
    Show(
        name="points-and-scribbles",
        kind="organs",
        cases=12,
        test_cases=4,
        recipe=Recipe(
            label=LabelConfig(cross_case=False),  # takes longer than all the rest
            train=TrainConfig(
                width=8, steps=350, patch_voxels=24_000, learning_rate=4e-3, dice_weight=1.0
            ),
        ),
    ),
    Show(
        name="tags",
        kind="lung",
        cases=72,
        test_cases=12,
        recipe=Recipe(
            label=LabelConfig(
                classifier=ClassifierConfig(steps=100), tags=TagConfig(weights="none")
            ),  # shows that tags suffice
            train=TrainConfig(width=8, steps=160, learning_rate=4e-3, dice_weight=1.0),
        ),
    ),
)
"""Abdomens with clicks and scribbles, whose page comes first; then lung windows with tags alone."""


def demo(out: Path, *, machine: Machine, tell: Tell = silent) -> Iterator[Path]:
    """Make the phantom studies, and run the main job on each.

    Args:
        out: Holds a folder for each show with `study` and `run` in it afterwards.
        machine: Device, threads (one if they are not told), seed.
        tell: Hears of progress.

    Yields:
        The absolute path of each report page.
    """
    # small networks gain little from a second thread, and wait for it long where cores are shared
    machine = replace(machine, threads=machine.threads or 1)
    for show in SHOWS:
        study = out / show.name / "study"
        if not (study / MADE).exists():
            tell(f"make phantoms for {show.name}", 0, 1, "")
            write_phantom_study(
                study,
                kind=show.kind,
                cases=show.cases,
                test_cases=show.test_cases,
                seed=machine.seed,
            )
        run_folder = out / show.name / "run"
        yield run(study, run_folder, recipe=show.recipe, machine=machine, tell=tell)
