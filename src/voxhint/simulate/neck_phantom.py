"""An invented neck in CT and MR, with small tumours of which each shows a different part.

One half of a tumour takes up contrast agent in the CT, the other is bright in the MR. Lone halves
that look the same in one modality lie around and are no tumour: only both together tell.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import gaussian_filter

from voxhint.core import Case, Grid, LabelSet, Mask, Volume
from voxhint.simulate.abdomen_anatomy import Blob, Depths, Places, Waves

TUMOUR = LabelSet(names=("background", "tumour"), ids=(0, 1))

_BODY = Blob((0, 0, 0), (44, 41, 900))
_FAT_MM = 4.0
_SPINE = Blob((0, -22, 0), (11, 10, 900))
_VERTEBRA_MM = 22.0
_AIRWAY = Blob((0, 18, 0), (8, 6, 900))
_JAW = Blob((0, 30, 40), (26, 8, 14))
_OVERLAP_MM = 2.0  # of the two halves
_APART_MM = 22.0  # between middles
_ROOM = 0.68  # of the body's radii, where tumours lie
_RADIUS_MM = (6.0, 9.5)
_LONE = 2  # halves without the other, in either modality
_TRIES = 400
_AIR_HU, _MUSCLE_HU, _RISE_HU = -1000.0, 48.0, 55.0
_MUSCLE_MR, _RISE_MR = 300.0, 190.0


@dataclass(frozen=True, slots=True)
class _Lump:
    """A tumour, or what looks like a half of one."""

    blob: Blob
    across: Float64[np.ndarray, "3"]
    """Points from the half that MR shows to the one that CT shows."""

    ct: bool = True
    mr: bool = True

    def halves(self, places: Places) -> tuple[Depths, Depths]:
        """Return the depths in the half of the CT and in that of the MR."""
        whole = self.blob.depth(places)
        away = self.across @ (places - np.array(self.blob.centre)[:, None])
        ct, mr = (np.minimum(whole, side * away + _OVERLAP_MM / 2) for side in (1, -1))
        return np.asarray(ct, np.float32), np.asarray(mr, np.float32)


def tumour_case(
    rng: np.random.Generator,
    *,
    name: str,
    shape: tuple[int, int, int] = (48, 48, 16),
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 4.0),
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Case:
    """Draw one patient with one or two tumours, and scan it twice.

    Args:
        rng: Draws the patient, the tumours and the noise.
        name: The case's name.
        shape: Voxels along i, j and k.
        spacing_mm: Distance of their centres.
        shift_mm: How far the patient has moved before the MR, which no header knows of.

    Returns:
        Channels `CT` (HU) and `MR` (arbitrary units) on one grid, and the truth in `TUMOUR`.
    """
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, affine)
    index = np.indices(shape, np.float64).reshape(3, -1).T
    places = np.ascontiguousarray(grid.to_world(index).T, np.float32)
    lumps = _lumps(rng, places)
    coarse = [Waves.draw(rng, length_mm=length, count=4) for length in (35.0, 60.0)]
    edge_mm = float(np.cbrt(grid.voxel_mm3))
    hu, _ = _scene(places, lumps, coarse, edge_mm)
    moved = np.asarray(places - np.array(shift_mm, np.float32)[:, None], np.float32)
    _, mr = _scene(moved, lumps, coarse, edge_mm)
    inside = np.zeros(places.shape[1], np.uint8)
    for lump in lumps:
        if lump.ct and lump.mr:
            inside[lump.blob.depth(places) > 0] = 1
    noise_hu = 12 * _grain(rng, shape)
    real, imaginary = (18 * _grain(rng, shape) for _ in range(2))
    magnitude = np.hypot(mr.reshape(shape) + real, imaginary) * np.exp(rng.uniform(-1, 2))
    images = {
        "CT": Volume(np.round(hu.reshape(shape) + noise_hu).astype(np.float32), grid, "HU"),
        "MR": Volume(magnitude.astype(np.float32), grid, "a.u."),
    }
    return Case(name, images, truth=Mask(inside.reshape(shape), grid, TUMOUR))


def _lumps(rng: np.random.Generator, places: Places) -> list[_Lump]:
    """Return tumours first, then lone halves; none near another."""
    low, high = places.min(1), places.max(1)
    reach = np.array([*(_ROOM * radius for radius in _BODY.radii[:2]), np.inf])
    room = np.minimum(reach, (high - low) / 2 - _RADIUS_MM[1])
    tumours = int(rng.integers(1, 3))
    kinds = [(True, True)] * tumours + [(True, False)] * _LONE + [(False, True)] * _LONE
    lumps: list[_Lump] = []
    for _ in range(_TRIES):
        if len(lumps) == len(kinds):
            break
        centre = rng.uniform(-room, room) + (low + high) / 2
        if any(np.linalg.norm(centre - other.blob.centre) < _APART_MM for other in lumps):
            continue
        radii = rng.uniform(*_RADIUS_MM) * np.exp(rng.normal(0, 0.08, 3))
        across = rng.normal(size=3)
        x, y, z = (float(v) for v in centre)
        a, b, c = (float(v) for v in radii)
        ct, mr = kinds[len(lumps)]
        lumps.append(_Lump(Blob((x, y, z), (a, b, c)), across / np.linalg.norm(across), ct, mr))
    return lumps


def _scene(
    places: Places, lumps: list[_Lump], coarse: list[Waves], edge_mm: float
) -> tuple[Depths, Depths]:
    """Return HU and MR at places: fat, muscle, spine, jaw, airway and lumps."""
    hu = np.full(places.shape[1], _AIR_HU, np.float32)
    mr = np.zeros(places.shape[1], np.float32)
    texture = sum(waves.at(places) for waves in coarse)
    body, spine = _BODY.depth(places), _SPINE.depth(places)
    discs = 3 - np.abs(places[2] % _VERTEBRA_MM - _VERTEBRA_MM / 2)
    layers = [
        (body, -95.0, 520.0),
        (body - _FAT_MM, _MUSCLE_HU + 7 * texture, _MUSCLE_MR * (1 + 0.06 * texture)),
        (spine, 380.0, 90.0),
        (np.minimum(spine, discs), 85.0, 230.0),
        (_JAW.depth(places), 520.0, 60.0),
        (_AIRWAY.depth(places), _AIR_HU, 0.0),
    ]
    for depth, ct_value, mr_value in layers:
        cover = _cover(depth, edge_mm)
        hu += cover * (ct_value - hu)
        mr += cover * (mr_value - mr)
    for lump in lumps:
        shown_ct, shown_mr = (_cover(half, edge_mm) for half in lump.halves(places))
        # a lump replaces what lies there, be it muscle or bone
        solid = _cover(lump.blob.depth(places), edge_mm)
        hu += solid * (_MUSCLE_HU - hu) + lump.ct * shown_ct * _RISE_HU
        mr += solid * (_MUSCLE_MR - mr) + lump.mr * shown_mr * _RISE_MR
    return hu, mr


def _cover(depth: Depths, edge_mm: float) -> Depths:
    return np.asarray(np.clip(0.5 + depth / edge_mm, 0, 1), np.float32)


def _grain(rng: np.random.Generator, shape: tuple[int, int, int]) -> Float32[np.ndarray, "i j k"]:
    """Return noise of standard deviation 1, a little alike between neighbours."""
    noise = gaussian_filter(rng.standard_normal(shape, np.float32), 0.5)
    return np.asarray(noise / noise.std(), np.float32)
