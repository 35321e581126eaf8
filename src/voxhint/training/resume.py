"""Checkpoints that a killed run goes on from, to the very same end."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import torch

from voxhint.core.errors import BadFileError, OutputError

_KIND = "voxhint training state 2"
_FULL = "inline_container"  # the part of torch that complains when a disk takes no more


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that the old one stays whole until the new one is.

    Raises:
        OutputError: The disk is full, or the place may not be written.
        RuntimeError: Of torch, for another reason.
    """
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save({"kind": _KIND, "state": state, "digest": _digest(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(_unwritten(path, error.strerror or str(error))) from error
    except RuntimeError as error:
        if _FULL in str(error):
            raise OutputError(_unwritten(path, "the disk took only a part")) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def _unwritten(path: Path, reason: str) -> str:
    return f"{path}: cannot be written ({reason}); free space, then start again"


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
        msg = f"{path.name}: damaged checkpoint ({type(error).__name__}); training begins anew"
        raise BadFileError(msg) from None
    if not isinstance(saved, dict) or saved.get("kind") != _KIND:
        msg = f"{path.name}: no checkpoint of this version; training begins anew"
        raise BadFileError(msg)
    state: dict[str, Any] = saved["state"]
    if saved.get("digest") != _digest(state):  # torch does not look at checksums
        msg = f"{path.name}: damaged checkpoint (other content than was written); training begins "
        msg += "anew"
        raise BadFileError(msg)
    return state


def _digest(state: object) -> str:
    digest = hashlib.sha256()
    _add(digest, state)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", value: object) -> None:
    """Add a value: the bytes of tensors, the text of what is plain, and how they are nested."""
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        digest.update(f"{len(value)} named\n".encode())
        for name, part in value.items():
            digest.update(f"{name!r}\n".encode())
            _add(digest, part)
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} in a row\n".encode())
        for part in value:
            _add(digest, part)
    else:
        digest.update(f"{value!r}\n".encode())
