"""Names, ids in files and class numbers: each way undoes the other."""

import numpy as np
import pytest

from voxhint.core import UNDRAWN, LabelSet
from voxhint.core.errors import BadFileError, BadHintError

LABELS = LabelSet(("background", "liver", "spleen"), (0, 7, 3), ignore=9)


def test_class_numbers_and_file_ids_undo_each_other() -> None:
    classes = np.array([0, 1, 2, UNDRAWN, 2, 0], np.uint8).reshape(1, 2, 3)
    ids = np.array([0, 7, 3, UNDRAWN, 3, 0], np.uint8).reshape(1, 2, 3)
    assert np.array_equal(LABELS.to_ids(classes), ids)
    assert np.array_equal(LABELS.to_classes(ids), classes)
    assert np.array_equal(LABELS.to_classes(ids.astype(np.int64)), classes)


def test_the_ignore_id_says_that_nothing_was_drawn() -> None:
    assert LABELS.to_classes(np.full((1, 1, 2), 9)).tolist() == [[[UNDRAWN, UNDRAWN]]]


@pytest.mark.parametrize("strange", [-1, 1, 8, 256, 263])
def test_an_id_that_the_study_does_not_know_is_refused(strange: int) -> None:
    ids = np.array([0, 7, strange]).reshape(1, 1, 3)
    with pytest.raises(BadFileError, match=rf"\[{strange}\].*use 0, 7, 3, or 255"):
        LABELS.to_classes(ids)


def test_the_ignore_id_of_another_study_is_refused() -> None:
    with pytest.raises(BadFileError, match=r"\[9\]"):
        LabelSet(("background", "liver"), (0, 7)).to_classes(np.full((1, 1, 1), 9))


def test_a_class_number_is_the_position_of_its_name() -> None:
    assert [LABELS.number(name) for name in LABELS.names] == [0, 1, 2]
    assert LABELS.foreground == ("liver", "spleen")


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(BadHintError, match=r"'livr'.*background, liver, spleen"):
        LABELS.number("livr")
