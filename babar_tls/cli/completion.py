"""``babar-tls completion``: scripts with which a shell completes commands, options and their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from ._parser_facts import Command, Option

HELP = "print a script with which a shell completes this command"
DESCRIPTION = """\
Print a script that completes the commands, options, their values and file names. It is static: create it again after an
update."""
EPILOG = """\
Add one of these lines to the file that your shell reads when it starts:

  bash   eval "$(babar-tls completion bash)"
  zsh    eval "$(babar-tls completion zsh)"
  fish   babar-tls completion fish | source
"""

#: The parser adds no ``--json``: this command prints no result.
OWN_JSON = True


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    parser.add_argument("shell", metavar="SHELL", choices=tuple(_SHELLS), help=f"one of: {', '.join(_SHELLS)}")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from ._arguments import COMMANDS, build  # noqa: PLC0415 - imports this module
    from ._parser_facts import commands  # noqa: PLC0415 - not needed for --help

    print(_SHELLS[options.shell](list(commands(build(COMMANDS)))), end="")
    return 0


# bash ----------------------------------------------------------------------------------------------------------------

_BASH = """\
_babar_tls() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= words= word
    if [[ $current == = ]]; then
        current=
    elif [[ $previous == = ]]; then
        previous=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in
            {names}) command=$word; break ;;
        esac
    done
    COMPREPLY=()
    case $command:$previous in
{values}
    esac
    if [[ -z $words ]]; then
        case $command in
{options}
        esac
    fi
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen -W "$words" -- "$current")
}}
_babar_tls_files() {{
    local word
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen -f -- "$1")
    compopt -o filenames 2>/dev/null
}}
complete -F _babar_tls babar-tls
"""


_NO_COMMAND = "''"  # an empty word in a pattern


def _bash(commands: Sequence[Command]) -> str:
    names = [command.name for command in commands if command.name]
    values, options = [], []
    for command in commands:
        for option in command.options:
            if option.metavar and option.names:
                pattern = "|".join(f"{command.name}:{name}" for name in option.names)
                values.append(f"        {pattern}) {_bash_value(option)} ;;")
        words = [name for option in command.options for name in option.names]
        words += [word for option in command.options if not option.names for word in option.words]
        words += [] if command.name else names
        options.append(f'            {command.name or _NO_COMMAND}) words="{" ".join(words)}" ;;')
    return _BASH.format(names="|".join(names), values="\n".join(values), options="\n".join(options))


def _bash_value(option: Option) -> str:
    if option.is_path:
        files = '_babar_tls_files "$current"; return'
        return f"if [[ $current != -* ]]; then {files}; fi" if option.is_optional else files
    return f'words="{" ".join(option.words)}"' if option.words else "return"


# zsh -----------------------------------------------------------------------------------------------------------------

_ZSH = """\
#compdef babar-tls
_babar_tls() {{
    local curcontext=$curcontext state line
    local -a commands
    commands=(
{commands}
    )
    _arguments -C {options} \\
        '1:command:->command' '*::argument:->argument'
    case $state in
        command) _describe command commands ;;
        argument)
            case $line[1] in
{arguments}
            esac ;;
    esac
}}
if [[ $funcstack[1] == _babar_tls ]]; then
    _babar_tls "$@"
else
    compdef _babar_tls babar-tls
fi
"""


def _zsh(commands: Sequence[Command]) -> str:
    names = [f"        {_quote(f'{command.name}:{_zsh_text(command.help)}')}" for command in commands if command.name]
    arguments = []
    for command in commands[1:]:
        specs = " \\\n                    ".join(spec for option in command.options for spec in _zsh_specs(option))
        arguments.append(f"                {command.name})\n                    _arguments {specs} ;;")
    program = " ".join(spec for option in commands[0].options for spec in _zsh_specs(option))
    return _ZSH.format(commands="\n".join(names), options=program, arguments="\n".join(arguments))


def _zsh_specs(option: Option) -> list[str]:
    value = f"({' '.join(option.words)})" if option.words else "_files" if option.is_path else " "
    if not option.names:
        return [_quote(f"::{option.metavar}:{value}")]
    colons = "::" if option.is_optional else ":"
    after = f"{colons}{_zsh_text(option.metavar)}:{value}" if option.metavar else ""
    return [
        _quote(f"{name}{'=' if after and name.startswith('--') else ''}[{_zsh_text(option.help)}]{after}")
        for name in option.names
    ]


def _zsh_text(text: str) -> str:
    return re.sub(r"([\\\[\]:])", r"\\\1", text)


# fish ----------------------------------------------------------------------------------------------------------------


def _fish(commands: Sequence[Command]) -> str:
    lines = ["complete -c babar-tls -f"]
    for command in commands:
        if command.name:
            lines.append(
                f"complete -c babar-tls -n __fish_use_subcommand -a {command.name} -d {_fish_quote(command.help)}"
            )
        condition = f"__fish_seen_subcommand_from {command.name}" if command.name else "__fish_use_subcommand"
        lines += [f"complete -c babar-tls -n '{condition}' {_fish_spec(option)}" for option in command.options]
    return "\n".join(lines) + "\n"


def _fish_spec(option: Option) -> str:
    words = f" -a '{' '.join(option.words)}'" if option.words else ""
    if not option.names:
        return (words or " -F").strip() if option.words or option.is_path else "-f"
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = ""
    if option.metavar and not option.is_optional:
        value = " -r -F" if option.is_path else f" -x{words}"
    return f"{names}{value} -d {_fish_quote(option.help)}"


def _fish_quote(text: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_SHELLS: dict[str, Callable[[Sequence[Command]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
