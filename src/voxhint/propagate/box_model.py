"""What the boxes of all cases together tell: where in its box an object lies, and how it looks.

A box is empty of its label outside, and tight: in nearly every slice of it, along each axis, there
is some of the object. What lies within a box so is a mixture of object and surroundings, and what
lies around it is surroundings alone. A ball stands for a cube that its object about fills.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int32, Int64
from scipy import ndimage
from scipy.cluster.vq import kmeans2, vq

from voxhint.core import Box, Case, Diameter, LabelSet
from voxhint.core.box import corners
from voxhint.propagate.constraints import Constraints, places_mm
from voxhint.propagate.surroundings import FEATURES, Surroundings
from voxhint.propagate.voxel_classifier import FEWEST_CASES

_ROOM = 0.25  # of a box: what is looked at around it
_ROOM_VOXELS = 3.0
_DRAWN = 4000  # voxels of a box that are learnt from
_CLUSTERED = 30_000  # voxels of all boxes that decide the looks
_LOOKS = 48  # kinds of surroundings
_ROUNDS = 15
_CELLS = 16  # of the shape table along each axis
_BLUR = 0.8  # cells
_SHARE = 0.2  # of a box that is object where no case tells
_PRESUMED = 0.05  # weight of that share, in mean cells
_WEIGHT = 0.5  # of looks beside the shape: neighbouring voxels tell much the same
_BOTH = 0.7  # of what rounds tell of looks, and of what faces tell, where faces do
_RARE = 0.004  # share of a plane that a look may have by chance
_EXACT = 0.01  # voxels by which a face may be off for all that it is drawn through their middles
_DOUBT = 2.0  # standard errors at which what faces tell of a look counts half
_TOUCHED = 0.9  # of the longest diameter: how far an object usually reaches along an axis
_FACE = 0.12  # of a box: slices at its faces
_PARTS = 10  # slices of a box along each axis that are asked whether they hold the object
_BARE, _BARE_BALL = 0.1, 0.4  # of them that may hold none: balls are tight along one line alone
_SURE, _UNSURE = 0.9, 0.03  # first guess of looks that are typical of the object, and of all others
_LEAST = 0.02  # probability that is told of a voxel
_CORE, _OUTSIDE = 0.75, 0.25  # probabilities from which a voxel is where ways start


@dataclass(frozen=True, slots=True, eq=False)
class BoxSample:
    """Voxels in and around one box."""

    features: Float32[np.ndarray, "n feature"]
    places: Float32[np.ndarray, "n 3"]
    """Place in the box along the world's axes: 0 at its low faces, 1 at its high ones."""

    planes: Int8[np.ndarray, "n 3"]
    """For each axis the plane at a face of a box in which a voxel lies: 1 the second within, 2 and
    3 the first and the third beyond, 0 any other. A cube that stands for a ball has none."""

    bare: float
    """Share of the slices of the box that may hold none of its object."""

    def part(self, some: Int64[np.ndarray, " m"]) -> "BoxSample":
        """Return some of the voxels."""
        return BoxSample(self.features[some], self.places[some], self.planes[some], self.bare)


@dataclass(frozen=True, slots=True, eq=False)
class BoxModel:
    """Shape and looks that the objects of a label have in common."""

    looks: Float32[np.ndarray, "look feature"]
    scale: Float32[np.ndarray, " feature"]
    log_ratio: Float32[np.ndarray, " look"]
    """How much likelier each look is in the object than around it, as a logarithm."""

    shape: Float64[np.ndarray, "cell cell cell"]
    """Share of objects that fill each place of the box."""

    def probability(self, sample: BoxSample) -> Float64[np.ndarray, " n"]:
        """Return how likely each voxel in and around a box is the object, as far as it may be."""
        words = vq(sample.features / self.scale, self.looks)[0]
        odds = _odds(self.shape, sample.places) + _WEIGHT * self.log_ratio[words]
        inside = _inside(sample.places)
        lift = max(0.0, _lift(odds, sample.places, inside, sample.bare))
        return _sigmoid(odds + lift)


def box_samples(
    case: Case, channels: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, BoxSample]]:
    """Yield label and voxels of each box or ball of a case, some thousand at most.

    Args:
        case: With all channels on one grid.
        channels: Names of all channels of the study.
        rng: Chooses among more voxels than are needed.
    """
    for hint in case.hints:
        if isinstance(hint, Box | Diameter):
            _, sample = _around(hint, case, channels)
            count = len(sample.places)
            yield hint.label, sample.part(rng.choice(count, min(_DRAWN, count), replace=False))


def fit_box_models(
    samples: Sequence[tuple[str, BoxSample]], rng: np.random.Generator
) -> dict[str, BoxModel]:
    """Learn shape and looks of each label that enough boxes show, by expectation maximisation.

    The share of objects at each place of a box and the looks of objects and of what surrounds them
    are learnt in turn with the odds of each voxel. It begins with the looks that are commoner just
    within the faces of boxes than just outside. The object ends at the faces, and what surrounds it
    hardly does: what looks are within a face beyond what planes outside lead to expect is the
    object, and has a say in every round.

    Args:
        samples: Label and voxels of boxes, from `box_samples`.
        rng: Chooses where the clustering of looks begins.

    Returns:
        Models of labels with eight boxes or balls or more.

    Source:
        Dempster, Laird and Rubin 1977, "Maximum likelihood from incomplete data via the EM
        algorithm", with the constraint of Lempitsky et al. 2009, "Image segmentation with a
        bounding box prior", that a tight box is crossed by its object.
    """
    by_label: dict[str, list[BoxSample]] = defaultdict(list)
    for name, sample in samples:
        by_label[name].append(sample)
    return {
        name: _fit(boxes, rng) for name, boxes in by_label.items() if len(boxes) >= FEWEST_CASES
    }


def _fit(boxes: Sequence[BoxSample], rng: np.random.Generator) -> BoxModel:
    features = np.concatenate([box.features for box in boxes])
    scale = features.std(0) + np.float32(1e-6)
    some = rng.choice(len(features), min(_CLUSTERED, len(features)), replace=False)
    looks = kmeans2(features[some] / scale, _LOOKS, minit="++", rng=rng)[0].astype(np.float32)
    owner = np.repeat(np.arange(len(boxes)), [len(box.places) for box in boxes])
    weight = 1.0 / np.bincount(owner)[owner]  # boxes count alike
    facts = _Facts(
        vq(features / scale, looks)[0],
        np.concatenate([box.places for box in boxes]),
        np.concatenate([box.planes for box in boxes]),
        owner,
        weight,
        [box.bare for box in boxes],
    )
    at_faces = facts.at_faces()

    def told(chance: Float64[np.ndarray, " n"]) -> Float32[np.ndarray, " look"]:
        learnt = facts.log_ratio(chance)
        return learnt if at_faces is None else _BOTH * (learnt + learnt.std() * at_faces)

    chance = facts.begin()
    for _ in range(_ROUNDS - 1):
        chance = facts.chance(facts.shape_of(chance), told(chance))
    return BoxModel(looks, scale, told(chance), facts.shape_of(chance))


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """The voxels of all boxes of a label."""

    words: Int32[np.ndarray, " n"]
    places: Float32[np.ndarray, "n 3"]
    planes: Int8[np.ndarray, "n 3"]
    owner: np.ndarray
    weight: Float64[np.ndarray, " n"]
    bare: Sequence[float]

    def begin(self) -> Float64[np.ndarray, " n"]:
        """Return a first guess: the fewest looks of faces that cross half of all boxes."""
        inside = _inside(self.places)
        within = inside & ~_inside(self.places, -_FACE)
        beyond = ~inside & _inside(self.places, _FACE)
        near, far = self._shares(self.weight * within), self._shares(self.weight * beyond)
        order = np.argsort(far / near, kind="stable")
        guesses = (np.isin(self.words, order[:count]) & inside for count in range(1, _LOOKS))
        typical = next((g for g in guesses if self._cross(g, inside)), inside)
        return np.where(inside, np.where(typical, _SURE, _UNSURE), 0.0)

    def at_faces(self) -> Float32[np.ndarray, " look"] | None:
        """Return how much likelier each look is in objects, as faces tell it, with a spread of 1.

        Surroundings change evenly across a face, so the first and the third plane beyond it tell
        what the second within would show without an object. What it shows more is the object. None
        where too few boxes have such planes.
        """
        counts = np.zeros((3, len(self.bare), _LOOKS))
        for number, count in enumerate(counts, 1):
            for along in self.planes.T:
                there = along == number
                np.add.at(count, (self.owner[there], self.words[there]), 1)
        known = (counts.sum(2) > 0).all(0)
        if known.sum() < FEWEST_CASES:
            return None
        within, near, far = counts[:, known] / counts[:, known].sum(2, keepdims=True)
        more = within - (2 * near - far)
        mean, error = more.mean(0), more.std(0) / np.sqrt(len(more)) + 1e-9
        usual, lean = (within + near).mean(0) / 2, mean / 4  # how far matters little: see below
        high, low = (np.log(np.maximum(usual + way, 0) + _RARE) for way in (lean, -lean))
        told = high - low
        told *= mean**2 / (mean**2 + (_DOUBT * error) ** 2)
        return np.asarray(told / (told.std() + 1e-9), np.float32)

    def shape_of(self, chance: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "a b c"]:
        """Return the share of objects at each place, smooth over cells."""
        cell = np.round(_cells(self.places)).astype(np.int64)
        flat = np.ravel_multi_index(tuple(cell.T), (_CELLS,) * 3)
        filled, all_ = (
            ndimage.gaussian_filter(
                np.bincount(flat, self.weight * part, _CELLS**3).reshape((_CELLS,) * 3),
                _BLUR,
                mode="constant",
            )
            for part in (chance, np.ones_like(chance))
        )
        presumed = _PRESUMED * all_.mean()
        return np.asarray((filled + _SHARE * presumed) / (all_ + presumed))

    def log_ratio(self, chance: Float64[np.ndarray, " n"]) -> Float32[np.ndarray, " look"]:
        """Return how much likelier each look is in objects."""
        objects, rest = (self._shares(self.weight * part) for part in (chance, 1 - chance))
        return np.asarray(np.log(objects / rest), np.float32)

    def chance(
        self, shape: Float64[np.ndarray, "a b c"], log_ratio: Float32[np.ndarray, " look"]
    ) -> Float64[np.ndarray, " n"]:
        """Return the chance of each voxel, lifted until the usual box is crossed by its object."""
        inside = _inside(self.places)
        odds = _odds(shape, self.places) + _WEIGHT * log_ratio[self.words]
        lift = float(np.median(np.maximum(self._lifts(odds, inside), 0)))
        return np.where(inside, _sigmoid(odds + lift), 0.0)

    def _cross(self, guess: Bool[np.ndarray, " n"], inside: Bool[np.ndarray, " n"]) -> bool:
        return bool((self._lifts(np.where(guess, 1.0, -1.0), inside) < 0).mean() >= 0.5)

    def _lifts(
        self, odds: Float64[np.ndarray, " n"], inside: Bool[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " box"]:
        ends = np.flatnonzero(np.diff(self.owner)) + 1
        parts = (np.split(one, ends) for one in (odds, self.places, inside))
        return np.array([_lift(*box) for box in zip(*parts, self.bare, strict=True)])

    def _shares(self, weight: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " look"]:
        counts = np.bincount(self.words, weight, _LOOKS)
        return np.asarray((counts / max(counts.sum(), 1e-9) + _SHARE / _LOOKS) / (1 + _SHARE))


def _inside(places: Float32[np.ndarray, "n 3"], room: float = 0.0) -> Bool[np.ndarray, " n"]:
    return np.asarray(((places >= -room) & (places <= 1 + room)).all(1))


def _cells(places: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    return np.asarray(
        np.clip((places + _ROOM) / (1 + 2 * _ROOM) * _CELLS - 0.5, 0, _CELLS - 1), np.float32
    )


def _odds(
    shape: Float64[np.ndarray, "a b c"], places: Float32[np.ndarray, "n 3"]
) -> Float64[np.ndarray, " n"]:
    share = ndimage.map_coordinates(shape, _cells(places).T, order=1, mode="nearest")
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(share / (1 - share)), np.float64)


def _sigmoid(odds: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.asarray(1 / (1 + np.exp(-odds)))


def _lift(
    odds: Float64[np.ndarray, " n"],
    places: Float32[np.ndarray, "n 3"],
    inside: Bool[np.ndarray, " n"],
    bare: float,
) -> float:
    """Return what odds lack for as many slices of a box as must to hold some of its object."""
    tops = np.full((3, _PARTS), -np.inf)
    for axis, top in enumerate(tops):
        part = np.clip(places[inside, axis] * _PARTS, 0, _PARTS - 1).astype(np.int64)
        np.maximum.at(top, part, odds[inside])
    known = tops[np.isfinite(tops)]
    return -float(np.quantile(known, bare)) if known.size else 0.0


def _around(
    hint: Box | Diameter, case: Case, channels: Sequence[str]
) -> tuple[tuple[slice, slice, slice], BoxSample]:
    """Return where a box, or that of a ball, and a rim around it lie in the image, and its voxels.

    The box of a ball is a cube as wide as objects usually are along an axis.
    """
    if isinstance(hint, Box):
        low_mm, high_mm, bare = hint.low_mm, hint.high_mm, _BARE
    else:
        half = _TOUCHED * hint.diameter_mm / 2
        low_mm, high_mm, bare = hint.centre_mm - half, hint.centre_mm + half, _BARE_BALL
    size = np.maximum(high_mm - low_mm, 1e-3)
    room = np.maximum(_ROOM * size, _ROOM_VOXELS * case.grid.spacing_mm.max())
    index = case.grid.to_index(corners(low_mm - room, high_mm + room))
    low = np.clip(np.floor(index.min(0)), 0, np.array(case.grid.shape) - 1).astype(int)
    high = np.clip(np.ceil(index.max(0)) + 1, low + 1, case.grid.shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    window = (x, y, z)
    grid = case.grid.cropped(window)
    described: list[Float32[np.ndarray, "i j k"]] = []
    for name in channels:
        image = case.images.get(name)
        if image is None:
            described += [*np.zeros((FEATURES, *grid.shape), np.float32)]
        else:
            part, (i, j, k) = image.cropped(window), grid.shape
            told = Surroundings.of(part)
            described += [*told.of_block((slice(0, i), slice(0, j), slice(0, k)))]
    features = np.stack(described, -1).reshape(-1, len(described))
    scaled = [
        (along - np.float32(a)) / np.float32(s)
        for along, a, s in zip(places_mm(grid), low_mm, size, strict=True)
    ]
    places = np.stack(np.broadcast_arrays(*scaled), -1).reshape(-1, 3)
    planes = _planes(places, size / np.abs(grid.affine[:3, :3]).max(1))
    if isinstance(hint, Diameter):
        planes[:] = 0  # the faces of its cube are not where the object ends
    return window, BoxSample(features, places, planes, bare)


def _planes(
    places: Float32[np.ndarray, "n 3"], voxels: Float64[np.ndarray, "3"]
) -> Int8[np.ndarray, "n 3"]:
    """Return the planes of `BoxSample` for places in a box so many voxels wide along each axis."""
    beyond = np.ceil(np.maximum(-places, places - 1) * voxels - _EXACT)
    found = np.zeros(places.shape, np.int8)
    for number, step in enumerate((-1, 1, 3), 1):
        found[beyond == step] = number
    within = beyond <= 0
    for axis in range(3):
        found[~np.delete(within, axis, 1).all(1), axis] = 0
    return found


def place_objects(
    constraints: Constraints,
    case: Case,
    channels: Sequence[str],
    labels: LabelSet,
    models: Mapping[str, BoxModel],
) -> tuple[Constraints, Float32[np.ndarray, "class i j k"] | None]:
    """Say of each voxel in the boxes and balls of a case what all of them tell of it.

    Args:
        constraints: Of the case.
        case: With all channels on the grid of the constraints.
        channels: Names of all channels of the study.
        labels: Names of the classes.
        models: From `fit_box_models`.

    Returns:
        The same facts, where `likely` holds the cores of objects, and of background where boxes
        are all that is known; and log probabilities, None where no hint of the case has a model.
    """
    known = [h for h in case.hints if isinstance(h, Box | Diameter) and h.label in models]
    if not known:
        return constraints, None
    chance = np.zeros(constraints.likely.shape, np.float32)
    boxed = np.zeros(constraints.grid.shape, np.bool_)
    numbers = set()
    for box in known:
        numbers.add(number := labels.number(box.label))
        window, sample = _around(box, case, channels)
        part = models[box.label].probability(sample).astype(np.float32)
        within = chance[number][window]
        open_ = constraints.possible[number][window] > 0  # faces may be off by a voxel
        np.maximum(within, part.reshape(within.shape) * open_, out=within)
        boxed[window] |= open_
    likely, first = constraints.likely.copy(), chance.argmax(0)
    for number in numbers:
        top = float(chance[number].max())
        core = (first == number) & (chance[number] >= min(_CORE, top)) & (top > 0)
        likely[number] = core if core.any() else constraints.likely[number]
    if not (constraints.proven[1:] > 0).any():  # clicks in a box may show another label
        likely[0] = boxed & (chance.max(0) < _OUTSIDE) & ~likely[1:].any(0)
    rest = 1 - chance.max(0)
    for number in set(range(len(chance))) - numbers:
        chance[number] = rest
    return replace(constraints, likely=likely), np.log(np.clip(chance, _LEAST, 1))
