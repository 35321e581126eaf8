"""What makes a shell complete the commands and options of voxhint."""

from collections.abc import Iterator, Mapping
from typing import Any

from voxhint.cli.options import flags_of, parser_of

SHELLS = ("bash", "zsh", "fish")

_ZSH = "autoload -U +X compinit bashcompinit && compinit && bashcompinit"
_BASH = """\
_voxhint() {
  local word="${COMP_WORDS[COMP_CWORD]}" options=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=( $(compgen -W "%(commands)s" -- "$word") )
    return
  fi
  case "${COMP_WORDS[1]}" in
%(cases)s
  esac
  if [[ "$word" == -* ]] || [[ " $options " != *" -"* ]]; then
    COMPREPLY=( $(compgen -W "$options" -- "$word") )
  else
    COMPREPLY=( $(compgen -f -- "$word") )
  fi
}
complete -o filenames -F _voxhint voxhint"""


def script(shell: str, commands: Mapping[str, Any], others: Mapping[str, str]) -> str:
    """Return the text that a shell has to read once.

    Args:
        shell: One of SHELLS.
        commands: By name.
        others: Words that are no commands, and what they do.

    Returns:
        A script; `voxhint completion bash >> ~/.bashrc` makes it stay.
    """
    if shell == "fish":
        return "\n".join(_fish(commands, others))
    options = {name: " ".join(_options(name, kind)) for name, kind in commands.items()}
    options |= {"help": " ".join([*commands, "knobs"]), "completion": " ".join(SHELLS)}
    cases = "\n".join(f'    {name}) options="{words}" ;;' for name, words in options.items())
    bash = _BASH % {"commands": " ".join([*commands, *others]), "cases": cases}
    if shell == "zsh":
        return f"{_ZSH}\n{bash}"
    return bash


def _options(name: str, kind: Any) -> list[str]:  # noqa: ANN401
    kinds = getattr(kind, "kinds", None)
    return list(kinds) if kinds else list(flags_of(parser_of(name, kind)))


def _fish(commands: Mapping[str, Any], others: Mapping[str, str]) -> Iterator[str]:
    yield "complete -c voxhint -f -n __fish_use_subcommand"
    told = {name: str(kind.__doc__).splitlines()[0] for name, kind in commands.items()}
    told |= others
    for name, text in told.items():
        yield f"complete -c voxhint -n __fish_use_subcommand -a {name} -d {_quoted(text)}"
    words = {"help": [*commands, "knobs"], "completion": list(SHELLS)}
    for name, kind in commands.items():
        kinds = getattr(kind, "kinds", None)
        if kinds:
            words[name] = list(kinds)
            continue
        for flag, text in flags_of(parser_of(name, kind)).items():
            if flag.startswith("--"):
                inside = f"-n '__fish_seen_subcommand_from {name}'"
                yield f"complete -c voxhint {inside} -l {flag[2:]} -d {_quoted(text)}"
    for name, after in words.items():
        inside = f"-n '__fish_seen_subcommand_from {name}'"
        yield f"complete -c voxhint -f {inside} -a '{' '.join(after)}'"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("%%", "%")
    return f"'{escaped}'"
