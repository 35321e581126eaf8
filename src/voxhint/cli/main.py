"""From words to an exit code."""

import dataclasses
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from voxhint.core.errors import NotAvailableError, VoxhintError, printable

OK, BAD_INPUT, MISUSE, NOT_HERE, OURS, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 70, 130, 143

_DEBUG = "VOXHINT_DEBUG"
_LONGEST = 200  # characters of a foreign message
_NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "Failed to allocate")


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit.

    Args:
        words: The command line without the program's name; None takes the process's own.

    Raises:
        SystemExit: Always, with the exit code.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # nibabel tells each step of mending a header; our readers tell the outcome in one line
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    # Fabric tells its precision each time one is opened
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_dispatch(list(sys.argv[1:] if words is None else words)))


def _terminate(_signal: int, _frame: object) -> NoReturn:
    sys.exit(TERMINATED)


def _dispatch(words: list[str]) -> int:
    from voxhint.cli.commands import COMMANDS  # after the signal handler is set

    if not words or words[0] in ("-h", "--help"):
        print(_overview(COMMANDS))
        return OK
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("voxhint"))
        return OK
    kind = COMMANDS.get(words[0])
    if kind is None:
        print(
            f"error: no command '{printable(words[0])}'; use {', '.join(COMMANDS)}", file=sys.stderr
        )
        return MISUSE
    return _run(words[0], kind, words[1:])


def _overview(commands: dict[str, Any]) -> str:
    lines = ["usage: voxhint COMMAND ...", "", "Hints in, voxels out.", ""]
    lines += [f"  {name:<10} {kind.__doc__.splitlines()[0]}" for name, kind in commands.items()]
    lines += ["", "voxhint COMMAND --help tells every flag. For research use only."]
    return "\n".join(lines)


def _run(name: str, kind: type[Any], words: list[str]) -> int:
    from voxhint.cli.progress import Teller

    teller = Teller()
    try:
        for line in _parse(name, kind, words).run(teller):
            teller.close()
            print(printable(line), flush=True)  # names in it are whatever files are called
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # a person reads one line
        teller.close()
        return _told(error, name)
    return OK


def _told(error: BaseException, name: str) -> int:
    """Return the exit code of an error, having told what it is."""
    match error:
        case VoxhintError():
            _tell_error(error)
            code = NOT_HERE if isinstance(error, NotAvailableError) else BAD_INPUT
        case KeyboardInterrupt():
            print("interrupted; the same command goes on from here", file=sys.stderr)
            code = INTERRUPTED
        case BrokenPipeError():  # whoever read our output has seen enough
            sys.stdout = None
            code = OK
        case OSError():
            told = printable(f"{error.filename or name}: {error.strerror or error}")
            print(f"error: {told}; free space or mend the place, then start again", file=sys.stderr)
            code = BAD_INPUT
        case _:
            code = _tell_uncaught(error)
    return code


def _tell_uncaught(error: BaseException) -> int:
    """Return the exit code of an error that nothing had foreseen, having told what it is."""
    if os.environ.get(_DEBUG):
        traceback.print_exception(error)
    notes = [printable(note) for note in getattr(error, "__notes__", ())]
    if isinstance(error, MemoryError) or any(part in str(error) for part in _NO_MEMORY):
        advice = (
            "close other programs, lower --patch-voxels, --batch or --width, say --max-ram, or use "
            "a machine with more memory; the same command goes on from here"
        )
        print(f"error: there is not enough memory; {advice}", *notes, sep="\n", file=sys.stderr)
        return BAD_INPUT
    words = printable(" ".join(str(error).split()))[:_LONGEST]
    what = f"{type(error).__name__}: {words}" if words else type(error).__name__
    told = f"error: a mistake of voxhint's own ({what}); report it with {_written(error)}"
    print(told, *notes, sep="\n", file=sys.stderr)
    return OURS


def _written(error: BaseException) -> str:
    """Return where the trace of an error lies for whoever reports it."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="voxhint-error-", suffix=".txt", delete=False
        ) as file:
            file.write(text.encode("utf-8", "backslashreplace").decode())
    except OSError:
        return f"what it prints with {_DEBUG}=1"
    return f"the file {file.name}, having looked for names in it"


def _tell_error(error: VoxhintError) -> None:
    text = str(error)
    if not text:  # everything was said on standard output already
        return
    for line in text.splitlines():
        print(f"error: {printable(line)}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(printable(note), file=sys.stderr)


def _parse(name: str, kind: type[Any], words: list[str]) -> Any:  # noqa: ANN401
    import tyro

    parts = {field.name for field in dataclasses.fields(kind)}
    knobs = ("label", "train", "predict", "measure")
    recipe, words = _recipe(words) if parts & set(knobs) else (None, words)
    if recipe is None:
        default = None
    else:
        from voxhint.config import Recipe, read_recipe

        read = read_recipe(recipe)
        given = {f.name: getattr(read, f.name) for f in dataclasses.fields(Recipe)}
        fill = {f: given.get(f, _default(kind, f)) for f in parts}
        default = kind(**fill)
    return tyro.cli(
        kind,
        prog=f"voxhint {name}",
        description=kind.__doc__,
        args=words,
        default=default,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _default(kind: type[Any], name: str) -> Any:  # noqa: ANN401
    import tyro

    field = next(f for f in dataclasses.fields(kind) if f.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING if field.default is dataclasses.MISSING else field.default


def _recipe(words: list[str]) -> tuple[Path | None, list[str]]:
    """Return the path after --config, and the other words."""
    for place, word in enumerate(words):
        if word == "--config" and place + 1 < len(words):
            return Path(words[place + 1]), words[:place] + words[place + 2 :]
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")), words[:place] + words[place + 1 :]
    return None, words
