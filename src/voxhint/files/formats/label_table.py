"""Names of labels inside a NIfTI file, so that a mask which travels alone says what its ids are."""

from xml.sax.saxutils import quoteattr

from voxhint.core.colours import colour_of, rgb_of
from voxhint.core.labels import LabelSet

CODE = 0
"""Of the header extension: TotalSegmentator's, which its reader and nibabel's take as it is."""


def label_table(labels: LabelSet) -> bytes:
    """Return the header extension that names the ids of a mask, but for background.

    Returns:
        XML in UTF-8; the same labels give the same bytes.

    Source:
        The CaretExtension and LabelTable of Connectome Workbench, as TotalSegmentator writes them.
    """
    rows = "\n".join(
        _row(name, value, colour_of(number))
        for number, (name, value) in enumerate(zip(labels.names, labels.ids, strict=True))
        if number > 0
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CaretExtension><VolumeInformation Index="0">\n'
        f"<LabelTable>\n{rows}\n</LabelTable>\n<VolumeType><![CDATA[Label]]></VolumeType>\n"
        "</VolumeInformation></CaretExtension>\n"
    )
    return text.encode()


def _row(name: str, value: int, colour: str) -> str:
    red, green, blue = (f"{part / 255:.6f}" for part in rgb_of(colour))
    said = name.replace("]]>", "]]]]><![CDATA[>")
    return (
        f'<Label Key={quoteattr(str(value))} Red="{red}" Green="{green}" Blue="{blue}" '
        f'Alpha="1"><![CDATA[{said}]]></Label>'
    )
