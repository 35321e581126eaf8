"""What a prediction says of its images before it begins."""

from pathlib import Path

from tests.files.series import Series

from voxhint.verbs.predict import warnings_of


def test_a_prediction_tells_on_which_grid_its_masks_lie(tmp_path: Path) -> None:
    tilted, plain = Series(aside=0.3).write(tmp_path / "a_0000"), tmp_path / "b_0000.nii.gz"
    (warning,) = warnings_of({"a": {"CT": tilted}, "b": {"CT": plain}})
    assert warning.startswith("a_0000: slices are sheared")
    assert "masks and results lie" in warning
