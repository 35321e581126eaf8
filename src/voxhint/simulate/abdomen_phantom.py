"""An invented abdomen in CT and MR, with its truth: for demonstrations and tests."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from voxhint.core import Case, Grid, LabelSet, Mask, Turn, Volume
from voxhint.simulate.abdomen_anatomy import FIELD_MM, Abdomen, Places, Waves

ORGANS = LabelSet(
    names=("background", "liver", "spleen", "kidney_left", "kidney_right"), ids=(0, 1, 2, 3, 4)
)
"""What is labelled; body wall, gut, vessels and bones are background."""

_Pictures = Float32[np.ndarray, "3 n"]  # CT, MR and coarseness of one painting


@dataclass(frozen=True, slots=True)
class _Tissue:
    """How a tissue looks."""

    hu: float
    """In a CT with contrast agent, portal venous phase."""

    mr: float
    """In a T1-weighted MR; fat is 100."""

    spread: float = 4.0
    """How far the HU of patients differ, one standard deviation."""

    coarse: float = 6.0
    """Texture inside one patient, in HU."""


_TISSUES: Mapping[str, _Tissue] = {
    "fat": _Tissue(-100.0, 100.0, 6.0, 7.0),
    "skin": _Tissue(40.0, 30.0),
    "muscle": _Tissue(58.0, 38.0, 5.0, 9.0),
    "bone": _Tissue(420.0, 14.0, 60.0, 60.0),
    "marrow": _Tissue(190.0, 62.0, 30.0, 35.0),
    "spinal disc": _Tissue(85.0, 32.0),
    "nerve": _Tissue(25.0, 25.0),
    "lung": _Tissue(-840.0, 5.0, 25.0, 30.0),
    "bowel wall": _Tissue(82.0, 42.0, 12.0, 14.0),
    "bowel content": _Tissue(60.0, 34.0, 35.0, 18.0),
    "stool": _Tissue(5.0, 48.0, 25.0, 60.0),
    "gas": _Tissue(-960.0, 2.0, 5.0, 5.0),
    "pancreas": _Tissue(95.0, 60.0, 8.0, 14.0),
    "vessel": _Tissue(150.0, 24.0, 12.0, 4.0),
    "gallbladder": _Tissue(12.0, 24.0, 6.0, 3.0),
    "liver": _Tissue(108.0, 56.0, 9.0, 7.0),
    "liver vein": _Tissue(145.0, 44.0, 9.0, 5.0),
    "spleen": _Tissue(118.0, 42.0, 9.0, 6.0),
    "kidney": _Tissue(172.0, 46.0, 14.0, 8.0),
    "medulla": _Tissue(142.0, 37.0, 12.0, 8.0),
    "renal sinus": _Tissue(-20.0, 70.0, 15.0, 25.0),
}
_AIR = _Tissue(-1000.0, 0.0, 0.0, 0.0)
_INSIDE = {"liver vein": "liver", "medulla_left": "kidney_left", "medulla_right": "kidney_right"}


def organ_case(
    rng: np.random.Generator,
    *,
    name: str,
    shape: tuple[int, int, int] = (76, 56, 40),
    spacing_mm: tuple[float, float, float] = (4.5, 4.5, 5.0),
    oblique: bool = False,
) -> Case:
    """Draw one patient and scan it.

    The anatomy is a function of place: one seed shows the same patient on any grid that holds it.

    Args:
        rng: Draws the patient, the scanner's place and the noise.
        name: The case's name.
        shape: Voxels along i, j and k.
        spacing_mm: Distance of their centres; a field smaller than an adult gets a smaller patient.
        oblique: Whether to store the scan turned: axes permuted, flipped and rotated.

    Returns:
        Channels `CT` (HU) and `MR` (arbitrary units) on one grid, and the truth in `ORGANS`.
    """
    field = np.array(shape) * np.array(spacing_mm)
    patient = Abdomen(rng, float(min(1.0, (field / np.array(FIELD_MM)).min())))
    offset_mm = rng.uniform(-60, 60, 3)
    looks = _looks(rng)
    grid = _grid(shape, np.array(spacing_mm), offset_mm, oblique=oblique)
    places = _places(grid, offset_mm)
    edge_mm = float(np.cbrt(grid.voxel_mm3))
    pictures, classes = _paint(patient, looks, places, edge_mm)
    hu, mr, coarse = (picture.reshape(grid.shape) for picture in pictures)
    images = {
        "CT": Volume(_ct(rng, hu, coarse), grid, "HU"),
        "MR": Volume(_mr(rng, mr, coarse, places), grid, "a.u."),
    }
    return Case(name, images, truth=Mask(classes.reshape(grid.shape), grid, ORGANS))


def _looks(rng: np.random.Generator) -> dict[str, _Tissue]:
    """Return how the tissues of one patient look."""
    looks = {}
    for name, tissue in _TISSUES.items():
        shift, factor = rng.normal(), np.exp(rng.normal(0, 0.08))
        looks[name] = _Tissue(
            tissue.hu + tissue.spread * float(np.clip(shift, -2, 2)),
            tissue.mr * float(factor),
            tissue.spread,
            tissue.coarse,
        )
    return looks


def _grid(
    shape: tuple[int, int, int],
    spacing_mm: np.ndarray,
    centre_mm: np.ndarray,
    *,
    oblique: bool,
) -> Grid:
    """Return a grid around the patient, along the body's axes or turned against them."""
    affine = np.diag([*spacing_mm, 1.0])
    if oblique:
        tilt = Rotation.from_euler("xyz", [6, -4, 9], degrees=True)
        affine[:3, :3] = tilt.as_matrix() @ affine[:3, :3]
    affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, affine)
    return grid.turned(Turn((2, 0, 1), (False, True, False))) if oblique else grid


def _places(grid: Grid, centre_mm: np.ndarray) -> Places:
    """Return where each voxel's centre lies, from the middle of the patient."""
    index = np.indices(grid.shape, np.float64).reshape(3, -1).T
    return np.ascontiguousarray((grid.to_world(index) - centre_mm).T, np.float32)


def _paint(
    patient: Abdomen, looks: Mapping[str, _Tissue], places: Places, edge_mm: float
) -> tuple[_Pictures, UInt8[np.ndarray, " n"]]:
    """Return pictures painted tissue over tissue, soft at the edges, and the class on top."""
    air = np.array([_AIR.hu, _AIR.mr, _AIR.coarse], np.float32)
    pictures = np.repeat(air[:, None], places.shape[1], axis=1)
    classes = np.zeros(places.shape[1], np.uint8)
    body = np.flatnonzero(patient.covers(places, edge_mm))
    for name, depth in patient.tissues(np.ascontiguousarray(places[:, body])):
        look = looks[name.removesuffix("_left").removesuffix("_right")]
        shown = depth > -edge_mm / 2
        cover = np.clip(0.5 + depth[shown] / edge_mm, 0, 1)
        near = body[shown]
        colour = np.array([look.hu, look.mr, look.coarse], np.float32)[:, None]
        pictures[:, near] += cover * (colour - pictures[:, near])
        organ = _INSIDE.get(name, name)
        classes[body[depth > 0]] = ORGANS.number(organ) if organ in ORGANS.names else 0
    return pictures, classes


def _grain(
    rng: np.random.Generator, shape: tuple[int, ...], blur: float
) -> Float32[np.ndarray, "i j k"]:
    """Return noise of standard deviation 1, alike over `blur` voxels."""
    noise = gaussian_filter(rng.standard_normal(shape, np.float32), blur)
    return np.asarray(noise / noise.std(), np.float32)


def _ct(
    rng: np.random.Generator,
    hu: Float32[np.ndarray, "i j k"],
    coarse: Float32[np.ndarray, "i j k"],
) -> Float32[np.ndarray, "i j k"]:
    """Return the CT a scanner would make: texture, blur, noise, whole numbers."""
    scene = gaussian_filter(hu + coarse * _grain(rng, hu.shape, 0.9), 0.45)
    noise = rng.uniform(9, 16) * _grain(rng, hu.shape, 0.5)
    return np.maximum(np.round(scene + noise), -1024).astype(np.float32)


def _mr(
    rng: np.random.Generator,
    mr: Float32[np.ndarray, "i j k"],
    coarse: Float32[np.ndarray, "i j k"],
    places: Places,
) -> Float32[np.ndarray, "i j k"]:
    """Return the MR a scanner would make: bias field, Rician noise, an arbitrary scale."""
    bias = 0.18 * Waves.draw(rng, length_mm=450.0, count=3).at(places).reshape(mr.shape)
    texture = 1 + 0.004 * coarse * _grain(rng, mr.shape, 0.9)
    scene = gaussian_filter(mr * texture, 0.5) * np.exp(bias)
    real = scene + 3 * rng.standard_normal(mr.shape, np.float32)
    magnitude = np.hypot(real, 3 * rng.standard_normal(mr.shape, np.float32))
    return np.asarray(magnitude * np.exp(rng.uniform(-1, 2.5)), np.float32)
