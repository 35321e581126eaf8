"""`voxhint demo`: the main job on a phantom, in minutes on a laptop."""

from dataclasses import replace
from pathlib import Path

from voxhint.config import Machine, Recipe, TrainConfig
from voxhint.verbs.folders import MADE
from voxhint.verbs.phantom_study import write_phantom_study
from voxhint.verbs.run import run
from voxhint.verbs.tell import Tell, silent

DEMO = Recipe(
    train=TrainConfig(width=8, steps=1200, patch_voxels=32_000, learning_rate=4e-3, dice_weight=1.0)
)
"""Small patches and a narrow network: two cores, four minutes. A study keeps the defaults."""


def demo(out: Path, *, machine: Machine, tell: Tell = silent) -> Path:
    """Make a phantom study of points and scribbles, and run the main job on it.

    Args:
        out: Holds `study` and `run` afterwards.
        machine: Device, threads, seed.
        tell: Hears of progress.

    Returns:
        The absolute path of the report page.
    """
    study = out / "study"
    if not (study / MADE).exists():
        tell("make phantoms", 0, 1, "")
        write_phantom_study(study, cases=12, test_cases=4, seed=machine.seed)
    return run(study, out / "run", recipe=DEMO, machine=replace(machine, skip_bad=False), tell=tell)
