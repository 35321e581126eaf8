import json
from pathlib import Path

import pytest
from tests.stories.commands import apart


@pytest.mark.slow
def test_the_demo_finds_nodules_from_tags_and_organs_from_clicks(tmp_path: Path) -> None:
    done = apart("demo", "--out", tmp_path / "demo", seconds=1500)
    assert done.returncode == 0, done.stderr
    pages = [Path(line) for line in done.stdout.splitlines()]
    found = {}
    for page in pages:
        assert page.is_absolute()
        assert page.read_text().count("data:image/webp") >= 6
        scores = json.loads((page.parent / "scores.json").read_text())
        found[page.parent.parent.name] = scores["overall"]["dice"]["mean"]
    assert found["tags"] > 0.3
    assert found["points-and-scribbles"] > 0.6
