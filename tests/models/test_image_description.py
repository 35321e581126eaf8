"""Channels of images go by the names that dataset.json gives them, not by their numbers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.phantoms import LABELS, make_study
from tests.training.scenes import plan

from voxhint.core import LabelSet
from voxhint.core.errors import BadFileError
from voxhint.models.image_description import cases_for, clashes

PLAN = replace(plan(), channels=("T1", "T2"), labels=LABELS)


def images_of(folder: Path, *channels: str, **changes: object) -> Path:
    """Return a folder of test images beside a dataset.json that names these channels."""
    study = make_study(folder, cases=1, channels=channels)
    path = study / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return study / "imagesTs"


def test_images_named_as_the_model_names_them_are_read_without_a_word(tmp_path: Path) -> None:
    images = images_of(tmp_path / "s", "T1", "T2")
    cases, warnings, _ = cases_for(images, PLAN)
    assert not warnings
    assert cases == {"t0": {"T1": images / "t0_0000.nii.gz", "T2": images / "t0_0001.nii.gz"}}
    (images.parent / "dataset.json").unlink()
    assert cases_for(images, PLAN) == (cases, (), ())


@pytest.mark.parametrize("inside", [False, True])
def test_channels_in_another_order_are_read_by_name_and_told(tmp_path: Path, inside: bool) -> None:
    images = images_of(tmp_path / "s", "T2", "T1")
    if inside:
        (images.parent / "dataset.json").rename(images / "dataset.json")
    cases, (warning,), _ = cases_for(images, PLAN)
    assert cases["t0"] == {"T1": images / "t0_0001.nii.gz", "T2": images / "t0_0000.nii.gz"}
    assert list(cases["t0"]) == ["T1", "T2"]
    assert "T2, T1" in warning
    assert "by their names" in warning


def test_channels_that_the_model_does_not_know_are_left_out_and_told(tmp_path: Path) -> None:
    images = images_of(tmp_path / "s", "T1", "FLAIR", "T2")
    cases, warnings, _ = cases_for(images, PLAN)
    assert cases["t0"] == {"T1": images / "t0_0000.nii.gz", "T2": images / "t0_0002.nii.gz"}
    assert any("FLAIR" in warning for warning in warnings)


@pytest.mark.parametrize("channels", [("T1",), ("CT", "PET"), ("T1", "FLAIR")])
def test_other_channels_are_refused(tmp_path: Path, channels: tuple[str, ...]) -> None:
    images = images_of(tmp_path / "s", *channels)
    with pytest.raises(BadFileError, match=f"names channels {', '.join(channels)}, the model"):
        cases_for(images, PLAN)


def test_a_channel_that_cases_may_lack_may_lack_altogether(tmp_path: Path) -> None:
    images = images_of(tmp_path / "s", "T1")
    cases, _, _ = cases_for(images, replace(PLAN, optional_channels=("T2",)))
    assert list(cases["t0"]) == ["T1"]


def test_labels_that_mean_something_else_are_told(tmp_path: Path) -> None:
    images = images_of(tmp_path / "s", "T1", "T2", labels={"background": 0, "bone": 3, "ball": 4})
    _, (warning,), _ = cases_for(images, PLAN)
    assert "3 is ball, there bone" in warning


def test_a_description_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    images = images_of(tmp_path / "s", "T1", "T2", labels=3)
    cases, (warning,), _ = cases_for(images, PLAN)
    assert list(cases["t0"]) == ["T1", "T2"]
    assert "taken by their numbers" in warning


def test_sets_of_labels_clash_where_an_id_or_a_name_means_two_things() -> None:
    ours = LabelSet(("background", "liver", "spleen"), (0, 1, 2))
    assert not clashes(ours, ours)
    assert not clashes(ours, LabelSet(("background", "kidney"), (0, 7)))
    swapped = LabelSet(("background", "spleen", "liver"), (0, 1, 2))
    assert clashes(ours, swapped) == ["1 is liver, there spleen", "2 is spleen, there liver"]
    moved = LabelSet(("background", "liver"), (0, 5))
    assert clashes(ours, moved) == ["1 is liver, there liver is 5"]
