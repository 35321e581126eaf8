"""The mask of one case that answers to each hint: only the window that a hint can reach changes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from voxhint.config import LabelConfig
from voxhint.core import (
    Hint,
    LabelSet,
    SoftLabel,
    Volume,
)
from voxhint.propagate.constraints import Constraints, constraints_of
from voxhint.propagate.scale import distance_caps, measure_marks
from voxhint.propagate.soft_label import Prior, propagate_hints
from voxhint.propagate.windows import Coarse, Window, hinted_box, ruled_out, within

_BUDGET = 300_000  # voxels that are propagated over within a second
_MOST = 1_500_000  # voxels of a window, at which it is made coarser still
_MEASURED = 2_000_000  # voxels on which the distances between hints are measured
_FIRST = 0.12  # of the field of view: how far a click reaches at least, up to the next number
_FIRST_MM = 25.0
_WITHIN = 1.5  # caps after which ways are not followed
_LEAN = 3.0  # natural logarithm of odds: most that distance may speak against what a model says
_LEAST = 0.02  # probability below which a model's no is no surer
_DOUBT = 1.0  # caps around a hint that contradicts the model, within which the model is doubted


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
        self._reset()

    def _reset(self) -> None:
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
        filled = self._lead[self._classes > 0]
        return round(float(filled.mean()) / 255, 4) if filled.size else None

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
        reach = max(caps.values())
        step = self._step(reach)
        if around is not None:
            inner = self._grown(around, reach)
            return inner, self._propagate(inner, hints, caps, step)
        notes = {
            self._propagate(tile, hints, caps, step)
            for tile in self._tiles(self._grown(hinted or self._whole, reach), reach, step)
        }
        return self._whole, "; ".join(sorted(notes - {""}))

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
    ) -> str:
        """Propagate hints over a window, hints around it included.

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
