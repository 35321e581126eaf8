import json
from pathlib import Path

import pytest
from tests.stories.commands import voxhint


@pytest.mark.slow
def test_the_demo_finds_the_organs_from_clicks_and_scribbles(tmp_path: Path) -> None:
    done = voxhint("demo", "--out", tmp_path / "demo", seconds=1500)
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.splitlines()[-1])
    assert page.is_absolute()
    assert page.read_text().count("data:image/png") >= 6
    scores = json.loads((page.parent / "scores.json").read_text())
    assert scores["overall"]["dice"]["mean"] > 0.6
