"""Hints in, voxels out: weak labels on 3D medical images become masks and models."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxhint.core import *  # noqa: F403


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Return a name of `voxhint.core`, loaded when first asked for, so that help stays instant.

    Raises:
        AttributeError: There is no such name.
    """
    core = import_module("voxhint.core")
    if name not in core.__all__:
        msg = f"module 'voxhint' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(core, name)
