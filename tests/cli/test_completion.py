"""Completion in a shell, and the manual page."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from babar_tls import available_backends
from babar_tls.bench.workloads.all import WORKLOADS
from babar_tls.cli._arguments import COMMANDS, build
from babar_tls.cli._errors import EXIT_STATUSES
from babar_tls.cli._parser_facts import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .conftest import Outcome

SHELLS = ("bash", "zsh", "fish")

_BASH = """
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_babar_tls
printf "%s\\n" "${COMPREPLY[@]}"
"""


def tool(name: str) -> str:
    """Return the path of a program that may be missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(command: Sequence[str], text: str = "", cwd: Path | None = None) -> str:
    """Return the output of a program that succeeds and prints no error."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)  # noqa: S603 - chosen above
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def complete(cli: Callable[..., Outcome], tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that returns what bash offers for the last word of a command line."""
    bash, script = tool("bash"), cli("completion", "bash").out

    def offered(*words: str) -> list[str]:
        return run([bash, "--norc", "-c", script + _BASH, "bash", "babar-tls", *words], cwd=tmp_path).split("\n")[:-1]

    return offered


def test_bash_offers_commands(complete: Callable[..., list[str]]) -> None:
    assert complete("") == ["-h", "--help", "--version", *COMMANDS]
    assert complete("ba") == ["backends"]


@pytest.mark.parametrize("command", COMMANDS)
def test_bash_offers_every_option_of_a_command(complete: Callable[..., list[str]], command: str) -> None:
    (found,) = (item for item in commands(build(COMMANDS)) if item.name == command)
    names = [name for option in found.options for name in option.names]
    assert "--help" in names
    assert [word for word in complete(command, "") if word.startswith("-")] == names
    long = [name for name in names if name.startswith("--")]
    assert complete(command, "--") == long


def test_bash_offers_values(complete: Callable[..., list[str]]) -> None:
    assert complete("verifier", "--format", "") == ["lines", "csv"]
    assert complete("verifier", "--force", "--output-format", "=", "s") == ["sql"]
    assert set(available_backends()) <= set(complete("connect", "host=h", "--backend", ""))
    assert complete("completion", "z") == ["zsh"]
    assert set(WORKLOADS) <= set(complete("bench", ""))
    assert complete("connect", "--timeout", "") == [""]


def test_bash_offers_file_names(complete: Callable[..., list[str]], tmp_path: Path) -> None:
    for name in ("ca one.pem", "ca*.pem", "other"):
        (tmp_path / name).touch()
    assert set(complete("connect", "--root-cert", "ca")) == {"ca one.pem", "ca*.pem"}


def test_bash_offers_options_after_an_option_without_its_optional_value(complete: Callable[..., list[str]]) -> None:
    assert "--quick" in complete("bench", "kdf", "--json", "--")
    assert complete("bench", "kdf", "--json", "") == [""]  # file names, of which the folder has none


@pytest.mark.parametrize("shell", SHELLS)
def test_script_has_no_syntax_error(cli: Callable[..., Outcome], tmp_path: Path, shell: str) -> None:
    script = tmp_path / "script"
    script.write_text(cli("completion", shell).out)
    assert run([tool(shell), "-n", str(script)]) == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_script_has_every_command_and_option(cli: Callable[..., Outcome], shell: str) -> None:
    script = cli("completion", shell).out
    for command in commands(build(COMMANDS)):
        assert command.name in script
        for option in command.options:
            for name in option.names:
                assert re.search(rf"{re.escape(name.lstrip('-') if shell == 'fish' else name)}\b", script)


def test_fish_offers_options_and_values(cli: Callable[..., Outcome]) -> None:
    fish, script = tool("fish"), cli("completion", "fish").out

    def offered(line: str) -> set[str]:
        out = run([fish, "--no-config", "-c", f"{script}\ncomplete -C '{line}'"])
        return {word.partition("\t")[0] for word in out.splitlines()}

    assert offered("babar-tls ba") == {"backends"}
    assert {"--root-cert", "--no-password"} <= offered("babar-tls connect --")
    assert offered("babar-tls verifier --format ") == {"lines", "csv"}
    assert offered("babar-tls completion z") == {"zsh"}


def test_zsh_loads_the_script(cli: Callable[..., Outcome]) -> None:
    script = cli("completion", "zsh").out
    zsh = tool("zsh")
    loaded = f"autoload -U compinit && compinit -D -u && {{\n{script}\n}} && print -r -- $_comps[babar-tls]"
    assert run([zsh, "-f", "-c", loaded]) == "_babar_tls\n"


def test_unknown_shell_has_status_2(cli: Callable[..., Outcome]) -> None:
    outcome = cli("completion", "tcsh")
    assert (outcome.status, outcome.out) == (2, "")
    assert "must be one of bash, zsh, fish" in outcome.err
    assert cli("completion").status == 2


# The manual page ---------------------------------------------------------------------------------------------------


@pytest.fixture
def page(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the manual page."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    outcome = cli("man")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.isascii()
    return outcome.out


def test_manual_page_passes_mandoc(page: str) -> None:
    assert run([tool("mandoc"), "-T", "lint"], page) == ""


def test_manual_page_passes_groff(page: str) -> None:
    text = re.sub(".\b", "", run([tool("groff"), "-man", "-ww", "-T", "ascii", "-P", "-c"], page))
    for words in ("babar-tls connect", "--password-file PATH", "EXIT STATUS", "1970-01-01"):
        assert words in text
    for command in COMMANDS:
        assert re.search(rf"^   {command}$", text, re.MULTILINE)


def test_manual_page_has_every_option_and_exit_status(page: str) -> None:
    plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
    for command in commands(build(COMMANDS)):
        for option in command.options:
            assert all(name in plain for name in option.names)
    for status in EXIT_STATUSES:
        assert f"\n{status}\n" in plain
