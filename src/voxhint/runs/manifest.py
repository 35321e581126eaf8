"""The manifest of an output folder: what made it, from what, with which settings."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError, OutputError
from voxhint.files.atomic import MADE
from voxhint.files.dataset_json import NAME, read_object
from voxhint.files.datasets.luna16 import image_files
from voxhint.files.hashing import hash_of

STARTED = ".job.json"
"""Lies in a folder in progress: what `made.json` will say of its input."""

_DECIDING = ("verb", "config", "seed", "inputs")
_NAMED = 4  # how many changes a line tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What decides the content of an output folder."""

    verb: str
    config: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, str] = field(default_factory=dict)
    """A hash for each part of the input, by name."""

    def without(self, names: Iterable[str]) -> "Manifest":
        """Return the same without some inputs."""
        left = {name: self.inputs[name] for name in self.inputs.keys() - {*names}}
        return dataclasses.replace(self, inputs=left)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; of files anywhere on this machine the names alone."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {**plain, "config": _nameless(plain["config"])}


def _nameless(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _nameless(value)
        if isinstance(value, Mapping)
        else (Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value)
        for name, value in values.items()
    }


def is_started(out: Path) -> bool:
    """Return whether work was begun or done in a folder, so that its input was looked over."""
    return any((out / name).is_file() for name in (MADE, STARTED))


def read_made(out: Path) -> dict[str, Any]:
    """Read what a complete folder says of itself.

    Returns:
        The content of `made.json`.

    Raises:
        OutputError: There is none, or it is damaged.
    """
    try:
        return read_object(out / MADE, exact=True)
    except BadFileError:
        msg = f"{out}: holds no complete result of voxhint; make it first"
        raise OutputError(msg) from None


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Read what a folder says of itself, complete or in progress.

    Returns:
        The content of `made.json` or of what stands for it; None if there is neither.

    Raises:
        OutputError: It is damaged.
    """
    for name in (MADE, STARTED):
        if (out / name).is_file():
            try:
                return read_object(out / name, exact=True)
            except BadFileError:
                msg = f"{out / name}: damaged; remove the folder and start again"
                raise OutputError(msg) from None
    return None


def changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs between two manifests, such as `config.train.steps`."""
    flat, flatter = _flat(found), _flat(wanted)
    return sorted(
        key
        for key in flat.keys() | flatter.keys()
        if key.split(".")[0] in _DECIDING and flat.get(key) != flatter.get(key)
    )


def require_unchanged(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with other input or other settings.

    Raises:
        OutputError: Something differs.
    """
    changed = changes(found, wanted)
    if changed:
        was, now = _flat(found), _flat(wanted)
        told = [
            key if key.startswith("inputs.") else f"{key} (was {was.get(key)}, is {now.get(key)})"
            for key in changed[:_NAMED]
        ]
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        msg = (
            f"{out}: was begun with another {', '.join(told)}{more}; "
            "choose another folder, or --overwrite"
        )
        raise OutputError(msg)


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat


def study_inputs(study: Path, parts: Iterable[str]) -> dict[str, str]:
    """Return a hash for each named part of a study that is there.

    Args:
        study: The study folder; in LUNA16's layout its scans stand for `imagesTr`.
        parts: Files and folders in it.
    """
    found = {part: hash_of([study / part]) for part in parts if (study / part).exists()}
    if "imagesTr" in parts and not (study / NAME).exists():
        found["imagesTr"] = hash_of(image_files(study))
    return found
