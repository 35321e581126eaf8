"""A mask that travels alone says what its ids are."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import SimpleITK
from tests.phantoms import ball, slanted_grid

from voxhint.core import LabelSet
from voxhint.files.images import read_ids, write_ids

NAMES = LabelSet(("background", 'a <b> & "c"', "ö]]>x"), (0, 3, 7))
GRID = slanted_grid()


def test_names_lie_in_the_header_and_change_nothing_else(tmp_path: Path) -> None:
    ids = 7 * ball(GRID)
    write_ids(tmp_path / "named.nii.gz", ids, GRID, NAMES)
    image: Any = nib.load(tmp_path / "named.nii.gz")
    (extension,) = image.header.extensions
    assert extension.get_code() == 0
    table = ElementTree.fromstring(extension.get_content())
    told = {int(row.attrib["Key"]): row.text for row in table.iter("Label")}
    assert told == dict(zip(NAMES.ids[1:], NAMES.names[1:], strict=True))
    read, grid = read_ids(tmp_path / "named.nii.gz")
    np.testing.assert_array_equal(read, ids)
    assert grid.same(GRID)
    itk: Any = SimpleITK
    other = itk.GetArrayFromImage(itk.ReadImage(str(tmp_path / "named.nii.gz")))
    np.testing.assert_array_equal(other.transpose(2, 1, 0), ids)


def test_the_same_names_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_ids(tmp_path / f"{name}.nii.gz", ball(GRID), GRID, NAMES)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
