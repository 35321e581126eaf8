"""Images alone become a session: open, click, mask."""

from pathlib import Path

import pytest
from tests.phantoms import scan, slanted_grid
from tests.serve.desks import MIDDLE, client_of, edited

from voxhint.core.errors import BadStudyError, OutputError
from voxhint.files.images import write_image
from voxhint.files.validate.study import survey
from voxhint.verbs.serve import open_for_review, open_session
from voxhint.verbs.session_images import study_of_images


def test_images_alone_become_a_session_that_is_a_study(tmp_path: Path) -> None:
    for name in ("one", "two_0000"):
        write_image(tmp_path / "images" / f"{name}.nii.gz", scan(slanted_grid(), 0))
    out = tmp_path / "session"
    study = study_of_images(tmp_path / "images", ["liver"], "CT", out)
    assert study_of_images(tmp_path / "images", ["liver"], "CT", out) == study  # goes on
    session = open_session(open_for_review(study), out)
    with client_of(session) as client:
        click = {"kind": "point", "label": "liver", "at": MIDDLE}
        edited(client, "two", 0, add=[click])
    seen = survey(out)
    assert not seen.errors
    assert seen.study is not None
    assert [files.name for files in seen.study.training] == ["one", "two"]
    with pytest.raises(OutputError, match="other labels"):
        study_of_images(tmp_path / "images", ["spleen"], "CT", out)


@pytest.mark.parametrize("labels", [["a__b"], ["background"], ["x", "X"]])
def test_labels_that_cannot_be_are_refused(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(BadStudyError):
        study_of_images(tmp_path, labels, "CT", tmp_path / "out")


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadStudyError, match="holds no image"):
        study_of_images(tmp_path / "none", ["liver"], "CT", tmp_path / "out")
