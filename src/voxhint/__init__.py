"""Hints in, voxels out: weak labels on 3D medical images become masks and models.

    import voxhint as vh

    image = vh.read_image("scan.nii.gz")
    soft = vh.soft_label(image, [vh.Points("liver", [[10, 20, 30]])], ["liver"])
    vh.show(image, soft)

`vh.run` goes from a study folder to masks and a report; `vh.Model.load` opens what it trained.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from voxhint.api.hints import Box, Diameter, Points, Scribbles, Tag
    from voxhint.api.images import read_image
    from voxhint.api.label import soft_label
    from voxhint.api.model import Model, run, train
    from voxhint.api.show import show
    from voxhint.config import LabelConfig, Machine, PredictConfig, Recipe, TrainConfig
    from voxhint.core import Mask, SoftLabel, Volume, VoxhintError

_WHERE = {
    "voxhint.api.hints": ("Box", "Diameter", "Points", "Scribbles", "Tag"),
    "voxhint.api.images": ("read_image",),
    "voxhint.api.label": ("soft_label",),
    "voxhint.api.model": ("Model", "run", "train"),
    "voxhint.api.show": ("show",),
    "voxhint.config": ("LabelConfig", "Machine", "PredictConfig", "Recipe", "TrainConfig"),
    "voxhint.core": ("Mask", "SoftLabel", "Volume", "VoxhintError"),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "Box",
    "Diameter",
    "LabelConfig",
    "Machine",
    "Mask",
    "Model",
    "Points",
    "PredictConfig",
    "Recipe",
    "Scribbles",
    "SoftLabel",
    "Tag",
    "TrainConfig",
    "Volume",
    "VoxhintError",
    "__version__",
    "read_image",
    "run",
    "show",
    "soft_label",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Return a name, loaded when first asked for, so that importing voxhint stays instant.

    Raises:
        AttributeError: There is no such name.
    """
    if name == "__version__":
        from importlib.metadata import version

        return version("voxhint")
    if name not in _MODULES:
        msg = f"module 'voxhint' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
