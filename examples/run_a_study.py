"""From a study folder to masks, in five lines."""

from pathlib import Path

from voxhint.config import Machine, Recipe, TrainConfig
from voxhint.verbs.run import run

recipe = Recipe(train=TrainConfig(steps=400))
page = run(Path("study"), Path("run"), recipe=recipe, machine=Machine(seed=0))
print(page)
