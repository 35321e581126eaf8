"""Whether a label is bright or dark: the two kinds of tissue in the images of a study."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32
from skimage.filters import threshold_otsu

if TYPE_CHECKING:  # who needs a contrast alone loads no training
    from voxhint.training import TaggedImage

_Map = Float32[np.ndarray, "i j k"]
_SAMPLES = 400  # voxels of each image that decide what is dense
_LOOKS = 40  # images that decide whether a label is bright or dark


@dataclass(frozen=True, slots=True)
class Contrast:
    """The two kinds of tissue in the images of a study, in prepared units.

    What a label looks like is told by the sign: tissue that speaks for it is brighter than its
    surround, or darker.
    """

    low: float
    """Mean of the darker kind, or of the brighter one where the label is dark."""

    high: float

    @property
    def span(self) -> float:
        """Return the difference, negative where the label is dark."""
        return self.high - self.low

    def of(self, image: _Map) -> _Map:
        """Return the image as 0 (surround) to 1 (what the label is made of) and beyond."""
        return np.asarray((image - self.low) / self.span, np.float32)


def learn_contrast(
    tagged: Sequence["TaggedImage"],
    number: int,
    saliency: Callable[[Float32[np.ndarray, "channel i j k"]], _Map],
    rng: np.random.Generator,
) -> Contrast:
    """Return the two kinds of tissue in the images, the surround of the label first.

    Otsu's threshold parts the voxels of the first channel. The label is of the kind that the
    saliency in images tagged present prefers.

    Args:
        tagged: Training images.
        number: Of the label, in their tags.
        saliency: Shows where in an image the label is seen.
        rng: Chooses voxels.
    """
    values = np.concatenate(
        [rng.choice(np.asarray(i.image[0], np.float32).ravel(), _SAMPLES) for i in tagged]
    )
    border = float(threshold_otsu(values))  # type: ignore[no-untyped-call]
    low, high = float(values[values <= border].mean()), float(values[values > border].mean())
    shown = [image for image in tagged if any(bag.states[number] > 0 for bag in image.bags)]
    brighter = []
    for image in shown[:: max(1, -(-len(shown) // _LOOKS))]:
        prepared = np.asarray(image.image, np.float32)
        found = np.maximum(saliency(prepared), 0)
        if found.sum() > 0:
            seen = float((found * prepared[0]).sum() / found.sum())
            brighter.append(seen > float(np.median(prepared[0])))
    return Contrast(low, high) if np.mean(brighter or [True]) >= 0.5 else Contrast(high, low)
