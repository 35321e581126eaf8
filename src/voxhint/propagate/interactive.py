"""The mask of one case that answers to each hint: only the window that a hint can reach changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from voxhint.config import LabelConfig
from voxhint.core import Hint, LabelSet, Points, Volume
from voxhint.propagate.click_scores import (
    Click,
    bell_of,
    bell_window,
    range_of,
    scores_in,
    weights_of,
)
from voxhint.propagate.coarse_to_fine import (
    Coarse,
    Window,
    box_of,
    coarser_by,
    grown,
    hinted_box,
    key_of,
    meets,
    ruled_out,
    single_clicks,
    step_for,
    tiles,
    union,
    within,
)
from voxhint.propagate.constraints import Constraints, constraints_of, nearest_voxels
from voxhint.propagate.distance_caps import distance_caps, measure_marks
from voxhint.propagate.islands import rooted, show_ends
from voxhint.propagate.model_prior import chances_of, doubted
from voxhint.propagate.soft_label import propagate_hints

_BUDGET = 300_000  # voxels that are propagated over within a second
_MOST = 1_500_000  # voxels of a window, at which it is made coarser still
_MEASURED = 2_000_000  # voxels on which the distances between hints are measured
_FIRST = 0.15  # of the field of view: how far hints reach at least, up to the next number
_FIRST_MM = 40.0
_SPOKEN = 0.6  # of that: how far away a click speaks at most
_WIDTH = 1.5  # distances to the mask's border by which a correcting click speaks
_LEAST_MM = 2.0  # the same at least
_GROUND = 0.6  # score of a background that nobody showed
_SMOOTH = 0.6  # voxels by which scores of clicks are smoothed
_REPLAYED = 30  # clicks that are answered one by one when a case is opened
_REMEMBERED = 2**28  # bytes of windows that undo brings back as they were
_WITHIN = 1.5  # caps after which ways are not followed

_Voxels = UInt8[np.ndarray, "i j k"]


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """What a window held while the hints were others."""

    hints: int
    window: Window
    classes: _Voxels
    lead: _Voxels
    base: tuple[_Voxels, _Voxels] | None
    """What the base and its lead were; None where only a click came."""

    clicks: tuple[Click, ...]


class LiveMask:
    """The most probable class of each voxel, kept up to date hint by hint.

    Away from hints it says what a model says, or background. Strokes, boxes and other hints that
    speak of many voxels are propagated. Each click then corrects what is there, as wide as it lies
    from the border of the mask. Hints themselves always hold.

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
        blank = (np.zeros(self._grid.shape, np.uint8, order="F") for _ in range(4))
        # leads are in 255ths; what the mask was before clicks is the base
        self._classes, self._lead, self._base, self._base_lead = blank
        self._ranges = [range_of(image) for image in images]
        self._clicks: tuple[Click, ...] = ()
        self._past: list[_Past] = []
        self._now = key_of(())
        self._answered: set[int] = set()
        self._modelled = False
        if prior is not None:
            self._reset()

    def _reset(self) -> None:
        self._past, self._clicks = [], ()
        self._modelled = self._prior is not None  # the base is what the model says, in full
        for array in (self._classes, self._lead, self._base, self._base_lead):
            array[:] = 0
        if self._prior is not None:
            self._found(self._whole, self._prior)

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
        self._past, self._clicks, self._modelled = [], (), False
        for kept, lead in ((self._classes, self._lead), (self._base, self._base_lead)):
            kept[:], lead[:] = classes, 255

    def answer(self, hints: Sequence[Hint], around: Window | None) -> tuple[Window | None, str]:
        """Change the mask where hints came or went.

        Args:
            hints: All of the case, on the grid of the images.
            around: Voxels at which some came or went; None means everywhere.

        Returns:
            The box of voxels that may have changed, and what a person should know of it.
        """
        now, told = key_of(hints), {key_of((hint,)) for hint in hints}
        if around is None:
            note = self._begin(hints)
            self._now, self._answered = now, told
            return self._whole, note
        if self._past and self._past[-1].hints == now:
            past = self._past.pop()
            self._classes[past.window], self._lead[past.window] = past.classes, past.lead
            if past.base is not None:
                self._base[past.window], self._base_lead[past.window] = past.base
            self._clicks, self._now, self._answered = past.clicks, now, told
            return past.window, ""
        gone = [click for click in self._clicks if click.key not in told]
        new = [hint for hint in single_clicks(hints) if key_of((hint,)) not in self._answered]
        if gone or len(new) != 1 or not meets(self._voxel(new[0]), around):
            return self._answer_others(hints, around, gone)
        click = self._click_of(new[0])
        self._remember(click.window, base=False)
        self._now, self._answered = now, told
        self._clicks = (*self._clicks, click)
        self._show(click.window, hints)
        return click.window, ""

    def _begin(self, hints: Sequence[Hint]) -> str:
        """Answer the hints of a case that is opened, a few clicks one by one.

        Returns:
            What a person should know of it.
        """
        self._reset()
        clicks = single_clicks(hints)
        alone = clicks if len(clicks) <= _REPLAYED else []
        keys = {key_of((hint,)) for hint in alone}
        others = [hint for hint in hints if key_of((hint,)) not in keys]
        note = self._propagate_all(others) if hinted_box(others, self._grid) else ""
        for number, hint in enumerate(alone, 1):
            click = self._click_of(hint)
            self._clicks = (*self._clicks, click)
            self._show(click.window, [*others, *alone[:number]])
        return note

    def _propagate_all(self, hints: Sequence[Hint]) -> str:
        hinted = hinted_box(hints, self._grid) or self._whole
        caps = self._caps(hints, hinted)
        reach = max(caps.values())
        step = step_for(self._grid, reach, _BUDGET)
        parts = tiles(grown(hinted, reach, self._grid), reach, step, self._grid, _MOST)
        notes = {self._propagate(part, hints, caps, step) for part in parts}
        return "; ".join(sorted(notes - {""}))

    def _answer_others(
        self, hints: Sequence[Hint], around: Window, gone: Sequence[Click]
    ) -> tuple[Window, str]:
        """Answer hints that are no new click, or that were taken back.

        Returns:
            As `answer` does.
        """
        self._clicks = tuple(click for click in self._clicks if click not in gone)
        keys = {click.key for click in self._clicks}
        others = [hint for hint in hints if key_of((hint,)) not in keys]
        window, note = union(around, *(click.window for click in gone)), ""
        if gone:
            self._remember(window, base=False)
        else:
            caps = self._caps(others, hinted_box(others, self._grid))
            reach = max(caps.values())
            window = grown(window, reach, self._grid)
            self._remember(window, base=True)
            step = step_for(self._grid, reach, _BUDGET)
            note = self._propagate(window, others, caps, step)
        self._now, self._answered = key_of(hints), {key_of((hint,)) for hint in hints}
        self._show(window, hints)
        return window, note

    def _remember(self, window: Window, *, base: bool) -> None:
        arrays = (self._classes, self._lead, self._base, self._base_lead)
        classes, lead, *kept = (array[window].copy() for array in arrays)
        was = (kept[0], kept[1]) if base else None
        self._past.append(_Past(self._now, window, classes, lead, was, self._clicks))
        room = _REMEMBERED
        for number, past in reversed(list(enumerate(self._past))):
            room -= (2 if past.base is None else 4) * past.classes.size
            if room < 0:
                self._past = self._past[number + 1 :]
                break

    def _voxel(self, click: Points) -> tuple[int, int, int]:
        i, j, k = (int(n) for n in nearest_voxels(self._grid, click.positions_mm)[:, 0])
        return i, j, k

    def _click_of(self, hint: Points) -> Click:
        """Return a click with its bell."""
        voxel, number, reach = self._voxel(hint), self._labels.number(hint.label), self._reach
        step = step_for(self._grid, reach, _BUDGET)
        coarse = Coarse.of(self._grid, bell_window(voxel, self._grid, reach, step), step)
        wide = {"width_mm": self._width(voxel, number, reach), "reach_mm": reach}
        bell = bell_of(self._images, coarse, voxel, ranges=self._ranges, **wide)
        return Click(key_of((hint,)), number, voxel, coarse.window, bell)

    @property
    def _reach(self) -> float:
        """Return how far a click speaks at most, in mm."""
        return self._config.scale_mm or _SPOKEN * self._first

    def _width(self, voxel: tuple[int, int, int], number: int, reach_mm: float) -> float:
        """Return how wide a click speaks: people click in the middle of what is wrong.

        So the border of the mask lies about as far from it as the other end of what is wrong. All
        of the reach where no mask is near.
        """
        window = grown(box_of(voxel), reach_mm, self._grid)
        part, there = self._classes[window], self._classes[voxel]
        border = part != there if there == number or number == 0 else part == number
        if not border.any():
            return reach_mm
        away = ndimage.distance_transform_edt(~border, self._grid.spacing_mm)
        at = tuple(n - w.start for n, w in zip(voxel, window, strict=True))
        return min(max(_WIDTH * float(away[at]), _LEAST_MM), reach_mm)

    def _show(self, window: Window, hints: Sequence[Hint]) -> None:
        """Make the mask of a window from its base and all clicks."""
        if not self._clicks:
            self._classes[window], self._lead[window] = self._base[window], self._base_lead[window]
            return
        base = np.stack([self._scores(box_of(c.voxel)) for c in self._clicks])
        step = step_for(self._grid, self._reach, _BUDGET)
        weights = weights_of(self._clicks, base[..., 0, 0, 0].astype(np.float64), step)
        i, j, k = (slice(w.start // s * s, w.stop) for w, s in zip(window, step, strict=True))
        begun = (i, j, k)
        more = scores_in(Coarse.of(self._grid, begun, step), self._clicks, weights)
        if max(step) == 1:
            sigma = _SMOOTH * self._grid.spacing_mm.min() / self._grid.spacing_mm
            more = np.stack([ndimage.gaussian_filter(one, sigma) for one in more])
        scores = self._scores(begun) + more
        shown = self._base[begun] == np.arange(len(scores))[:, None, None, None]
        for click in self._clicks:
            if meets(click.voxel, begun):
                at = [n - w.start for n, w in zip(click.voxel, begun, strict=True)]
                shown[(click.number, *at)] = True
        show_ends(shown, self._classes, begun)
        self._put(begun, rooted(self._respecting(scores, begun, hints), shown))

    def _scores(self, window: Window) -> Float32[np.ndarray, "class i j k"]:
        """Return the scores of the classes before any click."""
        if self._modelled and self._prior is not None:
            return self._prior[(slice(None), *window)].astype(np.float32)
        lead = self._base_lead[window] / np.float32(255)
        scores = np.zeros((len(self._labels.names), *lead.shape), np.float32)
        np.put_along_axis(
            scores,
            self._base[window][None].astype(np.int64),
            (_GROUND + (1 - _GROUND) * lead)[None],
            0,
        )
        return scores

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
        return {name: max(cap, self._first) for name, cap in caps.items()}

    @property
    def _first(self) -> float:
        """Return how far hints reach at least, in mm: people hint where the mask is wrong."""
        field = float(np.linalg.norm(np.array(self._grid.shape) * self._grid.spacing_mm))
        return min(_FIRST * field, _FIRST_MM)

    def _propagate(
        self,
        inner: Window,
        hints: Sequence[Hint],
        caps: Mapping[str, float],
        step: tuple[int, int, int],
    ) -> str:
        """Propagate hints over a window, hints around it included: the base of the mask.

        Returns:
            What a person should know of it.
        """
        outer = grown(inner, max(caps.values()), self._grid)
        more = coarser_by(outer, step, _MOST)
        step = (step[0] * more, step[1] * more, step[2] * more)
        coarse = Coarse.of(self._grid, outer, step)
        constraints = self._constraints(coarse, hints)
        images = [Volume(coarse.mean(i.voxels), coarse.grid, i.unit) for i in self._images]
        prior = None
        if self._prior is not None:
            prior = np.stack([coarse.mean(each) for each in self._prior])
        model = None if prior is None else doubted(prior, constraints, max(caps.values()))
        soft = propagate_hints(
            constraints,
            images,
            self._labels,
            caps_mm=caps,
            config=self._config,
            prior=model,
            within=_WITHIN,
        )
        chances = chances_of(soft, prior)
        if prior is None:
            chances = rooted(chances, (constraints.proven > 0.5) | (constraints.likely > 0))
        chances = coarse.fine(chances)
        shift = tuple(
            slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
        )
        chances = chances[(slice(None), *shift)]
        if max(step) > 1:
            chances = self._respecting(chances, inner, hints)
        self._modelled = False  # what the model says here was taken into account
        self._found(inner, chances)
        return "coarse, as the hint reaches far" if more > 1 else ""

    def _constraints(self, coarse: Coarse, hints: Sequence[Hint]) -> Constraints:
        near = [h for hint in hints for h in within(hint, coarse)]
        near += ruled_out(hints, near)
        return constraints_of(coarse.grid, near, self._labels)

    def _respecting(
        self, chances: Float32[np.ndarray, "class i j k"], inner: Window, hints: Sequence[Hint]
    ) -> Float32[np.ndarray, "class i j k"]:
        """Return chances in which what hints prove holds voxel by voxel."""
        constraints = self._constraints(Coarse.of(self._grid, inner, (1, 1, 1)), hints)
        held = np.where(constraints.possible > 0, chances, 0)
        held[0] += 1e-6  # where nothing is left, nothing but background was shown
        return np.where(constraints.proven > 0.5, 1 + constraints.proven, held).astype(np.float32)

    def _found(self, window: Window, chances: Float32[np.ndarray, "class i j k"]) -> None:
        """Make chances the base of the mask, and the mask."""
        self._put(window, chances)
        self._base[window], self._base_lead[window] = self._classes[window], self._lead[window]

    def _put(self, window: Window, chances: Float32[np.ndarray, "class i j k"]) -> None:
        self._classes[window] = chances.argmax(0)
        ordered = np.partition(chances, -2, axis=0)
        lead = np.clip(ordered[-1] - ordered[-2], 0, 1)
        self._lead[window] = (255 * lead).astype(np.uint8)
