"""From words to an exit code."""

import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from voxhint.core.distributed import launched_process
from voxhint.core.errors import NotAvailableError, VoxhintError, is_out_of_memory, printable
from voxhint.core.words import did_you_mean

OK, BAD_INPUT, MISUSE, NOT_HERE, OURS, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 70, 130, 143

_DEBUG = "VOXHINT_DEBUG"
_LONGEST = 200  # characters of a foreign message
_OTHERS = {
    "help": "Tell the options of a command, or `help knobs [WORD]` every knob of a recipe.",
    "completion": "Print what makes bash, zsh or fish complete commands and options.",
}


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
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_dispatch(list(sys.argv[1:] if words is None else words)))


def _terminate(_signal: int, _frame: object) -> NoReturn:
    sys.exit(TERMINATED)


def _dispatch(words: list[str]) -> int:
    from voxhint.cli.commands import COMMANDS  # after the signal handler is set

    first, *rest = words or ["--help"]
    if first == "help" and rest[:1] != ["knobs"]:
        first, *rest = [*rest, "--help"]
        if first not in ("--help", *COMMANDS):
            return _unknown(first, [*COMMANDS, "knobs"])
    match first:
        case "-h" | "--help":
            print(_overview(COMMANDS))
        case "-V" | "--version":
            from importlib.metadata import version

            print(version("voxhint"))
        case "help":
            return _tell_knobs(*rest[1:2])
        case "completion":
            return _complete(rest, COMMANDS)
        case _:
            return _command(first, rest, COMMANDS)
    return OK


def _tell_knobs(word: str = "") -> int:
    from voxhint.cli.options import knob_rows

    try:
        print(*knob_rows(word), sep="\n")
    except VoxhintError as error:
        return _told(error, "help")
    return OK


def _command(name: str, words: list[str], commands: dict[str, Any]) -> int:
    kind = commands.get(name)
    if kind is None:
        return _unknown(name, [*commands, *_OTHERS])
    kinds = getattr(kind, "kinds", None)
    if kinds is None:
        return _run(name, kind, words)
    if not words or words[0] in ("-h", "--help"):
        print(_overview(kinds, f"voxhint {name}"))
        return OK if words else MISUSE
    if words[0] not in kinds:
        return _unknown(words[0], kinds)
    return _run(f"{name} {words[0]}", kinds[words[0]], words[1:])


def _unknown(word: str, known: Iterable[str]) -> int:
    """Return the code of misuse, having told which command was perhaps meant."""
    ask = did_you_mean(word, known, f"use {', '.join(known)}")
    print(f"error: no command '{printable(word)}'; {ask}", file=sys.stderr)
    return MISUSE


def _complete(words: list[str], commands: dict[str, Any]) -> int:
    from voxhint.cli.completion import SHELLS, script

    if words[:1] in (["-h"], ["--help"]):
        print("usage: voxhint completion bash|zsh|fish", _OTHERS["completion"], sep="\n\n")
        return OK
    if len(words) != 1 or words[0] not in SHELLS:
        print(f"error: name a shell: {', '.join(SHELLS)}", file=sys.stderr)
        return MISUSE
    print(script(words[0], commands, _OTHERS))
    return OK


def _overview(commands: dict[str, Any], prog: str = "voxhint") -> str:
    lines = [f"usage: {prog} COMMAND ...", ""]
    told = {name: kind.__doc__.splitlines()[0] for name, kind in commands.items()}
    if prog == "voxhint":
        lines += ["Hints in, voxels out.", ""]
        told |= _OTHERS
    lines += [f"  {name:<10} {text}" for name, text in told.items()]
    lines += ["", f"{prog} COMMAND --help tells every option. For research use only."]
    return "\n".join(lines)


def _run(name: str, kind: type[Any], words: list[str]) -> int:
    from voxhint.cli.options import require_there
    from voxhint.cli.progress import Teller

    teller = Teller()
    try:
        first = launched_process().rank == 0  # of several processes one tells
        teller = Teller(quiet=not first)
        command = _parse(name, kind, words)
        require_there(command)
        for line in command.run(teller):
            teller.close()
            if first:
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
    if is_out_of_memory(error):
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
    from voxhint.cli.options import read_words

    return read_words(name, kind, words)
