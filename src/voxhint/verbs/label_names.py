"""Which label is meant by the names that other tools give to what they drew."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from voxhint.core.errors import BadRecipeError
from voxhint.core.labels import BACKGROUND
from voxhint.core.words import are
from voxhint.files.dataset_json import bad_name
from voxhint.files.dicom.read_seg_rtstruct import Structure
from voxhint.files.unicode_names import plain

_TOLD = 8


@dataclass(slots=True)
class LabelNames:
    """Which label a structure is of, and which structures have none."""

    wanted: dict[str, str] = field(default_factory=dict)
    """Labels by the plain form of a name."""

    free: bool = False
    """Whether every name becomes a label."""

    left: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, names: Mapping[str, tuple[str, ...]]) -> "LabelNames":
        """Return those of some labels; if there is none, of every name there is.

        Args:
            names: Of each label, as `wanted_names` reads them.
        """
        return cls({_plain(name): label for label in names for name in names[label]}, not names)

    def label(self, structure: Structure) -> str | None:
        """Return the label of a structure, or None, which is noted."""
        for name in structure.names:
            if (label := self.wanted.get(_plain(name))) is not None:
                return label
        own = structure.names[0] if structure.names else ""
        bad = structure.naming or bool(bad_name(own)) or _plain(own) == BACKGROUND
        if self.free and not bad:
            return self.wanted.setdefault(_plain(own), own)
        self.left["one called like the patient" if structure.naming else repr(own)] += 1
        return None

    def told(self) -> Iterator[str]:
        """Yield a line that tells which structures have no label."""
        if self.left:
            named = [f"{name} ({count})" for name, count in self.left.most_common(_TOLD)]
            more = ", ..." if len(self.left) > _TOLD else ""
            yield (
                f"{are(self.left.total(), 'structure')} left out: {', '.join(named)}{more}; take "
                "them with --label NAME, or --label LABEL=NAME"
            )


def _plain(name: str) -> str:
    return " ".join(plain(name).split()).casefold()


def wanted_names(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return which names of others each label has, its own among them.

    Args:
        labels: NAME, or NAME=THEIR NAME,THEIR NAME; a label may come twice with other names.

    Raises:
        BadRecipeError: A label is named twice in the same way, two labels have one name, or one
            holds a comma.
    """
    names: dict[str, tuple[str, ...]] = {}
    for said in labels:
        label, equals, others = (part.strip() for part in said.partition("="))
        _require_no_comma(label)
        theirs = tuple(name.strip() for name in others.split(",") if name.strip())
        if (not theirs) if equals else (label in names):
            told = "names nothing after '='" if equals else "a label is named twice"
            msg = f"--label {said}: {told}; write LABEL or LABEL=NAME,NAME"
            raise BadRecipeError(msg)
        names[label] = (*names.get(label, (label,)), *theirs)
    _require_one_owner(names)
    return names


def _require_no_comma(label: str) -> None:
    """Refuse several labels that are written as one.

    Raises:
        BadRecipeError: They are.
    """
    if "," in label:
        several = shlex.join(name.strip() for name in label.split(",") if name.strip())
        msg = f"--label {label}: a label holds no comma; write --label {several} for several, "
        raise BadRecipeError(msg + "or LABEL=NAME,NAME for other names of one")


def _require_one_owner(names: Mapping[str, Sequence[str]]) -> None:
    """Refuse names that two labels have.

    Raises:
        BadRecipeError: There is one.
    """
    owners: dict[str, str] = {}
    for label, theirs in names.items():
        for name in theirs:
            if owners.setdefault(_plain(name), label) != label:
                both = f"'{owners[_plain(name)]}' and '{label}'"
                msg = f"--label: '{name}' is of both {both}; give it to one of them"
                raise BadRecipeError(msg)
