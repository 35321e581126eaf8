"""The unit goes by the name of a channel, and what speaks against it is told."""

from pathlib import Path

import numpy as np
import pytest
from tests.files.series import Series

from voxhint.core import Grid, Volume
from voxhint.files.channel_units import unit_of
from voxhint.files.images import read_volume, write_image

CHEST = np.where(np.arange(1000).reshape(10, 10, 10) % 3, -1000.0, 40.0).astype(np.float32)
SHIFTED, SCALED = CHEST + 1024, (CHEST + 1000) / 1040


def told(folder: Path, voxels: np.ndarray, channel: str) -> str:
    write_image(folder / "a.nii.gz", Volume(voxels, Grid(voxels.shape, np.eye(4))))
    return " ".join(read_volume(folder / "a.nii.gz", channel=channel).notes)


@pytest.mark.parametrize("name", ["CT", "chest ct", "LDCT", "ct_venous"])
def test_names_of_ct_are_known(name: str) -> None:
    assert unit_of(name) == "HU"


@pytest.mark.parametrize("name", ["T1", "SPECT", "picture", "structure", ""])
def test_other_names_are_not_taken_for_ct(name: str) -> None:
    assert unit_of(name) == "a.u."


def test_values_that_are_not_in_hu_are_told_under_ct(tmp_path: Path) -> None:
    assert not told(tmp_path, CHEST, "CT")
    for voxels in (SHIFTED, SCALED, SCALED - 0.5):
        assert "are read in HU, as the channel is called 'CT'" in told(tmp_path, voxels, "CT")
        assert not told(tmp_path, voxels, "T1")


def test_values_in_hu_are_told_under_another_name(tmp_path: Path) -> None:
    assert "if it is CT, say so in its name" in told(tmp_path, CHEST, "image")
    phase = np.linspace(-4096, 4095, 1000).reshape(10, 10, 10).astype(np.float32)
    assert not told(tmp_path, phase, "phase")


@pytest.mark.parametrize(
    ("common", "channel", "words"),
    [
        ({"RescaleType": "HU"}, "CT", ""),
        ({}, "CT", ""),
        ({}, "image", "headers say CT"),
        ({"RescaleType": "Z_EFF"}, "CT", "values are Z_EFF"),
        ({"RescaleType": "Z_EFF"}, "Z", "look like HU"),
        ({"Modality": "MR"}, "CT", "headers say MR"),
    ],
)
def test_headers_that_say_otherwise_are_told(
    tmp_path: Path, common: dict[str, str], channel: str, words: str
) -> None:
    Series(common=common).write(tmp_path)
    notes = " ".join(read_volume(tmp_path, channel=channel).notes)
    assert words in notes
    assert bool(words) == bool(notes)
