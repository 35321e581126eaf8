"""`voxhint info`: what a study, a model or a run is of, for people and other programs."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadStudyError
from voxhint.core.labels import LabelSet
from voxhint.files.dataset_json import NAME
from voxhint.files.datasets.luna16 import NAME as LUNA16
from voxhint.files.validate.study import survey
from voxhint.runs.manifest import read_manifest


def info(place: Path) -> dict[str, Any]:
    """Return what a folder is of, in values that JSON knows.

    Args:
        place: A study, a model folder, a file of `export --to folder`, or a run.

    Returns:
        `kind` (study, model or run), `voxhint` (the version that answers), `channels`,
        `optional_channels`, `labels` (their ids by name); of a study how many cases and hints it
        holds, of a model or run `made_by` (a version), `network` and `spacing_mm`.

    Raises:
        BadStudyError: It is a study that cannot be read.
    """
    of_study = any((place / name).exists() for name in (NAME, LUNA16))
    told = _study(place) if of_study else _model(place)
    return {"kind": told.pop("kind"), "voxhint": version("voxhint"), **told}


def _study(root: Path) -> dict[str, Any]:
    seen = survey(root)
    if seen.study is None:
        raise BadStudyError("\n".join(map(str, seen.problems)))
    study = seen.study
    return {
        "kind": "study",
        "channels": list(study.channels),
        "optional_channels": list(study.optional_channels),
        "labels": _ids(study.labels),
        "training": len(study.training),
        "test": len(study.test),
        "hints": study.hint_kinds(),
    }


def _model(place: Path) -> dict[str, Any]:
    from voxhint.models.folder import plan_of  # torch is loaded for models alone
    from voxhint.models.single_file import unpacked

    with unpacked(place) as folder:
        plan = plan_of(folder)
        made = read_manifest(folder) or {}
    return {
        "kind": "run" if made.get("verb") == "run" else "model",
        "made_by": (made.get("versions") or {}).get("voxhint"),
        "channels": list(plan.channels),
        "optional_channels": list(plan.optional_channels),
        "labels": _ids(plan.labels),
        "network": plan.network,
        "spacing_mm": list(plan.spacing_mm),
    }


def _ids(labels: LabelSet) -> dict[str, int]:
    return dict(zip(labels.names, labels.ids, strict=True))
