"""Weights that voxhint knows of: what they are for, whose terms they come with, where they are."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError, BadRecipeError, NotAvailableError
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import read_object
from voxhint.files.hashing import file_hash
from voxhint.models.single_file import card_lines, cards

HOME = Path.home() / ".voxhint" / "weights"
"""Where weights are looked for, and put, unless a folder is named."""

_SHIPPED = Path(__file__).resolve().parents[1] / "weights"
"""What comes with voxhint: a folder for each, with `card.json` beside the weights."""

_FETCHED = "fetched.json"
"""Beside fetched files: their repository, its revision, and their hashes."""

_TELLS = ("name", "licence", "data", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Trained weights: the facts a person needs before using them."""

    name: str
    use: str
    licence: str
    data: str
    """What they learnt from."""

    source: str
    files: tuple[str, ...]
    hub: str | None = None
    """Repository on the Hugging Face hub, if they are there."""

    def places(self, folder: Path) -> tuple[Path, ...]:
        """Return where the files lie in a folder of weights."""
        return tuple(folder / self.name / Path(file).name for file in self.files)

    def here(self, folder: Path) -> bool:
        """Return whether all files lie in a folder of weights."""
        return all(path.is_file() for path in self.places(folder))


KNOWN: Mapping[str, Weights] = {
    one.name: one
    for one in (
        Weights(
            name="maisi-v2",
            use="flow of whole CT scans, from Python: voxhint.nets.maisi.load_maisi",
            licence="NVIDIA Open Model License (read it before any use)",
            data=(
                "CT of 25 public sets; the flow saw 422 scans of LIDC and 3109 of NLST, the "
                "autoencoder 450 and 31801, so LUNA16 and LIDC are no unseen test of it"
            ),
            source="huggingface.co/nvidia/NV-Generate-CT",
            files=("models/autoencoder_v1.pt", "models/diff_unet_3d_rflow-ct.pt"),
            hub="nvidia/NV-Generate-CT",
        ),
        Weights(
            name="medsam-tinyvit",
            use="classifier of tags: label.classifier.backbone = medsam-tinyvit",
            licence="Apache-2.0, the licence of its repository",
            data="public images with masks of many kinds, distilled from MedSAM",
            source="github.com/bowang-lab/MedSAM, branch LiteMedSAM: link in its README",
            files=("lite_medsam.pth",),
        ),
        Weights(
            name="radimagenet-resnet50",
            use="classifier of tags: label.classifier.backbone = radimagenet-resnet50",
            licence="none told: research use only until its authors have cleared yours",
            data="RadImageNet: 1.35 million CT, MR and ultrasound pictures, 165 classes",
            source="github.com/BMEII-AI/RadImageNet: link in its README",
            files=("ResNet50.pt",),
        ),
    )
}
"""Public weights that are not with voxhint."""


def shipped(folder: Path = _SHIPPED) -> Iterator[Mapping[str, str]]:
    """Yield what the cards of the weights that come with voxhint tell.

    Args:
        folder: Holds a folder for each, with one `card.json`.

    Yields:
        name, licence, data and source of each; "not told" where a card is silent.
    """
    for path in sorted(folder.glob("*/card.json")):
        card = read_object(path)
        told = {"name": path.parent.name, **{key: card[key] for key in _TELLS if key in card}}
        yield {key: _words(told.get(key, "not told")) for key in _TELLS}


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def find_weights(name: str, given: str | None) -> Path:
    """Return the file of public weights that consist of one.

    Args:
        name: A name of `KNOWN`.
        given: The file, if the user named one.

    Returns:
        A file that exists.

    Raises:
        BadFileError: The named file is not there.
        NotAvailableError: No file was named, and none lies in the usual folder.
    """
    if given is not None:
        if not Path(given).is_file():
            msg = f"{given}: no such file; name the weights of {name}, see `voxhint models`"
            raise BadFileError(msg)
        return Path(given)
    (path,) = KNOWN[name].places(HOME)
    if not path.is_file():
        msg = f"weights of {name} are not here; name them with label.classifier.backbone_weights, "
        msg += f"or put them at {path} (see `voxhint models`)"
        raise NotAvailableError(msg)
    return path


def fetch(name: str, folder: Path, *, revision: str | None = None) -> tuple[Path, ...]:
    """Fetch public weights from the Hugging Face hub, all of one revision that is written down.

    Args:
        name: A name of `KNOWN`.
        folder: Where they go, in a folder of their name; what is there already is held against what
            was written down of it.
        revision: Commit of the repository; that of the first time, or else the newest, if None.

    Returns:
        The files; `fetched.json` beside them tells repository, revision and hashes.

    Raises:
        BadRecipeError: The weights are unknown, or not on the hub.
        BadFileError: Files that are there are of another revision, or were changed.
        NotAvailableError: The extra is not installed, or the hub does not answer.
    """
    weights = _on_the_hub(name)
    note = folder / name / _FETCHED
    told = read_object(note) if note.is_file() else {}
    pinned = told.get("revision")
    if pinned is not None and revision not in (None, pinned):
        msg = f"{note.parent}: holds revision {pinned}, not {revision}; name another --folder"
        raise BadFileError(msg)
    _require_as_fetched(weights, folder, told)
    if weights.here(folder):
        return weights.places(folder)
    return _download(weights, folder, pinned or revision, note)


def _on_the_hub(name: str) -> Weights:
    """Return what is known of weights that can be fetched.

    Raises:
        BadRecipeError: They are unknown, or not on the hub.
    """
    weights = KNOWN.get(name)
    if weights is None or weights.hub is None:
        there = ", ".join(one.name for one in KNOWN.values() if one.hub is not None)
        why = "unknown" if weights is None else f"not on the hub; see {weights.source}"
        msg = f"weights '{name}' are {why}; the hub has {there}"
        raise BadRecipeError(msg)
    return weights


def _require_as_fetched(weights: Weights, folder: Path, told: Mapping[str, Any]) -> None:
    """Refuse files that were changed since they were fetched.

    Raises:
        BadFileError: There is one.
    """
    known = told.get("sha256", {})
    for path in weights.places(folder):
        if path.is_file() and path.name in known and file_hash(path) != known[path.name]:
            msg = f"{path}: is not the file that was fetched; remove it, and fetch it again"
            raise BadFileError(msg)


def _download(weights: Weights, folder: Path, revision: str | None, note: Path) -> tuple[Path, ...]:
    """Fetch the files that are missing, and write down what they are.

    Returns:
        All files.

    Raises:
        NotAvailableError: The extra is not installed, or the hub does not answer.
    """
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError:
        msg = 'fetching needs an extra: pip install "voxhint[hub]", or fetch the files by hand'
        raise NotAvailableError(msg) from None
    what = "its newest revision"
    try:
        commit = revision or HfApi().model_info(weights.hub).sha
        for file, place in zip(weights.files, weights.places(folder), strict=True):
            what = file
            if not place.is_file():
                found = hf_hub_download(weights.hub, file, revision=commit, local_dir=place.parent)
                Path(found).replace(place)
    except (OSError, ValueError) as error:  # what its own errors derive from
        msg = f"{weights.hub} does not give {what} ({type(error).__name__}); try again"
        raise NotAvailableError(msg) from None
    places = weights.places(folder)
    hashes = {place.name: file_hash(place) for place in places}
    write_json(note, {"repository": weights.hub, "revision": commit, "sha256": hashes})
    return places


def listing(folder: Path) -> Iterator[str]:
    """Yield lines about all weights: those that come with voxhint, then the public ones.

    Args:
        folder: Where public weights are looked for.

    Yields:
        Lines for a person.
    """
    for card in shipped():
        yield f"{card['name']}: weights that come with voxhint"
        yield from (f"  {key}: {card[key]}" for key in _TELLS[1:])
    for path, told in cards(folder):
        yield f"{path.stem}: a model in {path}"
        yield from (f"  {line}" for line in card_lines(told, path))
    for one in KNOWN.values():
        yield from _lines_of(one, folder)


def _lines_of(one: Weights, folder: Path) -> Iterator[str]:
    """Yield lines about public weights."""
    found = "found" if one.here(folder) else "not here; they belong"
    yield f"{one.name}: weights {found} in {folder / one.name}"
    for key in ("use", "licence", "data", "source"):
        yield f"  {key}: {getattr(one, key)}"
    yield f"  files: {', '.join(path.name for path in one.places(folder))}"
    if one.hub is not None:
        yield f"  fetch: voxhint models --fetch {one.name}"
        note = folder / one.name / _FETCHED
        if note.is_file():
            yield f"  revision: {read_object(note).get('revision')}"
