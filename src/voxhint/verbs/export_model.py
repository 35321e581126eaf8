"""Export of a model as one file that `predict` takes, with a card of what it learnt from."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxhint.classify.classifier import CLASSIFIER
from voxhint.core.errors import BadFileError, NotAvailableError
from voxhint.files.atomic import MADE, write_text
from voxhint.files.dataset_json import NAME, read_object
from voxhint.files.hashing import files_below
from voxhint.files.zip_archives import pack
from voxhint.models.folder import CALIBRATION, PLAN, WEIGHTS, plan_of
from voxhint.models.single_file import CARD, SUFFIX, card_text
from voxhint.prepare import Plan
from voxhint.runs import read_made
from voxhint.runs.study_path import find_study
from voxhint.runs.study_unchanged import require_made_here
from voxhint.verbs.export_source import Job

_PAGE = "CARD.md"
_FRONT = """---
library_name: voxhint
pipeline_tag: image-segmentation
license: other
tags: [medical]
---
"""
_PARTS = (PLAN, WEIGHTS, CALIBRATION, MADE)
_UNKNOWN = "not told; write it into dataset.json of the study as `licence`"
_SCORED = ("mean", "low", "high", "subjects")


def write_model(job: Job) -> tuple[str, ...]:
    """Write the model of a run as one file, and its card beside it.

    Args:
        job: What is to be handed on.

    Returns:
        What the card cannot say.
    """
    folder = model_folder(job.run)
    card = card_of(job.run, job.name)
    files = {name: (folder / name).read_bytes() for name in _PARTS if (folder / name).is_file()}
    for path in files_below(folder / CLASSIFIER) if (folder / CLASSIFIER).is_dir() else ():
        files[path.relative_to(folder).as_posix()] = path.read_bytes()
    page = card_text(card, f"voxhint predict {job.name}{SUFFIX} IMAGES --out MASKS")
    files |= {CARD: json.dumps(card, indent=1, ensure_ascii=False).encode(), _PAGE: page.encode()}
    pack(job.folder / f"{job.name}{SUFFIX}", files)
    write_text(job.folder / _PAGE, page)
    told = [f"licence of the data is {_UNKNOWN}"] if card["data"]["licence"] == _UNKNOWN else []
    return tuple(told)


def push_model(folder: Path, repository: str) -> str:
    """Push a model to the Hugging Face hub, into a repository that is private at first.

    Args:
        folder: What `write_model` filled.
        repository: Owner and name, such as clinic/liver.

    Returns:
        Where it is.

    Raises:
        NotAvailableError: The extra is not installed, or the hub does not take it.
    """
    require_hub()
    from huggingface_hub import CommitOperationAdd, HfApi

    (model,) = folder.glob(f"*{SUFFIX}")
    page = _FRONT + (folder / _PAGE).read_text("utf-8")
    files = [
        CommitOperationAdd(path_in_repo=model.name, path_or_fileobj=str(model)),
        CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=page.encode()),
    ]
    try:
        api = HfApi()
        place = api.create_repo(repository, private=True, exist_ok=True)
        api.create_commit(place.repo_id, files, commit_message=f"Model of {model.stem}")
    except (OSError, ValueError) as error:  # what its own errors derive from
        msg = (
            f"the hub does not take {repository} ({type(error).__name__}); the model lies in "
            f"{folder}: log in with hf auth login, and push it again"
        )
        raise NotAvailableError(msg) from None
    return str(place.url)


def require_hub() -> None:
    """Refuse to go on without the package that pushes.

    Raises:
        NotAvailableError: It is not installed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        msg = 'pushing needs an extra: pip install "voxhint[hub]", or use --to folder'
        raise NotAvailableError(msg)


def model_folder(run: Path) -> Path:
    """Return the folder of a run's model.

    Args:
        run: What `voxhint run` wrote.

    Raises:
        BadFileError: The run holds no model.
    """
    folder = run / "model"
    if not (folder / PLAN).is_file():
        msg = f"{run}: holds no model; name what voxhint run wrote"
        raise BadFileError(msg)
    require_made_here(run, "model")
    return folder


def card_of(run: Path, name: str) -> dict[str, Any]:
    """Return what a person should know before using a model.

    Args:
        run: What `voxhint run` wrote.
        name: What the model is to be called.

    Returns:
        Plain values: labels, data and its licence, hints, scores with intervals, limits.
    """
    made, plan = read_made(run), plan_of(run)
    study = find_study(run, made)
    described = study / NAME if study is not None else run / NAME
    about = read_object(described) if described.is_file() else {}
    licence = about.get("licence") or about.get("license") or _UNKNOWN
    trained = read_made(run / "model")
    return {
        "name": name,
        "made_with": f"voxhint {made.get('versions', {}).get('voxhint', '')}".strip(),
        "labels": [*plan.labels.foreground],
        "channels": [*plan.channels],
        "data": {"training": made.get("cases", {}).get("training"), "licence": str(licence)},
        "hints": made.get("hints", {}),
        "weights": _began_with(run),
        "scores": _scores(run),
        "limits": [*_limits(plan, trained)],
        "sha256": trained.get("weights", ""),
    }


def _began_with(run: Path) -> dict[str, str]:
    """Return public weights that had a part in the labels, and their licences."""
    path = run / "labels" / MADE
    told = read_object(path).get("weights") if path.is_file() else None
    each = told.values() if isinstance(told, dict) else ()
    return {str(one["name"]): str(one["licence"]) for one in each if isinstance(one, dict)}


def _scores(run: Path) -> dict[str, dict[str, float]]:
    """Return the mean Dice of each label and its interval, if truth was measured against."""
    path = run / "scores.json"
    labels = read_object(path).get("labels", {}) if path.is_file() else {}
    return {
        label: {key: measures["dice"][key] for key in _SCORED}
        for label, measures in labels.items()
        if measures.get("dice", {}).get("mean") is not None
    }


def _limits(plan: Plan, trained: Mapping[str, Any]) -> list[str]:
    spacing = " x ".join(f"{step:.3g}" for step in plan.spacing_mm)
    patch = " x ".join(map(str, plan.patch))
    return [
        "For research; it is no medical device, and was tested for no patient.",
        f"Sees voxels of {spacing} mm in patches of {patch}; finer detail is lost to it.",
        f"Learnt in {trained.get('steps')} steps; images of other scanners, protocols or patients "
        "than it learnt from may get other masks: measure on your own first.",
        "Labels that hints named in some images alone may be missed in others.",
    ]
