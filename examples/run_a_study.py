"""From a study folder to masks, in five lines."""

from pathlib import Path

from voxhint.config import Machine, Recipe
from voxhint.verbs.run import run

page = run(Path("study"), Path("run"), recipe=Recipe(), machine=Machine(seed=0))
print(page)
