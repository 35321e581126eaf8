"""A study of images alone, so that the first contact needs no study: open, click, mask."""

from collections.abc import Sequence
from pathlib import Path

from voxhint.core.errors import BadStudyError, OutputError
from voxhint.core.labels import BACKGROUND
from voxhint.files.atomic import write_json
from voxhint.files.dataset_json import NAME, bad_name, describe, read_object
from voxhint.files.images import image_stem, image_suffix
from voxhint.files.study.layout import CHANNEL, listing
from voxhint.verbs.link_files import link

FOLDER = ".images"
"""Inside a session's folder: the study that its images are taken for."""


def study_of_images(images: Path, labels: Sequence[str], channel: str, out: Path) -> Path:
    """Lay images out as a study without hints.

    Args:
        images: One image file, a folder of DICOM, or a folder of such files and folders.
        labels: Names of what is to be marked.
        channel: What the images are, such as CT.
        out: The session's folder.

    Returns:
        The study's folder.

    Raises:
        OutputError: The session was begun with other labels or another channel.
        BadStudyError: A label cannot be called so.
    """
    ids = {BACKGROUND: 0, **{name: number for number, name in enumerate(labels, 1)}}
    spec = {"channel_names": {"0": channel}, "labels": ids, "file_ending": ".nii.gz"}
    described, problems = describe(spec)
    if described is None:
        raise BadStudyError("\n".join(map(str, problems)))
    folder = out / FOLDER
    if (folder / NAME).exists():
        if read_object(folder / NAME) != spec:
            msg = f"{out}: was begun with other labels or another channel; choose another --out"
            raise OutputError(msg)
        return folder
    cases = _cases(images)
    (folder / "imagesTr").mkdir(parents=True, exist_ok=True)
    for name, path in cases.items():
        suffix = "" if path.is_dir() else image_suffix(path.name) or ""
        place = folder / "imagesTr" / f"{name}_0000{suffix}"
        if not place.is_symlink() and not place.exists():
            link(path, place)
    write_json(folder / NAME, spec)
    return folder


def _cases(images: Path) -> dict[str, Path]:
    """Return each image by the name of its case.

    Raises:
        BadStudyError: There is none, or two have one name.
    """
    cases: dict[str, Path] = {}
    for path in _images_in(images):
        stem = path.resolve().name if path.is_dir() else image_stem(path)
        name = match[1] if (match := CHANNEL.fullmatch(stem)) else stem
        if (why := bad_name(name)) or name in cases:
            msg = f"{path.name}: case '{name}' {why or 'is there twice'}; rename it"
            raise BadStudyError(msg)
        cases[name] = path
    if not cases:
        msg = f"{images}: holds no image; give an image file, a folder of them, or of DICOM"
        raise BadStudyError(msg)
    return cases


def _images_in(given: Path) -> list[Path]:
    """Return image files and folders of DICOM in a folder, or what is given if it is one image."""
    inside = listing(given) if given.is_dir() else []
    found = [path for path in inside if path.is_dir() or image_suffix(path.name)]
    # files without a suffix of ours are slices of one DICOM series
    return found or ([given] if inside or given.is_file() else [])
