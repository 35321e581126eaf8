"""From words to an exit code."""

import dataclasses
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from voxhint.core.errors import NotAvailableError, VoxhintError, printable

OK, BAD_INPUT, MISUSE, NOT_HERE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143


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
        print(f"error: no command '{words[0]}'; use {', '.join(COMMANDS)}", file=sys.stderr)
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
            print(line, flush=True)
    except VoxhintError as error:
        teller.close()
        _tell_error(error)
        return NOT_HERE if isinstance(error, NotAvailableError) else BAD_INPUT
    except KeyboardInterrupt:
        teller.close()
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = None
        return OK
    except OSError as error:
        teller.close()
        told = printable(f"{error.filename or name}: {error.strerror or error}")
        print(f"error: {told}; free space or mend the place, then start again", file=sys.stderr)
        return BAD_INPUT
    return OK


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
