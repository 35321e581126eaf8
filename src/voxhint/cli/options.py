"""From a dataclass to the words of a command, and from words to the dataclass."""

import argparse
import dataclasses
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from voxhint.config import Machine, Recipe
from voxhint.config.knob_list import Knob, listed, takes, texts
from voxhint.config.ranges import Knobs
from voxhint.config.recipe import changed_recipe
from voxhint.config.renamed_knobs import RENAMED, moved
from voxhint.core.errors import BadRecipeError, BadStudyError, printable
from voxhint.core.words import did_you_mean

_ON_HELP = frozenset(
    {
        "label.method",
        "label.nifti",
        "train.supervision",
        "train.network",
        "train.steps",
        "train.budget",
        "predict.probabilities",
        "predict.uncertainty",
        "measure.tolerance_mm",
    }
)
"""Knobs of a recipe that the help of a command shows: what most people choose."""

_WIDTH = 100
_NAMES = {int: "N", float: "X", Path: "PATH"}


@dataclass(frozen=True, slots=True)
class Place:
    """Marks a field that is a word of its own, a path that has to be there."""

    name: str = ""
    """As help calls it; the field's own if empty."""


Existing = Annotated[Path, Place()]
"""A path given as a word of its own."""


class _Given:
    """Marks an option whose path has to be there."""


ExistingOption = Annotated[Path, _Given()]
"""A path given after an option."""


@dataclass(frozen=True, slots=True)
class _Option:
    """One option of a command."""

    flag: str
    hint: Any
    text: str
    default: object = None
    shown: bool = True
    required: bool = False
    knob: str = ""
    """Full name in the recipe, or with `machine` in front."""


class _Parser(argparse.ArgumentParser):
    """Tells mistakes in one line, and what was perhaps meant."""

    def error(self, message: str) -> NoReturn:  # type: ignore[explicit-override]
        """Tell a mistake and leave with the code of misuse.

        Raises:
            SystemExit: Always.
        """
        told = printable(_meant(message, self))
        print(f"error: {told}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def _meant(message: str, parser: argparse.ArgumentParser) -> str:
    unknown = re.match(r"unrecognized arguments: (\S+)", message)
    if unknown is None:
        return message
    word = unknown[1].partition("=")[0]
    told = f"there is no option {word}"
    if not word.startswith("-"):
        told = f"'{word}' is one word too much"
    name = word.lstrip("-").removeprefix("no-").replace("-", "_")
    for table in ("label", "train", "predict", "measure"):
        if (new := RENAMED.get(f"{table}.{name}")) is not None:
            return f"{word} is --set {new.partition(' ')[0].rstrip(',')}=VALUE now"
        if (sentence := moved(f"{table}.{name}")) is not None:
            return f"{told}: {sentence}"
    inner = next((k.name for k in listed(Recipe) if k.name.endswith(f".{name}")), "")
    if inner and "--set" in parser._option_string_actions:
        return f"{told}; say --set {inner}=VALUE"
    ask = did_you_mean(word, flags_of(parser), "")
    return "; ".join(filter(None, (told, ask)))


def flags_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the options that help shows, each with its help."""
    return {
        flag: action.help or ""
        for action in parser._actions  # argparse tells them nowhere else
        if action.help != argparse.SUPPRESS
        for flag in action.option_strings
    }


def parser_of(name: str, kind: type[Any]) -> _Parser:
    """Return the parser of a command.

    Args:
        name: The command, as a person calls it.
        kind: Its dataclass; fields that are tables of a recipe give an option for each knob.
    """
    places = "".join(f" {_usage(kind, field)}" for field in _places(kind))
    needed = "".join(f" {o.flag} {_metavar(o)}" for o in _options_of(kind) if o.required)
    parser = _Parser(
        prog=f"voxhint {name}",
        usage=f"voxhint {name}{places}{needed} [options]",
        description=" ".join(str(kind.__doc__).split()),
        formatter_class=lambda prog: argparse.HelpFormatter(
            prog, max_help_position=30, width=_WIDTH
        ),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for field in _places(kind):
        optional = field.default is not dataclasses.MISSING
        parser.add_argument(
            field.name,
            type=str if _bare(get_type_hints(kind)[field.name]) is str else Path,
            nargs="?" if optional else None,
            default=None,
            metavar=_place(kind, field).name or field.name.upper(),
            help=_help(texts(kind)[field.name]),
        )
    for option in _options_of(kind):
        _add(parser, option)
    if _tables(kind):
        parser.add_argument(
            "--config", type=Path, metavar="RECIPE", help="a recipe: a TOML file of knobs"
        )
        parser.add_argument(
            "--set",
            action="append",
            metavar="KNOB=VALUE",
            help="set any knob of a recipe, such as --set train.width=24; an option wins over the "
            "recipe; `voxhint help knobs` lists all",
        )
    return parser


def _options_of(kind: type[Any]) -> Iterator[_Option]:
    """Yield the options of a command in the order of help."""
    hints, told = get_type_hints(kind, include_extras=True), texts(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if _mark(hint) is not None:
            continue
        if isinstance(hint, type) and issubclass(hint, Knobs):
            yield from _of_table(field.name, hint)
            continue
        default = field.default
        needed = default is dataclasses.MISSING
        flag = f"--{field.name.rstrip('_').replace('_', '-')}"  # `as_` is --as
        yield _Option(flag, hint, told[field.name], None if needed else default, required=needed)


def _of_table(table: str, kind: type[Knobs]) -> Iterator[_Option]:
    for knob in listed(kind, f"{table}."):
        *_, name = knob.name.split(".")
        if knob.name.count(".") > 1 or name in getattr(kind, "unoffered", ()):
            continue  # knobs of one method stand in its table of a recipe, or after --set
        shown = issubclass(kind, Machine) or knob.name in _ON_HELP
        flag = f"--{name.replace('_', '-')}"
        yield _Option(flag, knob.hint, knob.text, knob.default, shown, knob=knob.name)


def _add(parser: argparse.ArgumentParser, option: _Option) -> None:
    hint = _bare(option.hint)
    text = argparse.SUPPRESS
    if option.shown:
        text = _help(_with_range(option, hint))
    given: dict[str, Any] = {"help": text, "dest": option.knob or option.flag[2:].replace("-", "_")}
    if hint is bool:
        _add_switch(parser, option, given)
        return
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        given["nargs"] = "*" if inner[-1] is Ellipsis else len(inner)
        hint = inner[0]
    if get_origin(hint) is Literal:
        given["choices"] = get_args(hint)
    elif hint in (int, float, Path):
        given["type"] = _number(hint) if hint is not Path else Path
    parser.add_argument(option.flag, required=option.required, metavar=_metavar(option), **given)


def _add_switch(parser: argparse.ArgumentParser, option: _Option, given: dict[str, Any]) -> None:
    """Add an option and its opposite; help shows the one that changes something."""
    for value, flag in ((True, option.flag), (False, f"--no-{option.flag[2:]}")):
        text = {"help": argparse.SUPPRESS} if option.default is value else {}
        parser.add_argument(flag, action="store_const", const=value, **{**given, **text})


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:  # noqa: ANN401
        try:
            return kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            msg = f"'{text}' is not {wanted}"
            raise argparse.ArgumentTypeError(msg) from None

    return read


def _with_range(option: _Option, hint: Any) -> str:  # noqa: ANN401
    text = option.text.removesuffix(".")
    said = takes(option.hint)
    plain = said.removeprefix("any of ") in ("path", "text", "whole number", "number")
    if hint is not bool and not plain:
        text += f"; {said}"
    if option.default is None or option.default in ((), False) or hint is bool:
        return text
    return f"{text} [{option.default}]"


def _help(text: str) -> str:
    text = text.removesuffix(".").replace("%", "%%")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _metavar(option: _Option) -> str:
    hint = _bare(option.hint)
    name = option.flag[2:].rpartition("-")[2].upper()
    if get_origin(hint) is tuple:
        hint = get_args(hint)[0]
    return "MM" if name == "MM" else _NAMES.get(hint, name)


def _bare(hint: Any) -> Any:  # noqa: ANN401
    """Return a type without None and without its range."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _mark(hint: Any, kinds: type | tuple[type, ...] = Place) -> Any:  # noqa: ANN401
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    marks = getattr(hint, "__metadata__", ())
    return next((mark for mark in marks if isinstance(mark, kinds)), None)


def _place(kind: type[Any], field: "dataclasses.Field[Any]") -> Place:
    return _mark(get_type_hints(kind, include_extras=True)[field.name]) or Place()


def _places(kind: type[Any]) -> list["dataclasses.Field[Any]"]:
    hints = get_type_hints(kind, include_extras=True)
    return [f for f in dataclasses.fields(kind) if _mark(hints[f.name]) is not None]


def _usage(kind: type[Any], field: "dataclasses.Field[Any]") -> str:
    name = _place(kind, field).name or field.name.upper()
    return name if field.default is dataclasses.MISSING else f"[{name}]"


def _tables(kind: type[Any]) -> list[str]:
    hints = get_type_hints(kind)
    return [
        field.name
        for field in dataclasses.fields(Recipe)
        if isinstance(hints.get(field.name), type) and issubclass(hints[field.name], Knobs)
    ]


def read_words(name: str, kind: type[Any], words: Sequence[str]) -> Any:  # noqa: ANN401
    """Return a command as its words say it.

    Args:
        name: The command.
        kind: Its dataclass.
        words: What follows the command.

    Returns:
        The dataclass, every knob checked.

    Raises:
        SystemExit: The words are no such command.
    """
    parser = parser_of(name, kind)
    read = vars(parser.parse_args(list(words)))
    given: dict[str, Any] = {
        f"{k}_" if iskeyword(k) else k: tuple(v) if isinstance(v, list) else v
        for k, v in read.items()
    }
    config, settings = given.pop("config", None), given.pop("set", ())
    knobs = {k: given.pop(k) for k in list(given) if "." in k}
    machine = _of_machine(knobs)
    if tables := _tables(kind):
        knobs |= dict(_setting(parser, text, tables) for text in settings)
        recipe = changed_recipe(config, knobs)
        given |= {table: getattr(recipe, table) for table in tables}
    if "machine" in kind.__dataclass_fields__:
        given["machine"] = get_type_hints(kind)["machine"](**machine)
    return kind(**given)


def _of_machine(knobs: dict[str, Any]) -> dict[str, Any]:
    """Return the knobs of the machine without their table, taken out of all."""
    names = [name for name in knobs if name.startswith("machine.")]
    return {name.removeprefix("machine."): knobs.pop(name) for name in names}


def require_there(command: Any) -> None:  # noqa: ANN401
    """Refuse a path that has to be there and is not, before anything is loaded.

    Raises:
        BadStudyError: There is one.
    """
    kind = type(command)
    hints = get_type_hints(kind, include_extras=True) if dataclasses.is_dataclass(kind) else {}
    for name, hint in hints.items():
        path = getattr(command, name, None) if _mark(hint, (Place, _Given)) is not None else None
        if isinstance(path, Path) and not path.exists():
            msg = f"{path}: is not there; check the path (this is {Path.cwd()})"
            raise BadStudyError(msg)


def _setting(parser: _Parser, text: str, tables: Sequence[str]) -> tuple[str, object]:
    """Return name and value of KNOB=VALUE; the value is TOML, or else plain text."""
    name, equals, value = text.partition("=")
    if not equals:
        parser.error(f"--set {text}: write --set KNOB=VALUE, such as --set train.width=24")
    name = name.strip().replace("-", "_")
    if name.partition(".")[0] not in tables and moved(name) is None:
        parser.error(f"--set {text}: this command takes knobs of {', '.join(tables)} alone")
    try:
        return name, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return name, value


def knob_rows(word: str = "") -> Iterator[str]:
    """Yield a line for each knob of a recipe, or for those whose rows hold most of some words.

    Raises:
        BadRecipeError: None holds any.
    """
    asked = word.lower().lstrip("-")
    rows = [f"{k.name} = {_written(k)}  ({k.takes})  {k.text}" for k in listed(Recipe)]
    found = _holding(rows, asked.split())
    if not found:
        names = [field.name.replace("_", "-") for field in dataclasses.fields(Machine)]
        options = [f"--{name}" for name in names if asked.replace("_", "-") in name]
        told = f"the option {' or '.join(options)} of commands" if options else "every option"
        msg = f"no knob of a recipe tells of '{word}'; voxhint help run tells {told}"
        raise BadRecipeError(msg)
    yield from found


def _holding(rows: list[str], words: Sequence[str]) -> list[str]:
    """Return the rows that hold most of some words; all of them if there are no words."""
    held = [
        sum(one in row.lower() or one.replace("-", "_") in row.lower() for one in words)
        for row in rows
    ]
    most = max(held)
    return [
        row for row, count in zip(rows, held, strict=True) if count == most and (most or not words)
    ]


def _written(knob: Knob) -> str:
    match knob.default:
        case None | ():
            return "auto" if knob.default is None else "[]"
        case bool():
            return str(knob.default).lower()
        case _:
            return str(knob.default)
