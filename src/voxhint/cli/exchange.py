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
    """Make a study of a DICOM export, without names, or of a Decathlon-like data set."""

    kind: Positional[Literal["dicom", "msd"]]
    """What is imported."""

    folder: Positional[Path]
    """The export: any folders, any file names; or the folder that holds dataset.json."""

    out: Path
    """The study to make."""

    labels: Annotated[tuple[str, ...], arg(name="label")] = ("lesion",)
    """What hints will speak of (dicom)."""

    modality: str | None = None
    """CT, MR, PT, ...: needed where the export holds several (dicom)."""

    keep_identifiers: bool = False
    """Write patient IDs, series numbers and folders into series.csv (dicom)."""

    scribbles: str = "scribblesTr"
    """The folder of the data set with label maps of strokes, if there is one (msd)."""

    undrawn: int | None = None
    """Their id of voxels that are not drawn on; the only id that is no label if not given (msd)."""

    overwrite: bool = False
    """Replace an earlier import."""

    def run(self, tell: Tell, /) -> Lines:
        """Yield what was odd, then what was made."""
        yield from self._dicom(tell) if self.kind == "dicom" else self._msd(tell)

    def _msd(self, tell: Tell) -> Lines:
        from voxhint.verbs.import_msd import import_msd

        made = import_msd(
            self.folder,
            self.out,
            scribbles=self.scribbles,
            undrawn=self.undrawn,
            overwrite=self.overwrite,
            tell=tell,
        )
        yield (
            f"{made.out}: {made.training} training cases ({made.design} for design), "
            f"{made.test} test cases, scribbles for {made.scribbled}; "
            f"run voxhint check {made.out}"
        )

    def _dicom(self, tell: Tell) -> Lines:
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
