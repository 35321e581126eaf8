"""From a study folder to masks and a report."""

import voxhint as vh

page = vh.run("study", "run", machine=vh.Machine(seed=0))
print(page)
