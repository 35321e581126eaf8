"""The commands that bring data in from other tools, and hand it on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from voxhint.cli.options import Existing, ExistingOption, Place
from voxhint.core.errors import BadRecipeError
from voxhint.core.progress import Tell
from voxhint.core.words import counted

if TYPE_CHECKING:
    from voxhint.verbs.import_dicom import ImportRequest
    from voxhint.verbs.written import Written

_Lines = Iterator[str]


@dataclass(frozen=True, kw_only=True)
class _Import:
    """What every import can be told."""

    out: Path
    """The study to make."""

    overwrite: bool = False
    """Replace an earlier import."""

    def run(self, tell: Tell, /) -> _Lines:
        """Yield what was odd, then what was made."""
        made = self._made(tell)
        yield from (f"warning: {warning}" for warning in made.warnings)
        yield f"{made.out}: {made.told}"

    def _made(self, tell: Tell) -> "Written":
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class _OfDicom(_Import):
    """What every import of DICOM can be told."""

    label: tuple[str, ...] = ()
    """Labels of the study [lesion]; NAME=THEIR NAME where segments are called otherwise."""

    as_: Literal["truth", "hints", "boxes"] | None = None
    """What SEG, RTSTRUCT, boxes and diameters become: dense masks, partial masks, or boxes."""

    modality: str | None = None
    """CT, MR, PT, ...: needed where the export holds several."""

    keep_identifiers: bool = False
    """Write patient IDs, UIDs, series numbers and folders into series.csv and slices.csv."""

    def _request(self) -> "ImportRequest":
        from voxhint.verbs.import_dicom import ImportRequest

        return ImportRequest(self.label, self.modality, self.keep_identifiers, self.as_)


@dataclass(frozen=True, kw_only=True)
class ImportDicom(_OfDicom):
    """Sort the DICOM export of a hospital into the cases of a new study, without names."""

    folder: Existing
    """The export: a folder, a zip, or zips in folders, whatever the names."""

    def _made(self, tell: Tell) -> "Written":  # type: ignore[explicit-override]
        from voxhint.verbs.import_dicom import import_dicom

        return import_dicom(
            self.folder, self.out, request=self._request(), overwrite=self.overwrite, tell=tell
        )


@dataclass(frozen=True, kw_only=True)
class ImportDicomweb(_OfDicom):
    """Fetch a study from a DICOMweb archive and sort it into cases, without names."""

    url: Annotated[str, Place("URL")]
    """Of the archive, as https://host/dicom-web; name and password are read from ~/.netrc."""

    study: str
    """Study instance UID."""

    def _made(self, tell: Tell) -> "Written":  # type: ignore[explicit-override]
        from voxhint.verbs.import_dicom import import_dicomweb

        return import_dicomweb(
            self.url,
            self.out,
            study=self.study,
            request=self._request(),
            overwrite=self.overwrite,
            tell=tell,
        )


@dataclass(frozen=True, kw_only=True)
class ImportLuna16(_Import):
    """Cut the scans of LUNA16 into windows tagged with or without a nodule: a new study."""

    folder: Existing
    """LUNA16 as it is given out: annotations.csv, and subset0 to subset9 unpacked beside it."""

    xml: ExistingOption | None = None
    """LIDC-IDRI's XML files: truth of the test windows, for scoring alone."""

    test_subsets: tuple[int, ...] = (9,)
    """Subsets of the test set; the others are for training."""

    window_mm: float = 64.0
    """Edge of a window."""

    windows: int = 8
    """Most windows of a scan, half of them with a nodule if possible."""

    seed: int = 0
    """Same seed, same windows."""

    def _made(self, tell: Tell) -> "Written":  # type: ignore[explicit-override]
        from voxhint.verbs.import_luna16 import Luna16Request, import_luna16

        request = Luna16Request(
            xml=self.xml,
            test_subsets=self.test_subsets,
            window_mm=self.window_mm,
            windows=self.windows,
            seed=self.seed,
        )
        return import_luna16(
            self.folder, self.out, request=request, overwrite=self.overwrite, tell=tell
        )


@dataclass(frozen=True, kw_only=True)
class ImportMsd(_Import):
    """Link a data set laid out as in the Decathlon or nnU-Net v1, with scribbles: a new study."""

    folder: Existing
    """Holds dataset.json, imagesTr, labelsTr and so on, one file a case."""

    scribbles: str = "scribblesTr"
    """The folder in it with label maps of strokes."""

    undrawn: int | None = None
    """Their id of voxels that are not drawn; if not given, the only id that is no label."""

    def _made(self, tell: Tell) -> "Written":  # type: ignore[explicit-override]
        from voxhint.verbs.import_msd import import_msd

        return import_msd(
            self.folder,
            self.out,
            scribbles=self.scribbles,
            undrawn=self.undrawn,
            overwrite=self.overwrite,
            tell=tell,
        )


@dataclass(frozen=True, kw_only=True)
class ImportMasks(_Import):
    """Link images with masks of MONAI Label, TotalSegmentator, BIDS or ITK-SNAP: a new study."""

    folder: Existing
    """The data set."""

    as_: Literal["truth", "hints", "boxes"]
    """What masks become: dense masks, partial masks with the rest unknown, or boxes."""

    label: tuple[str, ...] = ()
    """Labels to take; all if none is given; NAME=THEIR NAME where they are called otherwise."""

    channel: str | None = None
    """What the images are, such as CT; of BIDS the suffix to take, such as T1w."""

    def _made(self, tell: Tell) -> "Written":  # type: ignore[explicit-override]
        from voxhint.verbs.import_masks import import_masks

        return import_masks(
            self.folder,
            self.out,
            wanted=self.as_,
            labels=self.label,
            channel=self.channel,
            overwrite=self.overwrite,
            tell=tell,
        )


class Import:
    """Make a study from DICOM, LUNA16, the Decathlon, MONAI Label, TotalSegmentator or BIDS."""

    kinds: ClassVar[dict[str, type[Any]]] = {
        "dicom": ImportDicom,
        "dicomweb": ImportDicomweb,
        "luna16": ImportLuna16,
        "masks": ImportMasks,
        "msd": ImportMsd,
    }
    """What can be imported, by the word that follows the command."""

    def run(self, _tell: Tell, /) -> _Lines:
        """Refuse: each kind is a command of its own.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Export:
    """Hand the result of a run to other tools."""

    folder: Annotated[Path, Place("RUN")]
    """What `voxhint run` wrote; for nnunet-hints also a study, for masks also a prediction."""

    to: Literal[
        "nnunet", "nnunet-hints", "seg-nrrd", "dicom-seg", "dicomweb", "rtstruct", "folder", "onnx",
        "torchscript", "monai-bundle", "hub",
    ]  # fmt: skip
    """nnunet: masks as a raw data set; nnunet-hints: strokes and points as one, of a study or a
    run; seg-nrrd: masks for 3D Slicer; dicom-seg, rtstruct: objects on the masks' series;
    folder: the model as one file that predict takes; onnx, torchscript, monai-bundle: the
    network for other programs; hub: the model as one file, pushed to a repository; dicomweb:
    dicom-seg, stored in an archive."""

    out: Path
    """The folder to make."""

    dicom: ExistingOption | None = None
    """Folder of the DICOM series that the images came from; found by place and values."""

    seg_type: Literal["binary", "fractional", "labelmap"] = "binary"
    """How dicom-seg stores masks: bits, probabilities, or one number a voxel."""

    repository: str | None = None
    """Owner/name on the Hugging Face hub, for hub; made private if it is not there."""

    url: str | None = None
    """Address of the archive, for dicomweb, as https://host/dicom-web."""

    overwrite: bool = False
    """Replace an earlier export."""

    def run(self, tell: Tell, /) -> _Lines:
        """Yield what was odd, then the output folder, or where on the hub it is.

        Raises:
            BadRecipeError: A repository or an address is missing, or named for nothing.
        """
        if (self.to == "hub") != (self.repository is not None):
            msg = "--to hub and --repository OWNER/NAME belong together; say both"
            raise BadRecipeError(msg)
        if (self.to == "dicomweb") != (self.url is not None):
            msg = "--to dicomweb and --url https://host/dicom-web belong together; say both"
            raise BadRecipeError(msg)
        from voxhint.files.dicom.web import require_archive
        from voxhint.verbs.export import export
        from voxhint.verbs.export_dicom import store
        from voxhint.verbs.export_model import push_model, require_hub
        from voxhint.verbs.export_source import DicomOptions

        if self.repository is not None:
            require_hub()
        if self.url is not None:
            require_archive(self.url)
        made = export(
            self.folder,
            to={"hub": "folder", "dicomweb": "dicom-seg"}.get(self.to, self.to),
            out=self.out,
            dicom=DicomOptions(self.dicom, self.seg_type),
            overwrite=self.overwrite,
            tell=tell,
        )
        yield from (f"warning: {line}" for line in made.warnings)
        yield str(made.out)
        if self.repository is not None:
            yield push_model(made.out, self.repository)
        if self.url is not None:
            yield store(made.out, self.url)


@dataclass(frozen=True, kw_only=True)
class Register:
    """Register the channels of every case to the first: a new study."""

    study: Existing
    """The study folder."""

    out: Path
    """The new study."""

    how: Literal["rigid", "deformable"] = "rigid"
    """rigid turns and shifts, deformable also bends."""

    undrawn: int | None = None
    """Value of drawn maps that means "not drawn", instead of that of dataset.json, or 255."""

    overwrite: bool = False
    """Replace an earlier result of voxhint in the output folder."""

    def run(self, tell: Tell, /) -> _Lines:
        """Yield what was moved, and how far."""
        from voxhint.verbs.register import register

        moves = register(
            self.study,
            self.out,
            how=self.how,
            overwrite=self.overwrite,
            undrawn=self.undrawn,
            tell=tell,
        )
        told = counted(len(moves), "channel")
        yield f"{self.out}: {told} registered; registration.csv tells how far"
