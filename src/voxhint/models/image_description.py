"""What lies beside images and masks and says what they hold, held against what others say."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from voxhint.core import LabelSet
from voxhint.core.errors import BadFileError
from voxhint.files.atomic import MADE
from voxhint.files.dataset_json import NAME, Description, read_description, read_object
from voxhint.files.study.layout import find_cases
from voxhint.prepare import Plan

_Cases = Mapping[str, Mapping[str, Path]]


def description_of(images: Path) -> Path | None:
    """Return the dataset.json that speaks of a folder of images: in it, or in the folder above."""
    places = (images / NAME, images.absolute().parent / NAME)
    return next((path for path in places if path.is_file()), None)


def labels_beside(masks: Path) -> tuple[str, LabelSet] | None:
    """Return what is said of the labels of a folder of masks, and in which file.

    Args:
        masks: A folder of CASE.nii.gz. What made them, as `made.json` tells, is believed before a
            dataset.json in it or in the folder above.

    Raises:
        BadFileError: Its `made.json` cannot be read.
    """
    made = read_object(masks / MADE).get("labels") if (masks / MADE).is_file() else None
    if isinstance(made, dict) and all(type(value) is int for value in made.values()):
        return MADE, LabelSet(tuple(made), tuple(made.values()))
    path = description_of(masks)
    told = None if path is None else read_description(path)[0]
    return None if told is None else (NAME, told.labels)


def cases_for(images: Path, plan: Plan) -> tuple[_Cases, tuple[str, ...], tuple[str, ...]]:
    """Find the images that a model is to look at, each channel by its name where there are names.

    Args:
        images: A folder of CASE_CCCC files.
        plan: What the model knows.

    Returns:
        Paths by case and channel, in the model's order; what a person should know; and which files
        and cases are of no use, and why.

    Raises:
        BadFileError: There is no image, or none of a channel that the model needs.
    """
    spec, warnings = _expected(images, plan)
    found, odd = find_cases(images, spec)
    errors = tuple(problem for problem in odd if problem.severity == "error")
    skipped, spoilt = tuple(map(str, errors)), {problem.case for problem in errors}
    cases = {case: _known(by_name, plan) for case, by_name in found.items() if case not in spoilt}
    if not cases:
        msg = "\n".join(skipped) or f"{images}: holds no image; name a folder of CASE_0000 files"
        raise BadFileError(msg)
    return cases, warnings, skipped


def _known(images: Mapping[str, Path], plan: Plan) -> Mapping[str, Path]:
    """Return the images of channels that a model knows, in its order."""
    return {channel: images[channel] for channel in plan.channels if channel in images}


def _expected(images: Path, plan: Plan) -> tuple[Description, tuple[str, ...]]:
    """Return the channels that are there, those needed that a model needs; and what is odd.

    Raises:
        BadFileError: A channel is missing.
    """
    path = description_of(images)
    told, problems = (None, ()) if path is None else read_description(path)
    if told is None:
        odd = tuple(f"{problem}; channels are taken by their numbers" for problem in problems[:1])
        return Description(plan.channels, plan.optional_channels, plan.labels), odd
    _require_channels(told.channels, plan)
    needed = {*plan.channels} - {*plan.optional_channels}
    others = tuple(name for name in told.channels if name not in needed)
    spec = Description(told.channels, others, plan.labels)
    return spec, tuple(_contradictions(told, plan))


def _require_channels(channels: tuple[str, ...], plan: Plan) -> None:
    """Refuse images of other channels than those a model learnt from.

    Raises:
        BadFileError: A channel is missing.
    """
    lacking = [
        name
        for name in plan.channels
        if name not in channels and name not in plan.optional_channels
    ]
    if lacking or not {*channels} & {*plan.channels}:
        msg = (
            f"{NAME} beside the images names channels {', '.join(channels)}, the model knows "
            f"{', '.join(plan.channels)}; if they are the same, name them alike in {NAME}"
        )
        raise BadFileError(msg)


def _contradictions(told: Description, plan: Plan) -> Iterator[str]:
    known = tuple(name for name in told.channels if name in plan.channels)
    if told.channels[: len(plan.channels)] != plan.channels[: len(told.channels)]:
        yield (
            f"{NAME} beside the images numbers the channels {', '.join(told.channels)}, the model "
            f"{', '.join(plan.channels)}; they are read by their names"
        )
    unknown = [name for name in told.channels if name not in known]
    if unknown:
        yield f"channels {', '.join(unknown)} are not looked at; the model does not know them"
    clash = clashes(plan.labels, told.labels)
    if clash:
        yield (
            f"masks hold the labels of the model, not those of {NAME} beside the images: "
            f"{', '.join(clash)}"
        )


def clashes(ours: LabelSet, theirs: LabelSet) -> list[str]:
    """Return how two sets of labels use an id for two names, or a name for two ids.

    Args:
        ours: Such as those of a model.
        theirs: Such as those of a study.
    """
    by_id = dict(zip(theirs.ids, theirs.names, strict=True))
    by_name = dict(zip(theirs.names, theirs.ids, strict=True))
    return [
        f"{value} is {name}, there {by_id.get(value, f'{name} is {by_name.get(name)}')}"
        for name, value in zip(ours.names, ours.ids, strict=True)
        if by_id.get(value, name) != name or by_name.get(name, value) != value
    ]
