"""Checkpoints that a killed run goes on from, to the very same end."""

import os
from pathlib import Path
from typing import Any

import torch

from voxhint.core.errors import BadFileError

_KIND = "voxhint training state 1"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that the old one stays whole until the new one is."""
    partial = path.with_name(f".{path.name}.partial")
    torch.save({"kind": _KIND, "state": state}, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Args:
        path: What `save_state` wrote.

    Returns:
        The state, or None if there is no such file.

    Raises:
        BadFileError: The file is damaged or was not written by us.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  # torch raises many kinds for a damaged file
        msg = f"{path}: damaged checkpoint ({type(error).__name__}); remove it to train anew"
        raise BadFileError(msg) from None
    if not isinstance(saved, dict) or saved.get("kind") != _KIND:
        msg = f"{path}: no checkpoint of this version; remove it to train anew"
        raise BadFileError(msg)
    state: dict[str, Any] = saved["state"]
    return state
