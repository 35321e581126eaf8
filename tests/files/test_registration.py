"""A body that moved between two scans is found where it went, and brought back."""

from dataclasses import replace

import numpy as np
import pytest

from voxhint.core import Grid, Turn, Volume
from voxhint.core.errors import BadRecipeError
from voxhint.files.registration import offset, registered
from voxhint.simulate.neck_phantom import tumour_case


def scans(shift_mm: tuple[float, float, float]) -> tuple[Volume, Volume]:
    images = tumour_case(np.random.default_rng(0), name="neck", shift_mm=shift_mm).images
    return images["CT"], images["MR"]


@pytest.mark.parametrize("shift_mm", [(6.0, 0.0, 0.0), (-3.0, 4.0, 0.0)])
def test_a_known_shift_is_told_in_millimetres(shift_mm: tuple[float, float, float]) -> None:
    found = offset(*scans(shift_mm))
    assert found.residual_mm == pytest.approx(np.linalg.norm(shift_mm), abs=0.5)
    assert found.gain > 0.2


def test_channels_that_lie_right_are_left_in_peace() -> None:
    ct, mr = scans((0.0, 0.0, 0.0))
    found = offset(ct, mr)
    assert found.residual_mm < ct.grid.spacing_mm.min()  # less than any voxel's side
    assert 0 <= found.gain < 0.03


def test_how_a_scan_is_stored_makes_no_difference() -> None:
    ct, mr = scans((6.0, 0.0, 0.0))
    turn = Turn((1, 2, 0), (True, False, True))
    other = Volume(turn.apply(mr.voxels), mr.grid.turned(turn), mr.unit)
    assert offset(ct, other).residual_mm == pytest.approx(6, abs=0.5)


def test_a_registered_channel_lies_on_the_first_ones_grid_and_body() -> None:
    ct, mr = scans((6.0, 0.0, 0.0))
    _, still = scans((0.0, 0.0, 0.0))
    moved = registered(ct, mr, "rigid")
    assert moved.grid.same(ct.grid)
    assert moved.unit == mr.unit
    body = np.s_[8:40, 8:40, 2:14]
    before, after = (
        np.corrcoef(v.voxels[body].ravel(), still.voxels[body].ravel())[0, 1] for v in (mr, moved)
    )
    assert after > 0.9 > before


def test_a_bend_that_no_rigid_motion_mends_is_mended_by_a_deformation() -> None:
    whole, _ = scans((0.0, 0.0, 0.0))
    grid = Grid((48, 48, 8), whole.grid.affine)
    ct = replace(whole, voxels=np.ascontiguousarray(whole.voxels[:, :, 4:12]), grid=grid)
    i = np.indices(ct.grid.shape)[0]
    stretched = np.clip(np.round(24 + (i - 24) * 0.85), 0, 47).astype(int)
    bent = replace(ct, voxels=np.take_along_axis(ct.voxels, stretched, 0))

    def likeness(image: Volume) -> float:
        return float(np.corrcoef(image.voxels.ravel(), ct.voxels.ravel())[0, 1])

    rigid, deformed = (likeness(registered(ct, bent, how)) for how in ("rigid", "deformable"))
    assert deformed > rigid + 0.02


def test_an_unknown_way_is_refused() -> None:
    ct, mr = scans((0.0, 0.0, 0.0))
    with pytest.raises(BadRecipeError, match="'magic' is unknown; use rigid or deformable"):
        registered(ct, mr, "magic")


def test_the_same_channels_are_registered_alike_each_time() -> None:
    ct, mr = scans((6.0, 0.0, 0.0))
    once, again = (registered(ct, mr, "rigid").voxels for _ in range(2))
    assert np.array_equal(once, again)
