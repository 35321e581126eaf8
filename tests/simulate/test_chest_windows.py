"""Windows of a chest: where they lie, and what their tags may say."""

import numpy as np
import pytest

from voxhint.core import Diameter, Grid, Volume
from voxhint.core.errors import BadRecipeError
from voxhint.simulate.chest_windows import _BORDER_MM, Window, choose_windows, lung_windows

SIZE_MM = 32.0
SPACING = np.array([2.0, 2.5, 4.0])
SHAPE = (80, 60, 30)
LUNGS = (slice(10, 35), slice(12, 48), slice(0, 30)), (slice(45, 70), slice(12, 48), slice(0, 30))


def chest(*, flips: tuple[int, int, int] = (1, 1, 1)) -> Volume:
    """Return air, a body in it, two lungs that leave the scan above and below."""
    hu = np.full(SHAPE, -1000, np.float32)
    hu[3:-3, 6:-6] = 40
    for lung in LUNGS:
        hu[lung] = -850
    affine = np.diag([*(SPACING * np.array(flips)), 1.0])
    affine[:3, 3] = (-71, 33, -140)
    return Volume(hu, Grid(SHAPE, affine), "HU")


def ball(scan: Volume, index: np.ndarray) -> Diameter:
    return Diameter("nodule", scan.grid.to_world(index[None])[0], 10.0)


def cut(windows: tuple[Window, ...], array: np.ndarray) -> list[np.ndarray]:
    return [
        array[tuple(slice(a, a + n) for a, n in zip(w.low, w.shape, strict=True))] for w in windows
    ]


def test_windows_lie_in_the_scan_have_one_size_and_overlap_by_half() -> None:
    windows = lung_windows(chest(), [], size_mm=SIZE_MM)
    assert {window.shape for window in windows} == {(16, 13, 8)}
    lows = np.array([window.low for window in windows])
    assert (lows >= 0).all()
    assert (lows + windows[0].shape <= SHAPE).all()
    assert len(windows) == len({window.low for window in windows})
    for axis, half in enumerate((8, 6, 4)):
        steps = np.diff(np.unique(lows[:, axis]))
        assert (steps <= half).all()
    assert set(np.unique(lows[:, 2])) == {0, 4, 8, 12, 16, 20, 22}


def test_a_fifth_of_a_window_is_lung_and_air_around_the_body_is_none() -> None:
    scan = chest()
    lung = np.zeros(SHAPE, bool)
    for part in LUNGS:
        lung[part] = True
    shares = [part.mean() for part in cut(lung_windows(scan, [], size_mm=SIZE_MM), lung)]
    assert min(shares) > 0.15  # looked for every third millimetre or so
    assert max(shares) == 1


def test_a_scan_without_lungs_has_no_window() -> None:
    for hu in (40.0, -1000.0):
        scan = Volume(np.full(SHAPE, hu, np.float32), chest().grid, "HU")
        assert lung_windows(scan, [], size_mm=SIZE_MM) == ()


def test_gas_in_the_belly_is_no_lung() -> None:
    scan = chest()
    scan.voxels[3:-3, 6:-6, :15] = 40
    before = lung_windows(scan, [], size_mm=SIZE_MM)
    scan.voxels[34:46, 25:35, 3:9] = -950
    assert lung_windows(scan, [], size_mm=SIZE_MM) == before
    assert len(before) > 0


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_a_tag_is_true_and_what_cuts_a_nodule_has_none(flips: tuple[int, int, int]) -> None:
    scan = chest(flips=flips)
    centres = np.array([(20.2, 30.7, 14.1), (57.0, 24.0, 3.0)])
    nodules = [ball(scan, centre) for centre in centres]
    index = np.indices(SHAPE).reshape(3, -1).T
    places = scan.grid.to_world(index.astype(np.float64))
    near = np.minimum(*[np.linalg.norm(places - n.centre_mm, axis=1) for n in nodules])
    nodule = (near <= 5).reshape(SHAPE)
    windows = lung_windows(scan, nodules, size_mm=SIZE_MM)
    everywhere = {window.low for window in lung_windows(scan, [], size_mm=SIZE_MM)}
    assert {window.low for window in windows} < everywhere
    for window, part in zip(windows, cut(windows, nodule), strict=True):
        if window.state == "absent":
            assert not part.any()
            continue
        low, high = np.array(window.low) - 0.5, np.array(window.low) + window.shape - 0.5
        depths = [
            min(((centre - low) * SPACING).min(), ((high - centre) * SPACING).min())
            for centre in centres
        ]
        assert max(depths) >= _BORDER_MM
    assert {window.state for window in windows} == {"present", "absent"}


def test_a_small_scan_is_one_window() -> None:
    windows = lung_windows(chest(), [], size_mm=1000.0)
    assert [(window.low, window.shape) for window in windows] == [((0, 0, 0), SHAPE)]


def test_windows_too_small_for_a_nodule_are_refused() -> None:
    with pytest.raises(BadRecipeError, match="windows of 16 mm"):
        lung_windows(chest(), [], size_mm=16.0)


@pytest.mark.parametrize(
    ("there", "count", "drawn"),
    [
        ((9, 9), 6, (3, 3)),
        ((9, 9), 5, (3, 2)),
        ((1, 9), 6, (1, 5)),
        ((9, 1), 6, (5, 1)),
        ((2, 1), 6, (2, 1)),
        ((9, 0), 4, (4, 0)),
        ((0, 9), 1, (0, 1)),
        ((3, 3), 1, (1, 0)),
    ],
)
def test_half_of_the_windows_show_a_nodule_if_there_are_so_many(
    there: tuple[int, int], count: int, drawn: tuple[int, int]
) -> None:
    present = [Window((n, 0, 0), (1, 1, 1), "present") for n in range(there[0])]
    absent = [Window((n, 1, 0), (1, 1, 1), "absent") for n in range(there[1])]
    windows = [*present, *absent]
    chosen = choose_windows(windows, count, np.random.default_rng(0))
    states = [window.state for window in chosen]
    assert (states.count("present"), states.count("absent")) == drawn
    assert [window for window in windows if window in chosen] == list(chosen)
    assert chosen == choose_windows(windows, count, np.random.default_rng(0))
