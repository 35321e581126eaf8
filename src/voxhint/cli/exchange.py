"""The commands that bring data in from other tools, and hand it on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from voxhint.verbs.tell import Tell

Lines = Iterator[str]


@dataclass(frozen=True, kw_only=True)
class Import:
    """Sort the DICOM export of a hospital into the cases of a new study, without names."""

    kind: Positional[Literal["dicom"]]
    """What is imported."""

    folder: Positional[Path]
    """The export: any folders, any file names."""

    out: Path
    """The study to make."""

    labels: Annotated[tuple[str, ...], arg(name="label")] = ("lesion",)
    """What hints will speak of."""

    modality: str | None = None
    """CT, MR, PT, ...: needed where the export holds several."""

    keep_identifiers: bool = False
    """Write patient IDs, series numbers and folders into series.csv."""

    overwrite: bool = False
    """Replace an earlier import."""

    def run(self, tell: Tell, /) -> Lines:
        """Yield what was odd, then what was made."""
        from voxhint.verbs.import_dicom import ImportRequest, import_dicom

        made = import_dicom(
            self.folder,
            self.out,
            request=ImportRequest(self.labels, self.modality, self.keep_identifiers),
            overwrite=self.overwrite,
            tell=tell,
        )
        yield from (f"warning: {warning}" for warning in made.warnings)
        yield (
            f"{made.out}: {made.cases} {made.modality} cases of {made.subjects} subjects; "
            f"add hints to {made.out / 'hints'}, then run voxhint check {made.out}"
        )


@dataclass(frozen=True, kw_only=True)
class Export:
    """Hand the result of a run to other tools."""

    folder: Positional[Path]
    """What `voxhint run` wrote."""

    to: Literal["nnunet", "dicom-seg", "rtstruct", "monai-bundle"]
    """The other tool's layout; only nnunet in this version."""

    out: Path
    """The folder to make."""

    overwrite: bool = False
    """Replace an earlier export."""

    def run(self, _tell: Tell, /) -> Lines:
        """Return the output folder."""
        from voxhint.verbs.export import export

        yield str(export(self.folder, to=self.to, out=self.out, overwrite=self.overwrite))


@dataclass(frozen=True, kw_only=True)
class Register:
    """Move the other channels of every case onto the first: a new study, where they lie right."""

    study: Positional[Path]
    """The study folder."""

    out: Path
    """The new study."""

    how: Literal["rigid", "deformable"] = "rigid"
    """Turn and shift; or also bend."""

    overwrite: bool = False
    """Replace an earlier result of voxhint in the output folder."""

    def run(self, tell: Tell, /) -> Lines:
        """Yield what was moved, and how far."""
        from voxhint.verbs.register import register

        moves = register(self.study, self.out, how=self.how, overwrite=self.overwrite, tell=tell)
        yield f"{self.out}: {len(moves)} channels registered; registration.csv tells how far"
