"""A model as one file to hand on: what prediction needs, and a card that says what it is."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voxhint.core.errors import BadFileError
from voxhint.files.zip_archives import read_packed, unpack

SUFFIX = ".voxhint"
CARD = "card.json"


@contextmanager
def unpacked(model: Path) -> Iterator[Path]:
    """Give a model as a folder, for as long as it is used.

    Args:
        model: A folder, or a file of one.

    Yields:
        The folder.
    """
    if not (model.is_file() and model.suffix == SUFFIX):
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="voxhint-") as name:
        unpack(model, Path(name) / "model")
        yield Path(name) / "model"


def cards(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any] | None]]:
    """Yield the models that lie in a folder as files, and their cards; None if one is damaged."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            yield path, read_packed(path, CARD)
        except BadFileError:
            yield path, None


def card_lines(card: Mapping[str, Any] | None, path: Path) -> Iterator[str]:
    """Yield what a person should know before using a model.

    Args:
        card: Its card; None if that cannot be read.
        path: The model.

    Yields:
        Lines.
    """
    if card is None:
        yield "damaged; copy it again"
        return
    yield f"labels: {', '.join(card['labels'])}"
    yield f"use: voxhint predict {path} IMAGES; images of {', '.join(card['channels'])}"
    yield f"licence of its data: {card['data']['licence']}"


def card_text(card: Mapping[str, Any], command: str) -> str:
    """Return a card as a page.

    Args:
        card: What a person should know before using the model.
        command: Predicts with it.
    """
    data, scores = card["data"], card["scores"]
    rows = [
        f"| {label} | {said['mean']:.3f} | {said['low']:.3f} to {said['high']:.3f} "
        f"| {said['subjects']} |"
        for label, said in scores.items()
    ]
    table = ["| label | mean Dice | 95 % interval | subjects |", "|---|---|---|---|", *rows]
    hints = ", ".join(f"{count} {kind}" for kind, count in card["hints"].items())
    return "\n".join(
        [
            f"# {card['name']}",
            "",
            f"Finds {', '.join(card['labels'])} in {', '.join(card['channels'])}.",
            "",
            "```bash",
            command,
            "```",
            "",
            "## Learnt from",
            "",
            f"{data['training']} images; licence of the data: {data['licence']}. "
            f"Hints: {hints or 'none (dense masks)'}.",
            *(
                f"Began with {name}, licence {licence}."
                for name, licence in card["weights"].items()
            ),
            "",
            "## Scores",
            "",
            *(table if rows else ["Not measured: the study had no truth to measure against."]),
            "",
            "## Limits",
            "",
            *(f"- {limit}" for limit in card["limits"]),
            "",
        ]
    )
