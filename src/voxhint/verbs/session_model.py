"""The model of a session, asked when a case is opened that no masks were predicted of."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from voxhint.config import Machine, PredictConfig
from voxhint.core import LabelSet, Volume
from voxhint.core.errors import BadFileError
from voxhint.core.volume import STEPS, with_background

if TYPE_CHECKING:
    from voxhint.verbs.mask_maker import MaskMaker


class SessionModel:
    """Opens the model of a run once, and asks it.

    Args:
        labels: Of the study; a model of others is not asked.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._opened: tuple[Path, MaskMaker | None] | None = None

    def ask(
        self, run: Path, images: Mapping[str, Volume]
    ) -> Float32[np.ndarray, "class i j k"] | None:
        """Return what the model says of an image.

        Args:
            run: What `voxhint run` or `train` wrote, or masks alone.
            images: By channel, on one grid.

        Returns:
            Probabilities on that grid; None without a model of these labels and channels.
        """
        if self._opened is None or self._opened[0] != run:
            self._opened = run, self._open(run)
        maker = self._opened[1]
        if maker is None or not set(maker.model.plan.channels) <= set(images):
            return None
        from voxhint.verbs.predict import image_chances

        made = maker.predict(maker.prepare(images), image_chances(maker, images))
        said = [made.probability(n) for n in range(1, len(self._labels.names))]
        return with_background(np.stack(said) / STEPS)

    def _open(self, run: Path) -> "MaskMaker | None":
        from voxhint.models.device import open_fabric
        from voxhint.models.folder import open_model, plan_of
        from voxhint.verbs.mask_maker import MaskMaker

        try:
            if plan_of(run).labels != self._labels:
                return None
        except BadFileError:  # masks alone
            return None
        model = open_model(run, open_fabric(Machine()))
        return MaskMaker.of(model, PredictConfig(probabilities=True), 0)
