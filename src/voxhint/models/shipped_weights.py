"""Networks that come with voxhint, taken at once where a study asks for what they know."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from voxhint.config import LabelConfig, Machine
from voxhint.core import LabelSet
from voxhint.core.errors import BadFileError
from voxhint.core.progress import Tell, silent
from voxhint.core.study import Study
from voxhint.files.atomic import replacing, write_json
from voxhint.files.channel_units import unit_of
from voxhint.files.hashing import file_hash
from voxhint.models.folder import read_plan
from voxhint.models.planning import measure_images

Part = Literal["classifier", "flow"]

ORIGIN = "origin.json"
"""Beside networks that were not trained on the study: what they are, and under which licence."""

_CARD = "card.json"
_LOOKS = 10  # images that decide whether the networks suit a study
_MOST_VOXELS = 500_000  # of an image at the spacing of the networks: more takes too much memory
_MOST_SPACING = 2.0  # times that of the networks
_AIR = -300.0  # HU that the darkest twentieth of a chest lies below


@dataclass(frozen=True, slots=True)
class _ShippedWeights:
    """A folder of networks, and what its card says of them."""

    folder: Path
    name: str
    licence: str
    """SPDX identifier."""

    labels: tuple[str, ...]
    """Names of the one label they know."""

    data: str
    """What they were trained on, and its licence."""

    attribution: str
    """Whom to name, as the licence of the data asks."""

    measured: str
    """What the figures of the classifier rest on."""

    sha256: Mapping[str, str]
    """Of each file, by its name in the folder."""

    def install(self, part: Part, folder: Path, study: Study, label: str) -> None:
        """Copy one network into a folder, its channel and label called as the study calls them.

        Args:
            part: Which network.
            folder: Where its files go; the one that says what it has learnt comes last.
            study: Names the channel.
            label: Name of the label.

        Raises:
            BadFileError: A file is not the one that the card tells of.
        """
        self._require_whole(part)
        source, (channel,) = self.folder / part, study.channels
        plan = read_plan(source / "plan.json")
        (known,) = plan.intensity.values()
        named = dataclasses.replace(
            plan,
            channels=(channel,),
            labels=LabelSet(("background", label), (0, 1)),
            intensity={channel: known},
        )
        weights = source / "weights.safetensors"
        names = ("name", "licence", "data", "attribution", "measured")
        told = {name: getattr(self, name) for name in names}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / ORIGIN, {**told, "sha256": file_hash(weights)})
        write_json(folder / "plan.json", named.to_json())
        with replacing(folder / "weights.safetensors") as partial:
            shutil.copyfile(weights, partial)
        facts = "classifier.json" if part == "classifier" else "flow.json"
        learnt = json.loads((source / facts).read_text("utf-8"))
        write_json(folder / facts, _called(learnt, label))

    def _require_whole(self, part: Part) -> None:
        """Refuse files that were changed or damaged after voxhint was given out.

        Raises:
            BadFileError: There is one.
        """
        for name, told in self.sha256.items():
            path = self.folder / name
            if name.startswith(f"{part}/") and (not path.is_file() or file_hash(path) != told):
                msg = f"{path}: is not the file that came with voxhint; install voxhint again"
                raise BadFileError(msg)


def _called(learnt: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return what a network has learnt of its one label under another name."""
    (known,) = learnt["labels"]
    facts = {label: learnt["facts"][known]} if "facts" in learnt else {}
    return {**learnt, "labels": [label], **({"facts": facts} if facts else {})}


def shipped(
    study: Study, labels: tuple[str, ...], *, seed: int = 0, tell: Tell = silent
) -> _ShippedWeights | None:
    """Return the networks that come with voxhint and know what a study seeks, None if none do.

    They suit a study of one channel, a CT of the chest in HU, cut to windows of at most some
    centimetres and sampled about as finely as what they were trained on.

    Args:
        study: With images.
        labels: Those to find; the networks know one alone.
        seed: Chooses the voxels that are looked at.
        tell: Hears of progress.

    Returns:
        The networks.
    """
    if len(labels) != 1 or len(study.channels) != 1 or unit_of(study.channels[0]) != "HU":
        return None
    for card in sorted(Path(str(files("voxhint"))).glob(f"weights/*/{_CARD}")):
        told = json.loads(card.read_text("utf-8"))
        weights = _ShippedWeights(
            card.parent,
            told["name"],
            told["licence"],
            tuple(told["labels"]),
            told["data"],
            told["attribution"],
            told["measured"],
            told["sha256"],
        )
        if _plain(labels[0]) in weights.labels and _suits(weights, study, seed, tell):
            return weights
    return None


def _plain(label: str) -> str:
    """Return a name as cards write it: small letters, blanks, one of a kind."""
    return label.lower().replace("_", " ").replace("-", " ").removesuffix("s")


def _suits(weights: _ShippedWeights, study: Study, seed: int, tell: Tell) -> bool:
    """Return whether the images of a study are like those the networks were trained on."""
    spacing = np.array(read_plan(weights.folder / "classifier" / "plan.json").spacing_mm)
    prints = measure_images(study, study.training, seed, tell, most=_LOOKS)
    fine = [bool((p.spacing_mm <= _MOST_SPACING * spacing).all()) for p in prints]
    small = [
        float(np.prod(np.array(p.shape) * p.spacing_mm / spacing)) <= _MOST_VOXELS for p in prints
    ]
    dark = [np.percentile(p.samples[study.channels[0]], 5) < _AIR for p in prints]
    return bool(np.mean(fine) > 0.5 and all(small) and np.mean(dark) > 0.5)


def allows_shipped(part: Part, config: LabelConfig) -> bool:
    """Return whether the knobs leave room for a network that comes with voxhint.

    Args:
        part: Which network.
        config: A knob of the network's own that is not at its default asks for another one.
    """
    usual = LabelConfig()
    if part == "classifier":
        alike = config.classifier == usual.classifier
    else:
        alike = config.flow == usual.flow and config.classifier.flips == usual.classifier.flips
    return config.tags.weights == "auto" and alike


def take_shipped(
    part: Part,
    folder: Path,
    study: Study,
    labels: tuple[str, ...],
    config: LabelConfig,
    how: tuple[Machine, Tell],
) -> bool:
    """Put a network that comes with voxhint into a folder, if one suits the study.

    Args:
        part: Which network.
        folder: Where its files go.
        study: With images.
        labels: Those to find.
        config: Says whether such networks are wanted; a knob of the network's own asks for another.
        how: Seed, and who hears of it.

    Returns:
        Whether there was one; whoever wanted to train has nothing left to do then.
    """
    machine, tell = how
    begun = (folder / "plan.json").exists() and not (folder / ORIGIN).exists()  # a training
    if begun or not allows_shipped(part, config):
        return False
    found = shipped(study, labels, seed=machine.seed, tell=tell)
    if found is None:
        return False
    note = f"{found.name}, {found.licence}; tags.weights = none trains on the study instead"
    tell(f"take the {part} that comes with voxhint", 0, 1, note)
    found.install(part, folder, study, labels[0])
    return True


def origins(folder: Path) -> dict[str, Any]:
    """Return where the networks in the folders of a folder come from, if not from the study."""
    return {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for path in sorted(folder.glob(f"*/{ORIGIN}"))
    }
