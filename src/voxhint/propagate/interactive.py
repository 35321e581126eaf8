"""The mask of one case that answers to each hint: only the window that a hint can reach changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy import ndimage

from voxhint.config import LabelConfig
from voxhint.core import Hint, LabelSet, Points, SoftLabel, Volume
from voxhint.propagate.coarse_to_fine import Coarse, Window, hinted_box, key_of, ruled_out, within
from voxhint.propagate.constraints import Constraints, constraints_of, places_mm
from voxhint.propagate.distance_caps import distance_caps, measure_marks
from voxhint.propagate.soft_label import Prior, propagate_hints

_BUDGET = 300_000  # voxels that are propagated over within a second
_MOST = 1_500_000  # voxels of a window, at which it is made coarser still
_MEASURED = 2_000_000  # voxels on which the distances between hints are measured
_FIRST = 0.15  # of the field of view: how far a click reaches at least, up to the next number
_FIRST_MM = 40.0
_TWICE = 2.0  # distances to the mask's border that a correcting click changes
_LEAST_VOXELS = 1.5  # voxels that it changes at least
_POINT = 2  # voxels that a click may lie between
_REPLAYED = 30  # clicks that are answered one by one when a case is opened
_REMEMBERED = 200  # windows that undo brings back as they were
_WITHIN = 1.5  # caps after which ways are not followed
_LEAN = 3.0  # natural logarithm of odds: most that distance may speak against what a model says
_LEAST = 0.02  # probability below which a model's no is no surer
_DOUBT = 1.0  # caps around a hint that contradicts the model, within which the model is doubted


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """What a window held while the hints were others."""

    hints: int
    window: Window
    classes: UInt8[np.ndarray, "i j k"]
    lead: UInt8[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class _Ball:
    """What a correcting click changes."""

    centre_mm: Float64[np.ndarray, " 3"]
    radius_mm: float


class LiveMask:
    """The most probable class of each voxel, kept up to date hint by hint.

    Away from hints it says what a model says, or background. Where a hint contradicts the model,
    the model is doubted nearby. Hints themselves always hold.

    Args:
        images: Channels on one grid.
        labels: Names of the classes.
        config: Strengths of propagation.
        prior: Probabilities of a model on the same grid; None without one.
    """

    def __init__(
        self,
        images: Sequence[Volume],
        labels: LabelSet,
        *,
        config: LabelConfig,
        prior: Float32[np.ndarray, "class i j k"] | None = None,
    ) -> None:
        self._images = images
        self._labels = labels
        self._config = config
        self._prior = prior
        self._grid = images[0].grid
        self._classes = np.zeros(self._grid.shape, np.uint8, order="F")
        self._lead = np.zeros(self._grid.shape, np.uint8, order="F")  # in 255ths
        self._past: list[_Past] = []
        self._now = key_of(())
        if prior is not None:
            self._reset()

    def _reset(self) -> None:
        self._past = []
        self._classes[:], self._lead[:] = 0, 0
        if self._prior is not None:
            self._put((slice(None),) * 3, self._prior)

    @property
    def classes(self) -> UInt8[np.ndarray, "i j k"]:
        """Return the class of each voxel."""
        return self._classes

    @property
    def sureness(self) -> float | None:
        """Return the mean lead of the first class over the second in the mask, None without any."""
        filled = self._lead.ravel("F")[self._classes.ravel("F") > 0]  # as they lie in memory
        return round(float(filled.mean()) / 255, 4) if filled.size else None

    def trust(self, prior: Float32[np.ndarray, "class i j k"] | None) -> None:
        """Take what another model says; the next answer everywhere rests on it."""
        self._prior = prior

    def adopt(self, classes: UInt8[np.ndarray, "i j k"]) -> None:
        """Take over a mask that a person accepted; hints change it where they are made."""
        self._past = []
        self._classes[:], self._lead[:] = classes, 255

    def answer(self, hints: Sequence[Hint], around: Window | None) -> tuple[Window | None, str]:
        """Change the mask where hints came or went.

        Args:
            hints: All of the case, on the grid of the images.
            around: Voxels at which some came or went; None means everywhere.

        Returns:
            The box of voxels that may have changed, and what a person should know of it.
        """
        hinted = hinted_box(hints, self._grid)
        if around is None:
            self._reset()
            if hinted is None:
                return self._whole, ""
        caps = self._caps(hints, hinted)
        if around is not None:
            return self._answer_here(hints, around, caps)
        clicks = [hint for hint in hints if isinstance(hint, Points)]
        if len(clicks) == len(hints) and len(clicks) <= _REPLAYED:
            return self._whole, self._replay(clicks)
        reach = max(caps.values())
        step = self._step(reach)
        notes = {
            self._propagate(tile, hints, caps, step)
            for tile in self._tiles(self._grown(hinted or self._whole, reach), reach, step)
        }
        self._now = key_of(hints)
        return self._whole, "; ".join(sorted(notes - {""}))

    def _replay(self, clicks: Sequence[Points]) -> str:
        """Return what to tell, having answered clicks one by one, in the order they were made."""
        note = ""
        self._now = key_of(())
        for number, click in enumerate(clicks, 1):
            before = clicks[:number]
            around = hinted_box([click], self._grid)
            if around is not None:
                caps = self._caps(before, hinted_box(before, self._grid))
                note = self._answer_here(before, around, caps)[1] or note
        return note

    def _answer_here(
        self, hints: Sequence[Hint], around: Window, caps: Mapping[str, float]
    ) -> tuple[Window, str]:
        """Return the box that changed around a place; what was there comes back as it was."""
        key = key_of(hints)
        if self._past and self._past[-1].hints == key:
            past = self._past.pop()
            self._classes[past.window], self._lead[past.window] = past.classes, past.lead
            self._now = key
            return past.window, ""
        reach = max(caps.values())
        ball = self._ball(hints, around, reach)
        inner = self._grown(around, reach if ball is None else ball.radius_mm)
        kept = (self._classes[inner].copy(), self._lead[inner].copy())
        self._past = [*self._past[-_REMEMBERED:], _Past(self._now, inner, *kept)]
        self._now = key
        return inner, self._propagate(inner, hints, caps, self._step(reach), ball)

    def _ball(self, hints: Sequence[Hint], around: Window, reach_mm: float) -> _Ball | None:
        """Return the ball that a click changes: as far again as the mask's border lies from it.

        People click in the middle of what is wrong, so its size is known from how far away that
        border is. None for other hints, and where no mask is near.
        """
        if any(w.stop - w.start > _POINT for w in around):
            return None
        box = np.array([[w.start - 0.5, w.stop - 0.5] for w in around]).T
        for hint in reversed([hint for hint in hints if isinstance(hint, Points)]):
            index = self._grid.to_index(hint.positions_mm)[-1]
            if ((index < box[0]) | (index > box[1])).any():
                continue
            window = self._grown(around, reach_mm)
            i, j, k = (round(float(v)) for v in index)
            number = self._labels.number(hint.label)
            part, there = self._classes[window], self._classes[i, j, k]
            border = part != there if there == number or number == 0 else part == number
            if not border.any():
                return None
            away = ndimage.distance_transform_edt(~border, self._grid.spacing_mm)
            at = tuple(n - w.start for n, w in zip((i, j, k), window, strict=True))
            radius = max(
                _TWICE * float(away[at]), _LEAST_VOXELS * float(self._grid.spacing_mm.max())
            )
            return _Ball(self._grid.to_world(index[None])[0], min(radius, reach_mm))
        return None

    @property
    def _whole(self) -> Window:
        i, j, k = (slice(0, n) for n in self._grid.shape)
        return i, j, k

    def _caps(self, hints: Sequence[Hint], hinted: Window | None) -> dict[str, float]:
        """Return how far each label may reach."""
        if self._config.scale_mm is not None:
            return dict.fromkeys(self._labels.foreground, self._config.scale_mm)
        window = hinted or self._whole
        count = int(np.prod([w.stop - w.start for w in window]))
        step = max(1, int(np.ceil((count / _MEASURED) ** (1 / 3))))
        coarse = Coarse.of(self._grid, window, (step, step, step))
        constraints = self._constraints(coarse, hints)
        caps = distance_caps([measure_marks(constraints, self._labels)], [self._grid], self._labels)
        # people click where the mask is wrong, so how close clicks lie says little of sizes
        field = float(np.linalg.norm(np.array(self._grid.shape) * self._grid.spacing_mm))
        return {name: max(cap, min(_FIRST * field, _FIRST_MM)) for name, cap in caps.items()}

    def _step(self, reach_mm: float) -> tuple[int, int, int]:
        """Return the step at which a window of four times the reach is not too large."""
        spacing = self._grid.spacing_mm
        finest = float(spacing.min())
        wide = finest
        while (
            np.prod(
                np.minimum(4 * reach_mm, spacing * self._grid.shape)
                / _steps(spacing, wide)
                / spacing
            )
            > _BUDGET
        ):
            wide *= 1.1
        i, j, k = (int(s) for s in _steps(spacing, wide))
        return i, j, k

    def _grown(self, window: Window, by_mm: float) -> Window:
        rim = np.ceil(by_mm / self._grid.spacing_mm).astype(int)
        i, j, k = (
            slice(int(max(0, w.start - r)), int(min(n, w.stop + r)))
            for w, r, n in zip(window, rim, self._grid.shape, strict=True)
        )
        return i, j, k

    def _tiles(self, window: Window, reach_mm: float, step: tuple[int, int, int]) -> list[Window]:
        """Return the parts of a window that are propagated over one by one."""
        rim = 2 * reach_mm / self._grid.spacing_mm
        parts = []
        for w, r, s in zip(window, rim, step, strict=True):
            side = max(int(r), s * round(_MOST ** (1 / 3)) - int(r))
            count = max(1, -(-(w.stop - w.start) // max(1, side)))
            ends = np.linspace(w.start, w.stop, count + 1).astype(int).tolist()
            parts.append([slice(a, b) for a, b in pairwise(ends)])
        return [(i, j, k) for i in parts[0] for j in parts[1] for k in parts[2]]

    def _propagate(
        self,
        inner: Window,
        hints: Sequence[Hint],
        caps: Mapping[str, float],
        step: tuple[int, int, int],
        ball: _Ball | None = None,
    ) -> str:
        """Propagate hints over a window or a ball in it, hints around it included.

        Returns:
            What a person should know of it.
        """
        outer = self._grown(inner, max(caps.values()))
        voxels = np.prod([(w.stop - w.start) / s for w, s in zip(outer, step, strict=True)])
        more = int(np.ceil((voxels / _MOST) ** (1 / 3))) if voxels > _MOST else 1
        step = (step[0] * more, step[1] * more, step[2] * more)
        coarse = Coarse.of(self._grid, outer, step)
        constraints = self._constraints(coarse, hints)
        images = [Volume(coarse.mean(i.voxels), coarse.grid, i.unit) for i in self._images]
        prior = None
        if self._prior is not None:
            prior = np.stack([coarse.mean(each) for each in self._prior])
        model = (
            None if prior is None else self._said_by_model(prior, constraints, max(caps.values()))
        )
        soft = propagate_hints(
            constraints,
            images,
            self._labels,
            caps_mm=caps,
            config=self._config,
            prior=model,
            within=_WITHIN,
        )
        chances = _chances(soft, prior)
        if prior is None:
            chances = _rooted(chances, constraints)
        chances = coarse.fine(chances)
        shift = tuple(
            slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
        )
        chances = chances[(slice(None), *shift)]
        if max(step) > 1:
            chances = self._respecting(chances, inner, hints)
        if ball is not None:
            chances = self._kept_beyond(chances, inner, ball)
        self._put(inner, chances)
        return "coarse, as the hint reaches far" if more > 1 else ""

    def _constraints(self, coarse: Coarse, hints: Sequence[Hint]) -> Constraints:
        near = [h for hint in hints for h in within(hint, coarse)]
        near += ruled_out(hints, near)
        return constraints_of(coarse.grid, near, self._labels)

    def _said_by_model(
        self, prior: Float32[np.ndarray, "class i j k"], constraints: Constraints, cap_mm: float
    ) -> Prior:
        """Return what a model says, with doubt around the hints that contradict it."""
        said = prior.argmax(0)
        proven = np.where(constraints.proven.max(0) > 0.5, constraints.proven.argmax(0), said)
        wrong = proven != said
        logs = np.log(np.clip(prior, _LEAST, 1))
        if wrong.any():
            away = ndimage.distance_transform_edt(~wrong, constraints.grid.spacing_mm)
            logs *= 1 - np.exp(-0.5 * (away / (_DOUBT * cap_mm)) ** 2)
        return Prior(logs.astype(np.float32), _LEAN)

    def _respecting(
        self, chances: Float32[np.ndarray, "class i j k"], inner: Window, hints: Sequence[Hint]
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return chances in which what hints prove holds voxel by voxel."""
        constraints = self._constraints(Coarse.of(self._grid, inner, (1, 1, 1)), hints)
        held = np.where(constraints.possible > 0, chances, 0)
        held[0] += 1e-6  # where nothing is left, nothing but background was shown
        return np.where(constraints.proven > 0.5, 1 + constraints.proven, held).astype(np.float32)

    def _kept_beyond(
        self,
        chances: Float32[np.ndarray, "class i j k"],
        inner: Window,
        ball: _Ball,
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return chances that beyond a ball are as the mask is."""
        places = np.stack(places_mm(self._grid.cropped(inner)))
        away = np.linalg.norm(places - ball.centre_mm.reshape(3, 1, 1, 1), axis=0)
        beyond = away > ball.radius_mm
        classes, lead = self._classes[inner][beyond], self._lead[inner][beyond] / np.float32(255)
        kept = np.zeros((len(chances), len(classes)), np.float32)
        np.put_along_axis(kept, classes[None].astype(np.int64), lead[None] + 1e-6, 0)
        chances[:, beyond] = kept
        return chances

    def _put(self, window: Window, chances: Float32[np.ndarray, "class i j k"]) -> None:
        self._classes[window] = chances.argmax(0)
        ordered = np.partition(chances, -2, axis=0)
        lead = np.clip(ordered[-1] - ordered[-2], 0, 1)
        self._lead[window] = (255 * lead).astype(np.uint8)


def _steps(spacing_mm: np.ndarray, wide_mm: float) -> np.ndarray:
    return np.maximum(1, np.round(wide_mm / spacing_mm))


def _chances(
    soft: SoftLabel, prior: Float32[np.ndarray, "class i j k"] | None
) -> Float32[np.ndarray, "class i j k"]:
    """Return the probability of each class; what nothing is known of is as the model says."""
    chances = soft.probs * (soft.trust > 0)
    if prior is None:
        chances[0] = np.maximum(1 - chances[1:].sum(0), 0)
        return chances
    return np.where(soft.trust.max(0) > 0, chances, prior).astype(np.float32)


def _rooted(
    chances: Float32[np.ndarray, "class i j k"], constraints: Constraints
) -> Float32[np.ndarray, "class i j k"]:
    """Return chances without islands: what hangs together with no hint of its label is none."""
    classes = chances.argmax(0)
    shown = (constraints.proven > 0.5) | (constraints.likely > 0)
    for number in range(1, len(chances)):
        parts, count = ndimage.label(classes == number, np.ones((3, 3, 3)))
        rooted = np.zeros(count + 1, np.bool_)
        rooted[np.unique(parts[shown[number]])] = True
        if count and shown[number].any():
            island = (parts > 0) & ~rooted[parts]
            chances[0][island] += chances[number][island]
            chances[number][island] = 0
    return chances
