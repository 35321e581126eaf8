"""Write a study of invented patients: for demonstrations, tests and first steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from voxhint.core import Case, LabelSet
from voxhint.core.errors import BadRecipeError
from voxhint.files.atomic import write_json, write_text
from voxhint.files.images import write_ids, write_image
from voxhint.runs import MADE, atomic_folder
from voxhint.simulate.abdomen_phantom import ORGANS, organ_case
from voxhint.simulate.hints import HintRequest, parse_request
from voxhint.simulate.lung_phantom import NODULE, Patient, lung_case
from voxhint.simulate.neck_phantom import TUMOUR, tumour_case
from voxhint.verbs.simulate import HintWriter, SimulateSummary, made_by

_Channel = Literal["CT", "MR"]
_Kind = Literal["organs", "lung", "two-modality"]

_LABELS: Mapping[_Kind, LabelSet] = {"organs": ORGANS, "lung": NODULE, "two-modality": TUMOUR}
_HINTS: Mapping[_Kind, tuple[str, ...]] = {
    "organs": ("points:20", "scribbles"),
    "lung": ("tags",),
    "two-modality": ("scribbles",),
}
_CHANNELS: Mapping[_Kind, tuple[_Channel, ...]] = {
    "organs": ("CT",),
    "lung": ("CT",),
    "two-modality": ("CT", "MR"),
}
_WINDOWS = 3  # of one patient's lung
_THICK_MM = (0.625, 1.0, 1.25, 2.5)  # distances of slices in use
_WINDOW_MM = 12.5  # height of a window


@dataclass(frozen=True, slots=True)
class _Planned:
    """A case still to be drawn."""

    name: str
    subject: str
    draw: Callable[[], Case]


def write_phantom_study(  # noqa: PLR0913 - each is a choice of its own
    out: Path,
    *,
    kind: _Kind = "organs",
    cases: int = 8,
    test_cases: int = 4,
    hints: tuple[str, ...] | None = None,
    seed: int = 0,
    channels: tuple[_Channel, ...] | None = None,
) -> SimulateSummary:
    """Write a study folder of abdomens, of windows of chest CTs, or of necks seen in two ways.

    Args:
        out: The new study; must not hold anything yet.
        kind: `organs`: abdomens with four labelled organs. `lung`: windows of a lung, two in five
            with a nodule, three of each patient; no patient is both trained on and tested on.
            `two-modality`: necks with tumours of which CT and MR show different parts; either may
            be missing.
        cases: Training cases: hints in `hints`, truths in `denseTr`.
        test_cases: Cases to predict: images in `imagesTs`, truths in `labelsTs`.
        hints: Kinds such as `points:20`; the training cases get them in turn. If None, points and
            scribbles for organs, tags for the lung, scribbles for two modalities.
        seed: Same seed, same study.
        channels: `CT`, `MR` or both, in the order of the channels; a lung has CT alone. If None,
            both for two modalities, else CT.

    Returns:
        What was written.
    """
    hints = _HINTS[kind] if hints is None else hints
    channels = _CHANNELS[kind] if channels is None else channels
    requests = tuple(parse_request(hint) for hint in hints)
    _require_some(cases, test_cases, requests, channels)
    _require_channels(kind, channels)
    planned = _PLANS[kind](cases, test_cases, seed)
    with atomic_folder(out, verb="phantom study") as folder:
        writer = HintWriter(folder, _LABELS[kind], seed)
        for number, each in enumerate(planned):
            # the hints have their own generator: other hints, same patients
            case = each.draw()
            _write_case(folder, case, channels, training=number < cases)
            if number < cases and case.truth is not None:
                writer.add(each.name, case.truth, requests[number % len(requests)])
        seconds, dense_seconds = writer.finish()
        optional = channels if kind == "two-modality" and len(channels) > 1 else ()
        _describe(folder, planned, (_LABELS[kind], optional), cases, channels)
        settings = {
            "kind": kind,
            "cases": cases,
            "test_cases": test_cases,
            "hints": [request.text for request in requests],
            "seed": seed,
            "channels": channels,
        }
        write_json(folder / MADE, made_by("phantom study", settings, {}))
    return SimulateSummary(out, cases, seconds, dense_seconds)


def _organ_plan(cases: int, test_cases: int, seed: int) -> list[_Planned]:
    """Return abdomens, one of each patient."""
    planned = []
    for number in range(cases + test_cases):
        name = f"organs_{number + 1:03d}"
        draw = partial(organ_case, np.random.default_rng([seed, number]), name=name)
        planned.append(_Planned(name, f"patient_{number + 1:03d}", draw))
    return planned


def _tumour_plan(cases: int, test_cases: int, seed: int) -> list[_Planned]:
    """Return necks, one of each patient."""
    planned = []
    for number in range(cases + test_cases):
        name = f"neck_{number + 1:03d}"
        draw = partial(tumour_case, np.random.default_rng([seed, number]), name=name)
        planned.append(_Planned(name, f"patient_{number + 1:03d}", draw))
    return planned


def _lung_plan(cases: int, test_cases: int, seed: int) -> list[_Planned]:
    """Return windows of lungs; the test cases begin with a new patient."""
    subjects = [number // _WINDOWS for number in range(cases)]
    subjects += [subjects[-1] + 1 + number // _WINDOWS for number in range(test_cases)]
    planned = []
    for number, subject in enumerate(subjects):
        name = f"window_{number + 1:03d}"
        rng = np.random.default_rng([seed, 0, subject])
        patient, plane_mm = Patient.draw(rng), float(rng.uniform(0.58, 0.84))
        thick_mm = float(rng.choice(_THICK_MM))
        draw = partial(
            lung_case,
            np.random.default_rng([seed, 1, number]),
            name=name,
            present=number % 5 in (0, 3),
            shape=(48, 48, round(_WINDOW_MM / thick_mm)),
            spacing_mm=(plane_mm, plane_mm, thick_mm),
            patient=patient,
        )
        planned.append(_Planned(name, f"patient_{subject + 1:03d}", draw))
    return planned


_PLANS: Mapping[_Kind, Callable[[int, int, int], list[_Planned]]] = {
    "organs": _organ_plan,
    "lung": _lung_plan,
    "two-modality": _tumour_plan,
}


def _require_channels(kind: _Kind, channels: tuple[_Channel, ...]) -> None:
    """Refuse channels a phantom does not have.

    Raises:
        BadRecipeError: A lung was asked for in MR.
    """
    if kind == "lung" and channels != ("CT",):
        msg = f"channels are '{', '.join(channels)}'; a lung has CT alone"
        raise BadRecipeError(msg)


def _require_some(
    cases: int,
    test_cases: int,
    requests: tuple[HintRequest, ...],
    channels: tuple[_Channel, ...],
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


def _write_case(
    folder: Path, case: Case, channels: tuple[_Channel, ...], *, training: bool
) -> None:
    images = folder / ("imagesTr" if training else "imagesTs")
    truths = folder / ("denseTr" if training else "labelsTs")
    for number, channel in enumerate(channels):
        write_image(images / f"{case.name}_{number:04d}.nii.gz", case.images[channel])
    if case.truth is not None:
        write_ids(truths / f"{case.name}.nii.gz", case.truth.ids, case.truth.grid)


def _describe(
    folder: Path,
    planned: list[_Planned],
    named: tuple[LabelSet, tuple[_Channel, ...]],
    cases: int,
    channels: tuple[_Channel, ...],
) -> None:
    """Write dataset.json and cases.csv; labels come with the channels that may be missing."""
    labels, optional = named
    spec = {
        "channel_names": {str(number): channel for number, channel in enumerate(channels)},
        "labels": dict(zip(labels.names, labels.ids, strict=True)),
        "numTraining": cases,
        "file_ending": ".nii.gz",
        **({"optional_channels": list(optional)} if optional else {}),
    }
    write_json(folder / "dataset.json", spec)
    rows = [f"{each.name},{each.subject}" for each in planned]
    write_text(folder / "cases.csv", "\n".join(["case,subject", *rows]) + "\n")
