"""Where things lie in an invented abdomen: signed depths of tissues at places in millimetres.

Places are relative to the middle of the patient: x to the right, y to the front, z to the head.
A depth is about the distance to the nearest border, above 0 inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy.spatial.transform import Rotation

Places = Float32[np.ndarray, "3 n"]
Depths = Float32[np.ndarray, " n"]
_Number = int | float
_Triple = tuple[_Number, _Number, _Number]

FIELD_MM: _Triple = (336.0, 236.0, 196.0)
"""The field of view one adult fills; smaller fields get a smaller patient."""

_TINY = 1e-4
_EDGE_MM = 3.0  # tissue between an organ and the wall of the cavity


@dataclass(frozen=True, slots=True)
class Waves:
    """A smooth random field: a few plane waves of random direction and phase."""

    vectors: Float32[np.ndarray, "w 3"]
    phases: Float32[np.ndarray, " w"]

    @classmethod
    def draw(cls, rng: np.random.Generator, *, length_mm: float, count: int = 3) -> "Waves":
        """Return waves of about `length_mm` from crest to crest."""
        heading = rng.normal(size=(count, 3))
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        length = length_mm * rng.uniform(0.8, 1.25, (count, 1))
        return cls(
            (2 * np.pi * heading / length).astype(np.float32),
            rng.uniform(0, 2 * np.pi, count).astype(np.float32),
        )

    def at(self, places: Places) -> Depths:
        """Return the field, of standard deviation 1."""
        crests = np.sin(self.vectors @ places + self.phases[:, None]).sum(axis=0)
        return np.asarray(crests * np.sqrt(2 / len(self.phases)), np.float32)


@dataclass(frozen=True, slots=True)
class Blob:
    """A tilted ellipsoid."""

    centre: _Triple
    radii: _Triple
    tilt_deg: _Triple = (0.0, 0.0, 0.0)
    """Turned about z, then y, then x."""

    def varied(self, rng: np.random.Generator, *, move_mm: float, grow: float) -> "Blob":
        """Return the same ellipsoid moved and resized a little at random."""
        centre = np.array(self.centre) + rng.normal(0, move_mm, 3)
        radii = np.array(self.radii) * np.exp(rng.normal(0, grow) + rng.normal(0, grow / 2, 3))
        tilt = np.array(self.tilt_deg) + rng.normal(0, 4, 3)
        return Blob(_triple(centre), _triple(radii), _triple(tilt))

    def depth(self, places: Places) -> Depths:
        """Return the depth by first order: f / |grad f| of the ellipsoid's equation."""
        turn = Rotation.from_euler("zyx", self.tilt_deg, degrees=True).as_matrix()
        radii = np.array(self.radii)
        press = (turn.T / radii[:, None]).astype(np.float32)
        local = press @ places - press @ np.array(self.centre, np.float32)[:, None]
        level = _length(local) + _TINY
        local /= radii.astype(np.float32)[:, None]
        slope = _length(local) + _TINY / max(self.radii)
        return np.asarray((1 - level) * level / slope, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What most tissues are fitted into, worked out once."""

    at: Places
    """Places in the body of an adult of middling size."""

    skin: Depths
    """Depth below the skin."""

    cavity: Depths
    """Depth within the abdominal wall, the spine's bulge left out."""

    dome: Depths
    """Depth under the diaphragm and the heart that rests on it."""

    heart: Depths


def _length(vectors: Places) -> Depths:
    return np.asarray(np.sqrt(np.einsum("an,an->n", vectors, vectors)), np.float32)


def _triple(values: np.ndarray) -> _Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _smooth_or(one: Depths, two: Depths, blend_mm: _Number) -> Depths:
    """Return the depth in either shape, the crease between them filled."""
    near = np.maximum(blend_mm - np.abs(one - two), 0) / blend_mm
    return np.asarray(np.maximum(one, two) + near**2 * blend_mm / 4, np.float32)


_LIVER = (
    Blob((76, -2, 20), (70, 82, 82), (-8, 0, 0)),
    Blob((10, 42, 46), (76, 36, 36), (-10, 8, 0)),
)
_LIVER_DENT = Blob((22, -20, -52), (66, 62, 66))
_SPLEEN = Blob((-94, -36, 30), (40, 56, 58), (-28, 0, 12))
_SPLEEN_DENT = Blob((-48, -8, 24), (34, 46, 66), (-15, 0, 0))
_KIDNEYS = (
    Blob((-62, -50, -18), (27, 31, 56), (-35, -10, 8)),
    Blob((60, -52, -32), (27, 31, 54), (35, 10, 8)),
)
_SINUS = (
    Blob((-45, -40, -18), (15, 12, 20), (-35, 0, 0)),
    Blob((43, -42, -32), (15, 12, 20), (35, 0, 0)),
)
_STOMACH = Blob((-56, 20, 44), (52, 54, 52), (20, 0, 0))
_HEART = Blob((-22, 42, 112), (58, 48, 34), (-25, 10, 0))
_PANCREAS = Blob((-6, 2, 0), (60, 12, 17), (-14, -14, 0))
_GALLBLADDER = Blob((48, 48, -22), (15, 24, 22), (0, 0, 20))
_SPINE_Y = -66.0


class Abdomen:
    """One patient: every number drawn once, so that any grid shows the same anatomy.

    Args:
        rng: Draws the patient.
        scale: Size of the patient; 1 is an adult.
    """

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self._scale = scale * float(rng.uniform(0.94, 1.03))
        self._warp = [Waves.draw(rng, length_mm=150.0) for _ in range(3)]
        self._fat_mm = float(rng.uniform(9, 26))
        self._phase = float(rng.uniform(0, 34))
        self._liver = [blob.varied(rng, move_mm=3.0, grow=0.05) for blob in _LIVER]
        self._liver_dent = _LIVER_DENT.varied(rng, move_mm=4.0, grow=0.05)
        self._spleen = _SPLEEN.varied(rng, move_mm=3.0, grow=0.07)
        self._spleen_dent = _SPLEEN_DENT.varied(rng, move_mm=2.5, grow=0.04)
        self._kidneys = [blob.varied(rng, move_mm=3.0, grow=0.06) for blob in _KIDNEYS]
        self._sinus = [blob.varied(rng, move_mm=2.0, grow=0.1) for blob in _SINUS]
        self._stomach = _STOMACH.varied(rng, move_mm=7.0, grow=0.1)
        self._pancreas = _PANCREAS.varied(rng, move_mm=4.0, grow=0.08)
        self._gallbladder = _GALLBLADDER.varied(rng, move_mm=4.0, grow=0.15)
        self._loops = [Waves.draw(rng, length_mm=58.0, count=4) for _ in range(2)]
        self._heart = _HEART.varied(rng, move_mm=4.0, grow=0.05)
        self._gas = Waves.draw(rng, length_mm=75.0, count=4)
        self._veins = [Waves.draw(rng, length_mm=80.0, count=4) for _ in range(2)]

    def tissues(self, places: Places) -> Iterator[tuple[str, Depths]]:
        """Yield every tissue and its depth, in the order they are to be painted.

        Args:
            places: Where to look, in millimetres from the middle of the patient.

        Yields:
            The tissue's name and its depth in millimetres.
        """
        at = np.asarray(places / self._scale, np.float32)
        at = at + np.stack([5 * waves.at(at) for waves in self._warp])
        size = np.float32(self._scale)
        skin = _outline(at)
        cavity = np.minimum(skin - self._fat_mm - 14, -_disc(at, (0, _SPINE_Y - 22), (46, 40)))
        heart = self._heart.depth(at)
        scene = _Scene(at, skin, cavity, np.minimum(_under_dome(at), -heart), heart)
        for part in (self._walls, self._gut, self._organs, self._midline):
            for tissue, depth in part(scene):
                yield tissue, depth * size

    def covers(self, places: Places, margin_mm: float) -> Bool[np.ndarray, " n"]:
        """Return which places lie in the patient, or at most about `margin_mm` outside."""
        room = margin_mm / self._scale + 12  # the warp moves the skin by less
        return np.asarray(_outline(np.asarray(places / self._scale, np.float32)) > -room)

    def _walls(self, scene: _Scene) -> Iterator[tuple[str, Depths]]:
        at = scene.at
        x, y, z = at
        yield "fat", scene.skin
        yield "skin", np.asarray(1.2 - np.abs(scene.skin - 1.2), np.float32)
        yield "muscle", scene.skin - self._fat_mm
        ring = 3.5 - np.abs(scene.skin - self._fat_mm - 6.5)
        around = np.arctan2(x, y + 20) * 110
        ribs = 5 - np.abs((np.abs(around) * 0.55 + z + self._phase) % 34 - 17)
        upper = np.minimum(z + 45, np.abs(around) - 75)
        yield "bone", np.minimum(np.minimum(ring, ribs), upper)
        yield "fat", scene.cavity
        yield "lung", np.minimum(scene.skin - self._fat_mm - 12, -scene.dome)
        yield "vessel", np.minimum(scene.heart, scene.skin - self._fat_mm - 16)
        for side in (-1, 1):
            yield "muscle", _disc(at, (side * 34, _SPINE_Y - 21), (27, 20))
            yield "muscle", _disc(at, (side * (30 + 4), _SPINE_Y - 2), (17, 17)) - (z + 60) * 0.05

    def _gut(self, scene: _Scene) -> Iterator[tuple[str, Depths]]:
        at = scene.at
        _, y, z = at
        free = np.minimum(scene.cavity, scene.dome) - 5
        one, two = (waves.at(at) for waves in self._loops)
        low = np.minimum(np.minimum(free, y + 22), 12 - z + 8 * two)
        gas = self._gas.at(at)
        bowel = np.minimum(low, 18 * (np.abs(one) - 0.5))
        yield "bowel wall", bowel
        yield "bowel content", np.minimum(bowel - 3.5, 14 * (two + 0.6))
        yield "gas", np.minimum(np.minimum(bowel - 4, 12 * (gas - 0.9)), 10 * (y - 20))
        for side in (-1, 1):
            bulge = 3 * np.sin(z / 5 + side)
            colon = _disc(at, (side * 112, -8), (24, 27)) + bulge
            colon = np.minimum(np.minimum(colon, free), -8 - z)
            yield "bowel wall", colon
            yield "stool", colon - 4
            yield "gas", np.minimum(colon - 4.5, 10 * gas + y)
        stomach = np.minimum(self._stomach.depth(at), free)
        yield "bowel wall", stomach
        yield "bowel content", stomach - 5
        yield "gas", np.minimum(stomach - 5, y - 52 + 4 * gas)
        yield "pancreas", np.minimum(self._pancreas.depth(at) + 3 * one, free)

    def _organs(self, scene: _Scene) -> Iterator[tuple[str, Depths]]:
        at = scene.at
        room = np.minimum(scene.cavity, scene.dome) - _EDGE_MM
        spleen = np.minimum(self._spleen.depth(at), -self._spleen_dent.depth(at))
        yield "spleen", np.minimum(spleen, room)
        liver = _smooth_or(self._liver[0].depth(at), self._liver[1].depth(at), 24)
        liver = np.minimum(np.minimum(liver, -self._liver_dent.depth(at)), room)
        yield "liver", liver
        tubes = np.hypot(self._veins[0].at(at), self._veins[1].at(at))
        yield "liver vein", np.minimum(liver - 9, 12 * (0.34 - tubes))
        yield "gallbladder", np.minimum(self._gallbladder.depth(at), room)
        for side, kidney, sinus in zip(("left", "right"), self._kidneys, self._sinus, strict=True):
            hollow, bean = sinus.depth(at), kidney.depth(at)
            whole = np.minimum(np.minimum(bean, -hollow), scene.cavity)
            yield "fat", np.minimum(bean + 6, scene.cavity)
            yield f"kidney_{side}", whole
            yield f"medulla_{side}", np.minimum(whole - 8, 14 * (self._gas.at(at[::-1]) + 0.4))
            yield "renal sinus", np.minimum(hollow, bean)

    def _midline(self, scene: _Scene) -> Iterator[tuple[str, Depths]]:
        at = scene.at
        x, y, z = at
        yield "vessel", _disc(at, (20, _SPINE_Y + 33), (14, 10))
        yield "vessel", _disc(at, (-12, _SPINE_Y + 31), (11, 11))
        body = _disc(at, (0, _SPINE_Y), (24, 18))
        yield "bone", body
        yield "marrow", body - 2.5
        disc = 4 - np.abs((z + self._phase) % 34 - 17)
        yield "spinal disc", np.minimum(body, disc)
        arch = _disc(at, (0, _SPINE_Y - 23), (15, 12))
        spine = np.minimum(4.5 - np.abs(x), np.minimum(_SPINE_Y - 22 - y, y - _SPINE_Y + 55))
        wings = np.minimum(4.5 - np.abs(y - _SPINE_Y + 19), 40 - np.abs(x))
        level = 12 - np.abs((z + self._phase + 17) % 34 - 17)
        yield "bone", np.maximum(arch, np.minimum(np.maximum(spine, wings), level))
        yield "nerve", _disc(at, (0, _SPINE_Y - 24), (9, 8.5))


def _outline(at: Places) -> Depths:
    """Return the depth below the skin."""
    x, y, z = at
    wide, deep = 160 - 0.04 * np.abs(z), 110 - 0.03 * np.abs(z)
    # the back is flatter than the belly, with a furrow over the spine
    furrow = np.where(y < 0, 4 * np.exp(-((x / 22) ** 2)), 0)
    level = np.sqrt(np.sqrt((x / wide) ** 4 + (y / (deep - furrow)) ** 4))
    oval = np.hypot(x / wide, y / (deep - furrow))
    return np.asarray((1 - 0.4 * level - 0.6 * oval) * deep * 1.1, np.float32)


def _disc(at: Places, centre: tuple[_Number, _Number], radii: tuple[_Number, _Number]) -> Depths:
    """Return the depth in an upright elliptic cylinder."""
    level = np.hypot((at[0] - centre[0]) / radii[0], (at[1] - centre[1]) / radii[1])
    return np.asarray((1 - level) * min(radii), np.float32)


def _under_dome(at: Places) -> Depths:
    """Return the depth under the diaphragm, a dome on either side of the spine."""
    x, y, z = at
    bow = ((np.abs(x) - 55) / 105) ** 2 * np.where(np.abs(x) < 55, 0.5, 1.0) + ((y + 5) / 105) ** 2
    height = 96 - 55 * bow + 6 * np.tanh(x / 40)
    return np.asarray((height - z) * 0.8, np.float32)
