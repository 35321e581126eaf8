"""Write a study of invented abdomens: for demonstrations, tests and first steps."""

from pathlib import Path
from typing import Literal

import numpy as np

from voxhint.core import Case
from voxhint.core.errors import BadRecipeError
from voxhint.files.atomic import write_json, write_text
from voxhint.files.images import write_ids, write_image
from voxhint.simulate.hints import HintRequest, parse_request
from voxhint.simulate.phantom import ORGANS, organ_case
from voxhint.verbs.folders import MADE, building
from voxhint.verbs.simulate import HintWriter, SimulateSummary, made_by

Channel = Literal["CT", "MR"]


def write_phantom_study(
    out: Path,
    *,
    cases: int = 8,
    test_cases: int = 4,
    hints: tuple[str, ...] = ("points:20", "scribbles"),
    seed: int = 0,
    channels: tuple[Channel, ...] = ("CT",),
) -> SimulateSummary:
    """Write a study folder of abdomens with four labelled organs.

    Args:
        out: The new study; must not hold anything yet.
        cases: Training cases: hints in `hints`, truths in `denseTr`.
        test_cases: Cases to predict: images in `imagesTs`, truths in `labelsTs`.
        hints: Kinds such as `points:20`; the training cases get them in turn.
        seed: Same seed, same study.
        channels: `CT`, `MR` or both, in the order of the channels.

    Returns:
        What was written.
    """
    requests = tuple(parse_request(hint) for hint in hints)
    _require_some(cases, test_cases, requests, channels)
    names = [f"organs_{number:03d}" for number in range(1, cases + test_cases + 1)]
    with building(out) as folder:
        writer = HintWriter(folder, ORGANS, seed)
        for number, name in enumerate(names):
            # the hints have their own generator: other hints, same patients
            case = organ_case(np.random.default_rng([seed, number]), name=name)
            _write_case(folder, case, channels, training=number < cases)
            if number < cases and case.truth is not None:
                writer.add(name, case.truth, requests[number % len(requests)])
        seconds, dense_seconds = writer.finish()
        _describe(folder, names, cases, channels)
        settings = {
            "cases": cases,
            "test_cases": test_cases,
            "hints": [request.text for request in requests],
            "seed": seed,
            "channels": channels,
        }
        write_json(folder / MADE, made_by("phantom study", settings, {}))
    return SimulateSummary(out, cases, seconds, dense_seconds)


def _require_some(
    cases: int,
    test_cases: int,
    requests: tuple[HintRequest, ...],
    channels: tuple[Channel, ...],
) -> None:
    """Refuse a study without cases, hints or channels.

    Raises:
        BadRecipeError: Something is missing.
    """
    if cases < 1 or test_cases < 0:
        msg = f"{cases} training and {test_cases} test cases; use at least 1 and 0"
        raise BadRecipeError(msg)
    if not requests:
        msg = "no kind of hint is given; name at least one, such as points:20"
        raise BadRecipeError(msg)
    if not channels or len(set(channels)) < len(channels):
        msg = f"channels are '{', '.join(channels)}'; use CT, MR or both"
        raise BadRecipeError(msg)


def _write_case(folder: Path, case: Case, channels: tuple[Channel, ...], *, training: bool) -> None:
    images = folder / ("imagesTr" if training else "imagesTs")
    truths = folder / ("denseTr" if training else "labelsTs")
    for number, channel in enumerate(channels):
        write_image(images / f"{case.name}_{number:04d}.nii.gz", case.images[channel])
    if case.truth is not None:
        write_ids(truths / f"{case.name}.nii.gz", case.truth.ids, case.truth.grid)


def _describe(folder: Path, names: list[str], cases: int, channels: tuple[Channel, ...]) -> None:
    """Write dataset.json and cases.csv."""
    spec = {
        "channel_names": {str(number): channel for number, channel in enumerate(channels)},
        "labels": dict(zip(ORGANS.names, ORGANS.ids, strict=True)),
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", spec)
    rows = [f"{name},{name.replace('organs', 'patient')}" for name in names]
    write_text(folder / "cases.csv", "\n".join(["case,subject", *rows]) + "\n")
