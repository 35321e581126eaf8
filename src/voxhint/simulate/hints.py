"""The hints a person would have given, made from a dense truth.

Everything is drawn in one pose of the body (i, j, k to the right, the front, the head) and handed
back in world millimetres, so that one seed gives one anatomy its hints however the mask is stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import cc3d
import edt
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.ndimage import gaussian_filter

from voxhint.core import BACKGROUND, UNDRAWN, Box, Diameter, Hint, Mask, Points, Soft, Strokes, Tag
from voxhint.core.errors import BadRecipeError
from voxhint.core.hints import State
from voxhint.simulate.strokes import Scene, drawn_slices, scribbles

_Kind = Literal["points", "boxes", "diameters", "slices", "scribbles", "tags", "soft"]
KINDS: tuple[_Kind, ...] = get_args(_Kind)

_COUNTED = {"points": 10, "slices": 3}  # what a kind takes if no number is given
_JITTER = 0.49  # of a voxel: the click stays in the voxel that was aimed at
_RIM_MM = 1.5
_NEAR_MM = (1.0, 4.0)
_DIAMETER_ERROR = 0.1
_SPECK = 3  # a piece of fewer voxels is nothing a reader would measure
_SOFT_BLUR_MM = 2.0
_SOFT_WANDER_MM = 1.5


@dataclass(frozen=True, slots=True)
class HintRequest:
    """A kind of hint, and how many of it."""

    kind: _Kind
    count: int = 1
    """Clicks per label and in the background, or drawn slices per case; else unused."""

    @property
    def text(self) -> str:
        """Return the request as a person would type it."""
        return f"{self.kind}:{self.count}" if self.kind in _COUNTED else self.kind


def parse_request(text: str) -> HintRequest:
    """Read a request such as `points:20` or `boxes`.

    Args:
        text: A kind; `points` and `slices` may be followed by a colon and how many.

    Returns:
        The request.

    Raises:
        BadRecipeError: The kind is unknown, takes no number, or the number is not above 0.
    """
    name, colon, number = text.strip().partition(":")
    for kind in KINDS:
        if kind != name:
            continue
        if not colon:
            return HintRequest(kind, _COUNTED.get(kind, 1))
        if kind in _COUNTED and number.isdecimal() and int(number) > 0:
            return HintRequest(kind, int(number))
    known = ", ".join(f"{kind}:N" if kind in _COUNTED else kind for kind in KINDS)
    msg = f"hint is '{text}'; use one of {known} (N at least 1)"
    raise BadRecipeError(msg)


def simulate_hints(
    case_truth: Mask, request: HintRequest, rng: np.random.Generator
) -> tuple[Hint, ...]:
    """Make the hints of one kind a person would have given for a case.

    Args:
        case_truth: What is there; voxels with the ignore id are neither object nor background.
        request: The kind of hint, and how many.
        rng: Draws the person's choices and slips.

    Returns:
        The hints, in world millimetres; drawn ones on the grid of `case_truth`. A label that does
        not occur gets a tag `absent` and an empty probability, and no other hint.
    """
    turn = case_truth.grid.turn_to_ras()
    classes = turn.apply(case_truth.names.to_classes(case_truth.ids))
    scene = Scene(classes, case_truth.grid.turned(turn), case_truth.names)
    if request.kind == "points":
        return _points(scene, request.count, rng)
    if request.kind in ("slices", "scribbles"):
        slices = request.kind == "slices"
        drawn = drawn_slices(scene, request.count, rng) if slices else scribbles(scene, rng)
        return (Strokes(turn.undo(drawn), case_truth.grid, complete=slices),)
    if request.kind == "soft":
        return tuple(
            Soft(label, turn.undo(probability), case_truth.grid)
            for label, probability in _soft(scene, rng).items()
        )
    return _PER_LABEL[request.kind](scene, rng)


def _points(scene: Scene, count: int, rng: np.random.Generator) -> tuple[Hint, ...]:
    """Return clicks in each label and the background: half near a border, half away from it."""
    hints = []
    for label in scene.present:
        inside = scene.where(label)
        depth = _depth(inside, scene.spacing_mm)
        rim = inside & (depth <= max(_RIM_MM, 1.01 * scene.spacing_mm.max()))
        hints.append(
            _clicks(
                scene,
                rng,
                label=label,
                near=rim,
                weight=np.where(inside, depth, np.float32(0)),
                count=count,
            )
        )
    away = _depth(scene.classes == 0, scene.spacing_mm)
    low, high = _NEAR_MM[0], max(_NEAR_MM[1], 1.5 * scene.spacing_mm.max())
    near = (away >= low) & (away <= high)
    anywhere = (scene.classes == 0).astype(np.float32)
    hints.append(_clicks(scene, rng, label=BACKGROUND, near=near, weight=anywhere, count=count))
    return tuple(hint for hint in hints if len(hint.positions_mm))


def _clicks(
    scene: Scene,
    rng: np.random.Generator,
    *,
    label: str,
    near: Bool[np.ndarray, "i j k"],
    weight: Float32[np.ndarray, "i j k"],
    count: int,
) -> Points:
    """Return clicks, half of them `near` a border, the others by `weight`; no voxel twice."""
    first = _pick(near.astype(np.float32), count // 2, rng)
    left = weight.copy()
    left.reshape(-1)[first] = 0
    picked = np.concatenate([first, _pick(left, count - len(first), rng)])
    voxels = np.stack(np.unravel_index(picked, near.shape), axis=1).astype(np.float64)
    voxels += rng.uniform(-_JITTER, _JITTER, voxels.shape)
    return Points(label, scene.grid.to_world(voxels), np.ones(len(voxels)))


def _pick(
    weight: Float32[np.ndarray, "i j k"], count: int, rng: np.random.Generator
) -> Int64[np.ndarray, " n"]:
    """Return at most `count` different voxels, drawn by their weights."""
    able = np.flatnonzero(weight)
    chance = weight.reshape(-1)[able].astype(np.float64)
    count = min(count, len(able))
    return rng.choice(able, count, replace=False, p=chance / chance.sum()) if count else able[:0]


def _depth(
    region: Bool[np.ndarray, "i j k"], spacing_mm: Float64[np.ndarray, "3"]
) -> Float32[np.ndarray, "i j k"]:
    """Return the distance to the nearest voxel outside; the image's edge is no border."""
    depth = edt.edt(np.ascontiguousarray(region), anisotropy=tuple(map(float, spacing_mm)))
    reach = float(np.linalg.norm(np.array(region.shape) * spacing_mm))
    return np.asarray(np.minimum(depth, reach), np.float32)


def _tags(scene: Scene, _: np.random.Generator) -> tuple[Hint, ...]:
    """Return for each label whether it occurs; a mask that left it out cannot say `absent`."""
    partial = bool((scene.classes == UNDRAWN).any())

    def state(label: str) -> State:
        if label in scene.present:
            return "present"
        return "unknown" if partial or label in scene.labels.optional else "absent"

    return tuple(Tag(label, state(label)) for label in scene.labels.foreground)


def _boxes(scene: Scene, rng: np.random.Generator) -> tuple[Hint, ...]:
    """Return a box per label along the world's axes, every face off by up to a voxel."""
    steps = scene.grid.affine[:3, :3]
    reach = np.abs(steps).sum(axis=1) / 2  # of one voxel around its centre
    slip = np.linalg.norm(steps, axis=1)
    boxes = []
    for label in scene.present:
        centres = scene.grid.to_world(np.argwhere(scene.where(label)).astype(np.float64))
        low, high = centres.min(axis=0) - reach, centres.max(axis=0) + reach
        inward = np.minimum(slip, (high - low) / 4)  # a thin object keeps a box
        low += rng.uniform(-slip, inward)
        high += rng.uniform(-inward, slip)
        boxes.append(Box(label, low, high))
    return tuple(boxes)


def _diameters(scene: Scene, rng: np.random.Generator) -> tuple[Hint, ...]:
    """Return the size of each piece of each label across its largest slice, 10 % off."""
    found: list[Hint] = []
    for label in scene.present:
        pieces = cc3d.connected_components(scene.where(label), connectivity=26)
        sizes = np.bincount(pieces.reshape(-1))[1:]
        for number in range(1, len(sizes) + 1):
            if sizes[number - 1] >= min(_SPECK, sizes.max()):
                found.append(_measured(scene, label, pieces == number, rng))
    return tuple(found)


def _measured(
    scene: Scene, label: str, piece: Bool[np.ndarray, "i j k"], rng: np.random.Generator
) -> Diameter:
    voxels = np.argwhere(piece)
    along = voxels[:, scene.axis]
    widest = voxels[along == np.bincount(along).argmax()]
    plane_mm = np.delete(widest * scene.spacing_mm, scene.axis, axis=1)
    angle = np.linspace(0, np.pi, 180, endpoint=False)
    shadow = plane_mm @ np.stack([np.cos(angle), np.sin(angle)])
    across = float(np.ptp(shadow, axis=0).max() + np.delete(scene.spacing_mm, scene.axis).mean())
    centre = voxels.mean(axis=0) + rng.uniform(-_JITTER, _JITTER, 3)
    error = rng.uniform(1 - _DIAMETER_ERROR, 1 + _DIAMETER_ERROR)
    return Diameter(label, scene.grid.to_world(centre[None])[0], across * float(error))


def _soft(scene: Scene, rng: np.random.Generator) -> dict[str, Float32[np.ndarray, "i j k"]]:
    """Return a probability per label, its border blurred and pushed in and out by millimetres."""
    claims = {}
    for label in scene.labels.foreground:
        if label in scene.labels.optional and label not in scene.present:
            continue  # probability 0 would say that it is absent
        inside = scene.where(label)
        noise = gaussian_filter(
            rng.standard_normal(inside.shape, np.float32), 8 / scene.spacing_mm, mode="wrap"
        )
        wander = _SOFT_WANDER_MM * noise / max(float(noise.std()), 1e-6)
        signed = _depth(inside, scene.spacing_mm) - _depth(~inside, scene.spacing_mm)
        blur_mm = max(_SOFT_BLUR_MM, float(scene.spacing_mm.max()) / 2)
        inner = np.clip((signed + wander) / blur_mm, -30, 30)
        claims[label] = np.asarray(inside.any() / (1 + np.exp(-inner)), np.float32)
    crowd = np.maximum(sum(claims.values(), np.zeros(scene.grid.shape, np.float32)), 1)
    return {label: np.asarray(claim / crowd, np.float32) for label, claim in claims.items()}


_PER_LABEL: Mapping[_Kind, Callable[[Scene, np.random.Generator], tuple[Hint, ...]]] = {
    "boxes": _boxes,
    "diameters": _diameters,
    "tags": _tags,
}
