"""What several modalities bring, one by one, stacked and joined, and what it costs to lose one.

usage: modalities.py STUDY OUT [--hint scribbles] [--steps 120] [--rows CT stacked ...]
                     [-- FLAGS OF voxhint run]

STUDY holds denseTr and several channels. Every third training case gives no hint and is scored.
Rows of one channel know that channel alone, on the grid of the first, with its smallest value
beyond its field of view; `stacked` has all channels in one network, `joined` one for each channel
and one that joins them. CT is seen as soft tissue (-160 to 240 HU). Both networks are also given
test images that lack an optional channel, and test images in which all channels but the first
are moved along x. Soft labels of the hinted cases are scored, too; with --steps 0 they alone. Rows
of an earlier call are kept.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from _studies import case_of, linked, part
from _words import read_words
from points_to_masks import simulate
from scribbles_to_masks import call, scores_of, told, write

from voxhint.core import Grid, Volume
from voxhint.files import read_ids, read_volume, write_image
from voxhint.files.channel_units import unit_of
from voxhint.files.soft_labels import read_soft_label
from voxhint.files.validate.study import open_study
from voxhint.prepare import resample

JOINT: Mapping[str, tuple[str, ...]] = {
    "stacked": ("--network", "dynunet"),
    "joined": ("--network", "crossmodal"),
}
MOVED_MM = (6.0,)


def onto_first(source: Path, target: Path, names: Sequence[str], moved_mm: float = 0.0) -> None:
    """Write the channels of a folder of images on the grid of the first, others moved along x."""
    if target.exists():
        return
    target.mkdir(parents=True)
    for case in sorted({case_of(path.name) for path in source.iterdir()}):
        paths = [source / f"{case}_{number:04d}.nii.gz" for number in range(len(names))]
        images = [read_volume(p, channel=n) for p, n in zip(paths, names, strict=True)]
        step = np.eye(4)
        step[0, 3] = moved_mm
        first = images[0].grid
        for number, (path, image) in enumerate(zip(paths, images, strict=True)):
            voxels, grid = image.voxels, image.grid
            if number:
                grid = Grid(grid.shape, step @ grid.affine)
                voxels = resample(voxels, grid, first, outside=float(voxels.min()))
            write_image(target / path.name, Volume(voxels, first))


def alone(study: Path, out: Path, number: int, names: Sequence[str]) -> Path:
    """Return a study of one channel, on the grid of the first."""
    for folder in ("imagesTr", "imagesTs"):
        onto_first(study / folder, out / f"{folder}-all", names)
        (out / folder).mkdir(exist_ok=True)
        for path in (out / f"{folder}-all").glob(f"*_{number:04d}.nii.gz"):
            place = out / folder / f"{case_of(path.name)}_0000.nii.gz"
            if not place.exists():
                place.symlink_to(path.resolve())
    for folder in ("denseTr", "labelsTs"):
        linked(study / folder, out / folder)
    told_of = json.loads((study / "dataset.json").read_text("utf-8"))
    told_of["channel_names"] = {"0": names[number]}
    told_of.pop("optional_channels", None)
    (out / "dataset.json").write_text(json.dumps(told_of), "utf-8")
    return out


def soft_dice(study: Path, labels: Path) -> float:
    """Return the mean Dice of the largest class of soft labels."""
    opened = open_study(study, skip_bad=True, deep=False)[0]
    found = []
    for files in opened.hinted:
        soft = read_soft_label(labels, files.name, opened.labels)
        if soft is None:
            continue
        truth = opened.labels.to_classes(read_ids(study / "denseTr" / f"{files.name}.nii.gz")[0])
        said = soft.largest_class()
        for number in range(1, len(opened.labels.names)):
            one, two = said == number, truth == number
            if two.any():
                found.append(2 * (one & two).sum() / (one.sum() + two.sum()))
    return float(np.mean(found))


def other_images(study: Path, run: Path, images: Path, keep: str = "") -> str:
    """Return the Dice of a run's model on other test images, those of a channel left out."""
    shown = run.parent / f"{images.name}{keep}"
    linked(images, shown, keep=lambda name: not keep or f"_{keep}." not in name)
    masks = run.parent / f"{run.name}-{shown.name}"
    call("voxhint", "predict", run, shown, "--out", masks, "--overwrite")
    scores = scores_of(masks, study / "labelsTs", masks.with_suffix(".json"))
    return told(scores["overall"]["dice"])


def optional(study: Path) -> list[str]:
    """Return the channels that cases may lack."""
    told_of = json.loads((study / "dataset.json").read_text("utf-8"))
    return list(told_of.get("optional_channels", []))


def row(name: str, base: Path, names: Sequence[str], args: argparse.Namespace) -> list[str]:
    """Return the cells of a row, after running it."""
    source, flags = base, JOINT.get(name, ())
    if name not in JOINT:
        source = alone(base, args.out / f"{name}-dense", names.index(name), names)
    study = args.out / f"{name if name not in JOINT else 'all'}-study"
    simulate(source, args.hint, study, None)
    if any(unit_of(each) == "HU" for each in (names if name in JOINT else [name])):
        flags = (*flags, "--hu-window", "-160", "240")
    run = args.out / name
    if not args.steps:
        call("voxhint", "label", study, "--out", run / "labels", *args.run)
        return [name, f"{soft_dice(study, run / 'labels'):.3f}"]
    call("voxhint", "run", study, "--out", run, "--steps", args.steps, *flags, *args.run)
    scores = json.loads((run / "scores.json").read_text("utf-8"))
    found = [name, f"{soft_dice(study, run / 'labels'):.3f}", told(scores["overall"]["dice"])]
    if name not in JOINT:
        return [*found, *("-" for _ in (*optional(base), *MOVED_MM))]
    for lost in optional(base):
        images = args.out / "imagesTs-0"
        onto_first(base / "imagesTs", images, names)
        found.append(other_images(base, run, images, f"{names.index(lost):04d}"))
    for mm in MOVED_MM:
        images = args.out / f"imagesTs-{mm:g}"
        onto_first(base / "imagesTs", images, names, mm)
        found.append(other_images(base, run, images))
    return found


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hint", default="scribbles")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--rows", nargs="+")
    args = read_words(parser)
    args.out.mkdir(parents=True, exist_ok=True)
    channels = json.loads((args.study / "dataset.json").read_text("utf-8"))["channel_names"]
    names = [channels[str(number)] for number in range(len(channels))]
    cases = sorted({case_of(path.name) for path in (args.study / "denseTr").iterdir()})
    base, design = args.out / "base", set(cases[::3])
    if not base.exists():
        part(args.study, base, {*cases} - design, design, ("imagesTr", "denseTr"))
    heads = ["channels", "soft labels", "Dice", *(f"without {name}" for name in optional(base))]
    heads += [f"moved {mm:g} mm" for mm in MOVED_MM]
    table = [heads if args.steps else heads[:2]]
    for name in args.rows or (*names, *JOINT):
        kept = args.out / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(row(name, base, names, args)), "utf-8")
        table.append(json.loads(kept.read_text("utf-8")))
        write(table, args.out / "table.md")
    print(write(table, args.out / "table.md"))


if __name__ == "__main__":
    main()
