"""What lies around one place in an invented lung: vessels, airways, fissures, the chest wall.

Places are relative to the middle of a window: x to the right, y to the front, z to the head, in
millimetres. A depth is about the distance to the nearest border, above 0 inside.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation

from voxhint.simulate.abdomen_anatomy import Blob, Depths, Places, Waves

Vector = Float64[np.ndarray, "3"]

_REACH_MM = np.array([27.0, 27.0, 18.0])
"""How far to either side of the middle the lung is drawn; nothing grows further out."""

_STEP_MM = 2.5  # a vessel bends after every piece of this length
_THINNEST_MM = 0.22
_MOST_PIECES = 150  # of one tree
_RIB_MM = (5.5, 3.2)  # half the height and half the thickness
_CORTEX_MM = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Tube:
    """A straight piece of a pipe, round at its ends."""

    start: Vector
    end: Vector
    radius_mm: float
    end_radius_mm: float

    def bounds(self) -> tuple[Vector, Vector]:
        """Return the lowest and highest corner of the box around it."""
        room = max(self.radius_mm, self.end_radius_mm)
        return np.minimum(self.start, self.end) - room, np.maximum(self.start, self.end) + room

    def depth(self, places: Places) -> Depths:
        """Return the depth below the surface."""
        run = (self.end - self.start).astype(np.float32)
        away = places - self.start.astype(np.float32)[:, None]
        along = np.clip(run @ away / max(float(run @ run), 1e-6), 0, 1)
        away -= run[:, None] * along
        radius = self.radius_mm + (self.end_radius_mm - self.radius_mm) * along
        return np.asarray(radius - np.sqrt(np.einsum("an,an->n", away, away)), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Airway:
    """An air-filled tube in its wall."""

    outer: Tube
    lumen: Tube


@dataclass(frozen=True, slots=True, eq=False)
class _Fissure:
    """The thin double sheet of pleura between two lobes."""

    normal: Vector
    offset_mm: float
    half_mm: float
    waves: Waves

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Fissure":
        """Return a sheet that crosses the window."""
        return cls(
            _unit(rng.normal(size=3) * (0.6, 1.0, 0.8)),
            float(rng.uniform(-13, 13)),
            float(rng.uniform(0.1, 0.3)),
            Waves.draw(rng, length_mm=38.0),
        )

    def depth(self, places: Places) -> Depths:
        """Return the depth in the sheet."""
        off = self.normal.astype(np.float32) @ places - self.offset_mm + 2 * self.waves.at(places)
        return np.asarray(self.half_mm - np.abs(off), np.float32)


class _Wall:
    """What borders the lung: the chest wall with its ribs, or a soft organ that bulges into it.

    Args:
        rng: Draws the wall.
        blood_hu: What an organ full of blood shows.
    """

    def __init__(self, rng: np.random.Generator, blood_hu: float) -> None:
        self._chest = bool(rng.random() < 0.65)
        lift = rng.uniform(-0.2, 0.2) if self._chest else rng.uniform(-0.6, 0.3)
        angle = rng.uniform(0, 2 * np.pi)
        out = _unit(np.array([np.cos(angle), np.sin(angle), lift]))
        side = _unit(np.cross([0.0, 0.0, 1.0], out))
        self._frame = np.stack([out, side, np.cross(out, side)]).astype(np.float32)
        self._distance_mm = float(rng.uniform(-3, 18))
        # the chest closes around the lung, the heart and the diaphragm bulge into it
        self._bend = 1 / rng.uniform(50, 130) if self._chest else -1 / rng.uniform(35, 140)
        self._bumps = Waves.draw(rng, length_mm=float(rng.uniform(14, 30)))
        self._bump_mm = float(rng.uniform(0.1, 0.7))
        self._muscle_hu = float(rng.normal(50, 8))
        self._organ_hu = float(rng.choice([blood_hu, 50.0]))
        self._fat_hu = float(rng.normal(-100, 8))
        self._fat_mm = float(rng.uniform(9, 22)) if self._chest else float(rng.uniform(-3, 4))
        self._streaks = Waves.draw(rng, length_mm=13.0, count=4)
        self._rib_slant = float(rng.uniform(-0.9, 0.9))
        self._rib_phase = float(rng.uniform(0, 23))
        self._rib_depth_mm = float(rng.uniform(5.0, 7.5))
        self._bone_hu = float(rng.uniform(500, 1100)), float(rng.uniform(120, 320))

    def depth(self, places: Places) -> Depths:
        """Return the depth below the pleura; the lung has depths below 0."""
        away, side, up = self._frame @ places
        bent = 0.5 * self._bend * (side**2 + 0.3 * up**2)
        bumps = self._bump_mm * self._bumps.at(places)
        return np.asarray(away - self._distance_mm + bent + bumps, np.float32)

    def hu(self, places: Places, depth: Depths) -> Float32[np.ndarray, " n"]:
        """Return what the wall shows at places of known depth."""
        streaks = self._streaks.at(places)
        if not self._chest:
            fat = depth < self._fat_mm + 1.2 * streaks
            return np.where(fat, self._fat_hu, self._organ_hu).astype(np.float32)
        fat = (depth > self._fat_mm + 3 * streaks) | ((depth > 2) & (depth < 10) & (streaks > 1.1))
        shown = np.where(fat, self._fat_hu, self._muscle_hu)
        _, side, up = self._frame @ places
        across = (up + self._rib_slant * side + self._rib_phase) % 23 - 11.5
        height, thick = _RIB_MM
        level = np.hypot(across / height, (depth - self._rib_depth_mm) / thick)
        rib = (1 - level) * thick
        cortex, marrow = self._bone_hu
        return np.select([rib > _CORTEX_MM, rib > 0], [marrow, cortex], shown).astype(np.float32)


class Lung:
    """The surroundings of one window: every number drawn once, so that any grid shows the same.

    Args:
        rng: Draws the place.
        blood_hu: What vessels and the heart show.
    """

    def __init__(self, rng: np.random.Generator, blood_hu: float) -> None:
        self.wall = _Wall(rng, blood_hu) if rng.random() < 0.62 else None
        self.fissure = _Fissure.draw(rng) if rng.random() < 0.25 else None
        self.vessels: list[Tube] = []
        self.airways: list[_Airway] = []
        central = rng.random()  # 0 is the rim of the lung, 1 the hilum
        for _ in range(rng.integers(4, 11)):
            radius = 0.55 * np.exp(1.5 * central**1.5 + rng.normal(0, 0.4))
            tree = _tree(rng, min(float(radius), 3.5))
            self.vessels += tree
            if central > 0.4 and rng.random() < 0.25:
                self.airways += _beside(rng, tree)
        self.specks = [_speck(rng) for _ in range(rng.binomial(4, 0.1))]
        """Scars and spots too small to be called nodules."""

        self._texture = [Waves.draw(rng, length_mm=mm, count=5) for mm in (2.5, 4.0, 9.0)]
        self._rough_hu = float(rng.uniform(10, 32))
        self._pull_hu = float(rng.uniform(0.2, 1.4))
        self._holes = Waves.draw(rng, length_mm=8.0, count=6)
        self._hole_from = 0.9 if rng.random() < 0.2 else 9.0  # emphysema in some

    def parenchyma(self, places: Places) -> Depths:
        """Return how many HU the parenchyma differs from its mean: the back is denser."""
        rough = sum(waves.at(places) for waves in self._texture) * self._rough_hu / np.sqrt(3)
        holes = np.clip(4 * (self._holes.at(places) - self._hole_from), 0, 1)
        return np.asarray(rough - self._pull_hu * places[1] - 70 * holes, np.float32)


def _unit(vector: np.ndarray) -> Vector:
    return np.asarray(vector / np.sqrt(vector @ vector), np.float64)


def _across(heading: Vector, vector: Vector) -> Vector:
    """Return the direction of the part of a vector that is square to a heading."""
    return _unit(vector - heading * (heading @ vector))


def _tree(rng: np.random.Generator, radius_mm: float) -> list[Tube]:
    """Return a vessel that crosses the window, and its branches.

    Source:
        Murray 1926, "The physiological principle of minimum work": the cubes of the radii add up.
    """
    heading = _unit(rng.normal(size=3))
    through = rng.uniform(-0.6, 0.6, 3) * _REACH_MM  # a place the stem makes for
    start = through - heading * 24
    pieces: list[Tube] = []
    tips = deque([(start, heading, radius_mm)])
    while tips and len(pieces) < _MOST_PIECES:
        place, heading, radius = tips.popleft()
        heading = _unit(heading + rng.normal(0, 0.13, 3))
        end = place + heading * _STEP_MM
        thinner = radius * 0.985
        if (np.abs(end) < _REACH_MM).all():
            pieces.append(Tube(place, end, radius, thinner))
        elif heading @ end > 0:
            continue
        if rng.random() < 0.4:
            share = rng.uniform(0.1, 0.5)  # of the blood that takes the side branch
            spread = _across(heading, rng.normal(size=3))
            slope = rng.uniform(0.5, 1.5)
            side = thinner * share ** (1 / 3)
            thinner *= (1 - share) ** (1 / 3)
            if side > _THINNEST_MM:
                tips.append((end, _unit(heading + slope * spread), side))
            heading = _unit(heading - slope * share * spread)
        if thinner > _THINNEST_MM:
            tips.append((end, heading, thinner))
    return pieces


def _beside(rng: np.random.Generator, tree: list[Tube]) -> list[_Airway]:
    """Return the airways that run along the thicker vessels of a tree."""
    side = _unit(rng.normal(size=3))
    wide = rng.uniform(0.6, 1.0)
    airways = []
    for vessel in tree:
        if vessel.radius_mm < 0.8:
            continue
        heading = _unit(vessel.end - vessel.start)
        inner = wide * vessel.radius_mm
        outer = inner + 0.25 + 0.15 * inner
        shift = _across(heading, side) * (outer + vessel.radius_mm)
        ends = vessel.start + shift, vessel.end + shift
        airways.append(_Airway(Tube(*ends, outer, outer), Tube(*ends, inner, inner)))
    return airways


def _speck(rng: np.random.Generator) -> tuple[Blob, float]:
    """Return a flat scar or a tiny spot, and its HU."""
    x, y, z = map(float, rng.uniform(-1, 1, 3) * (14, 14, 6))
    tilt = Rotation.random(rng=rng).as_euler("zyx", degrees=True)
    if rng.random() < 0.5:
        radii = float(rng.uniform(0.7, 1.3)), float(rng.uniform(4, 9)), float(rng.uniform(3, 7))
    else:
        small = float(rng.uniform(0.9, 1.5))
        radii = small, small, small
    blob = Blob((x, y, z), radii, (float(tilt[0]), float(tilt[1]), float(tilt[2])))
    return blob, float(rng.uniform(-250, 40))
