"""An invented lung nodule: its shape, its texture, and what it sits on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32
from scipy.spatial.transform import Rotation

from voxhint.simulate.abdomen_anatomy import Depths, Places, Waves
from voxhint.simulate.lung_anatomy import Lung, Tube, Vector

Texture = Literal["solid", "part-solid", "ground-glass"]
_TEXTURES: tuple[Texture, ...] = get_args(Texture)

_PLACE_MM = np.array([9.0, 9.0, 2.5])
"""How far from the middle of a window the centre of its nodule may lie."""

_TEXTURE_SHARES = (0.76, 0.12, 0.12)
_CALCIFIED = 0.15
_SEAT_SHARES = {"free": 0.4, "vessel": 0.3, "pleura": 0.3}
_MEDIAN_MM, _LOG_SPREAD = 7.5, 0.42
_TRIES = 300


@dataclass(frozen=True, slots=True, eq=False)
class Nodule:
    """One nodule: a star-shaped body, sometimes with a denser core and spicules."""

    centre: Vector
    radius_mm: float
    """Of the ball of its volume."""

    press: Float32[np.ndarray, "3 3"]
    """Takes the body to a ball of radius 1."""

    lumps: Waves
    lumpy: float
    """How far lobes stick out, as a share of the radius."""

    hu: float
    edge_mm: float
    """Over which it fades into the lung."""

    core: float
    """Size of the solid core, as a share of the body; 0 is none."""

    core_hu: float
    spicules: tuple[Tube, ...]

    def bounds(self) -> tuple[Vector, Vector]:
        """Return the lowest and highest corner of a box around it, spicules left out."""
        room = 1.8 * self.radius_mm + self.edge_mm
        return self.centre - room, self.centre + room

    def depth(self, places: Places, share: float = 1.0) -> Depths:
        """Return the depth in the body, or in the body shrunk to a share of its size."""
        away = places - self.centre.astype(np.float32)[:, None]
        far = np.sqrt(np.einsum("an,an->n", away, away)) + np.float32(1e-4)
        heading = away / far
        plain = 1 / np.sqrt(((self.press @ heading) ** 2).sum(axis=0))
        lobes = 1 + self.lumpy * np.clip(self.lumps.at(heading), -1.8, 1.8)
        return np.asarray(share * plain * lobes - far, np.float32)


def draw_nodule(
    rng: np.random.Generator,
    lung: Lung,
    *,
    diameter_mm: tuple[float, float],
    texture: Texture | None = None,
) -> Nodule:
    """Draw a nodule and a place for it in a lung.

    Args:
        rng: Draws the nodule.
        lung: Where it grows: in the open, on a vessel or on the pleura.
        diameter_mm: The smallest and the largest diameter.
        texture: Of what kind; any if None.

    Returns:
        The nodule; its centre lies in the lung, at most `_PLACE_MM` from the middle.
    """
    low, high = diameter_mm
    drawn = np.exp(rng.normal(np.log(_MEDIAN_MM), _LOG_SPREAD, 50))
    fitting = drawn[(drawn >= low) & (drawn <= high)]
    radius = float(fitting[0] if len(fitting) else rng.uniform(low, high)) / 2
    kind = texture or rng.choice(_TEXTURES, p=_TEXTURE_SHARES)
    stretch = np.exp(rng.normal(0, 0.17, 3))
    stretch /= np.cbrt(stretch.prod())
    press = Rotation.random(rng=rng).as_matrix() / (radius * stretch)[:, None]
    solid_hu = rng.uniform(250, 900) if rng.random() < _CALCIFIED else rng.normal(20, 30)
    glass_hu = rng.uniform(-680, -480)
    spiky = kind != "ground-glass" and rng.random() < 0.25
    centre = _seat(rng, lung, radius)
    return Nodule(
        centre=centre,
        radius_mm=radius,
        press=press.astype(np.float32),
        lumps=Waves.draw(rng, length_mm=float(rng.uniform(1.0, 1.8)), count=5),
        lumpy=float(rng.choice([0.04, 0.09, 0.14])),
        hu=float(solid_hu if kind == "solid" else glass_hu),
        edge_mm=float(rng.uniform(0.6, 1.4) if kind == "solid" else rng.uniform(0.8, 2.2)),
        core=float(rng.uniform(0.35, 0.65)) if kind == "part-solid" else 0.0,
        core_hu=float(rng.normal(0, 40)),
        spicules=_spicules(rng, centre, radius) if spiky else (),
    )


def _spicules(rng: np.random.Generator, centre: Vector, radius_mm: float) -> tuple[Tube, ...]:
    headings = rng.normal(size=(rng.integers(6, 14), 3))
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    tips = radius_mm + rng.uniform(1.5, 5, len(headings))
    return tuple(
        Tube(centre + heading * radius_mm * 0.7, centre + heading * tip, 0.65, 0.2)
        for heading, tip in zip(headings, tips, strict=True)
    )


def _seat(rng: np.random.Generator, lung: Lung, radius_mm: float) -> Vector:
    """Return a centre: of many places in reach, the one that suits best."""
    seat = rng.choice(list(_SEAT_SHARES), p=list(_SEAT_SHARES.values()))
    places = rng.uniform(-1, 1, (_TRIES, 3)) * _PLACE_MM
    if seat == "vessel":
        places = np.concatenate([_on_vessels(rng, lung.vessels, radius_mm), places])
    if lung.wall is None:
        return np.asarray(places[0])
    depth = lung.wall.depth(np.ascontiguousarray(places.T, np.float32)).astype(np.float64)
    if seat == "pleura":
        return np.asarray(places[np.abs(depth + 0.6 * radius_mm).argmin()])
    crowded = np.maximum(depth + radius_mm + 0.5, 0)
    return np.asarray(places[crowded.argmin()])


def _on_vessels(rng: np.random.Generator, vessels: Sequence[Tube], radius_mm: float) -> np.ndarray:
    """Return centres of nodules that touch a vessel, those in reach."""
    fitting = [vessel for vessel in vessels if 0.5 < vessel.radius_mm < 1.8]
    if not fitting:
        return np.empty((0, 3))
    aside = rng.normal(size=(len(fitting), 3))
    aside *= radius_mm * rng.uniform(0.5, 1.0) / np.linalg.norm(aside, axis=1, keepdims=True)
    centres = rng.permutation(np.array([vessel.end for vessel in fitting]) + aside)
    return np.asarray(centres[(np.abs(centres) <= _PLACE_MM).all(axis=1)])
