"""Where the study of a run lies, told without the names of folders that say whose it is."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from voxhint.core.errors import OutputError
from voxhint.files.atomic import write_text
from voxhint.files.hashing import cache_folder


def told_place(study: Path, out: Path) -> str:
    """Return how a run calls its study: the way from one to the other, or the study's name alone.

    The way is told where both lie in one folder below the root, and it does not lead through the
    user's home from outside.
    """
    source, made = study.resolve(), out.resolve()
    try:
        both = Path(os.path.commonpath([source, made]))
        home = Path.home().resolve()
    except (ValueError, RuntimeError):  # two drives; no home
        return source.name
    through_home = home != both and both in home.parents and source.is_relative_to(home)
    if both == Path(both.anchor) or through_home:
        return source.name
    return Path(os.path.relpath(source, made)).as_posix()


def remember_place(study: Path, inputs: Mapping[str, str]) -> None:
    """Keep where a study lies in the user's cache, if there can be one.

    Args:
        study: The study folder.
        inputs: Its hashes, as a run's `made.json` has them.
    """
    with suppress(OSError, RuntimeError, OutputError):
        write_text(_entry(inputs), f"{study.resolve()}\n")


def find_study(run: Path, made: Mapping[str, Any]) -> Path | None:
    """Return where the study of a run lies.

    Args:
        run: The run's folder.
        made: Its `made.json`.

    Returns:
        A folder that is there, or None.
    """
    told, inputs = made.get("study"), made.get("inputs")
    if not isinstance(told, str):
        return None
    places = [run / told] if told != Path(told).name else []
    if isinstance(inputs, dict):
        with suppress(OSError, RuntimeError, ValueError):
            places.append(Path(_entry(inputs).read_text("utf-8").strip()))
    return next((place for place in places if place.is_dir()), None)


def _entry(inputs: Mapping[str, Any]) -> Path:
    text = json.dumps(inputs, sort_keys=True)
    return cache_folder() / "studies" / hashlib.sha256(text.encode()).hexdigest()
