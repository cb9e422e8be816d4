"""`babar-tls connect` asks for a password at a terminal."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from .conftest import APP_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Outcome

pty = pytest.importorskip("pty", reason="needs pseudo-terminals")

# The shell that runs the tests may ignore SIGINT, and children inherit that.
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from babar_tls.cli import main; sys.exit(main())"
)
PROMPT = "Password for user app: "


class Typist:
    """A process whose standard input and error are a terminal, and what it has printed there."""

    def __init__(self, process: subprocess.Popen[str], descriptor: int) -> None:
        self.process = process
        self.shown = ""
        self._descriptor = descriptor

    def wait_for(self, text: str) -> None:
        """Read until the terminal shows a text, at most for 30 seconds."""
        deadline = time.monotonic() + 30
        while text not in self.shown:
            assert select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))[0], self.shown
            self.shown += os.read(self._descriptor, 4096).decode()

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._descriptor, f"{line}\n".encode())

    def press(self, key: str) -> None:
        """Press Ctrl-C or Ctrl-D."""
        if key == "C":
            self.process.send_signal(signal.SIGINT)  # the terminal does not control the process
        else:
            os.write(self._descriptor, b"\x04")

    def finish(self) -> tuple[int, str]:
        """Return the exit status and standard output."""
        out, _ = self.process.communicate(timeout=30)
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                data = os.read(self._descriptor, 4096)
            except OSError:  # EIO: the terminal is closed
                break
            if not data:
                break
            self.shown += data.decode()
        return self.process.returncode, out


@contextmanager
def at_terminal(*arguments: str, **environment: str) -> Iterator[Typist]:
    """Run a command whose standard input and standard error are a terminal."""
    master, slave = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        encoding="utf-8",
        start_new_session=True,  # otherwise it would ask at the terminal of the person who runs the tests
        env={**inherited, "TERM": "dumb", **environment},
    )
    os.close(slave)
    try:
        with process:
            yield Typist(process, master)
            process.kill()
    finally:
        os.close(master)


def test_missing_password_is_asked_for(conninfo: Callable[..., str]) -> None:
    with at_terminal("connect", conninfo(password=None)) as typist:
        typist.wait_for(PROMPT)
        typist.type(APP_PASSWORD)
        status, out = typist.finish()
    assert status == 0
    assert "SCRAM-SHA-256-PLUS" in out
    assert APP_PASSWORD not in out + typist.shown


@pytest.mark.parametrize("typed", ["wrong", ""])
def test_password_is_asked_for_once(conninfo: Callable[..., str], typed: str) -> None:
    with at_terminal("connect", conninfo(password=None)) as typist:
        typist.wait_for(PROMPT)
        typist.type(typed)
        status, out = typist.finish()
    assert (status, out) == (6, "")
    assert typist.shown.count(PROMPT) == 1
    assert ("password authentication failed" if typed else "no password supplied") in typist.shown


@pytest.mark.parametrize("option", ["--no-password", "--json"])
def test_password_is_not_asked_for_with_this_option(conninfo: Callable[..., str], option: str) -> None:
    with at_terminal("connect", conninfo(password=None), option) as typist:
        status, out = typist.finish()
    assert status == 6
    assert PROMPT not in typist.shown
    assert "--password-file" in typist.shown + out


def test_configured_password_is_not_asked_for(conninfo: Callable[..., str], tmp_path: Path) -> None:
    """A password file, PGPASSWORD and a server that requires no password need no prompt."""
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"*:*:*:app:{APP_PASSWORD}\n")
    passfile.chmod(0o600)
    for target, environment in (
        (conninfo(password=None), {"PGPASSFILE": str(passfile)}),
        (conninfo(password=None), {"PGPASSWORD": APP_PASSWORD}),
        (conninfo(password=None, user="free"), {}),
    ):
        with at_terminal("connect", target, **environment) as typist:
            status, _ = typist.finish()
        assert (status, typist.shown) == (0, "")


def test_error_without_a_terminal_names_the_sources(cli: Callable[..., Outcome], conninfo: Callable[..., str]) -> None:
    outcome = cli("connect", conninfo(password=None))
    assert outcome.status == 6
    for source in ("--password-file", "PGPASSWORD", "~/.pgpass"):
        assert source in outcome.err
    assert source in cli("connect", conninfo(password=None), "--json").document["error"]["remedy"]


def test_empty_password_at_a_terminal_has_no_advice_about_pipes() -> None:
    with at_terminal("verifier") as typist:
        for prompt in ("Password: ", "Repeat the password: "):
            typist.wait_for(prompt)
            typist.type("")
        status, out = typist.finish()
    assert (status, out) == (2, "")
    assert "the password is empty" in typist.shown
    assert "Pipe" not in typist.shown


@pytest.mark.parametrize(("key", "words"), [("C", "interrupted"), ("D", "error: no password was typed")])
def test_end_of_the_input_begins_a_new_line(key: str, words: str) -> None:
    with at_terminal("verifier") as typist:
        typist.wait_for("Password: ")
        typist.press(key)
        typist.finish()
    assert f"Password: \r\n{words}" in typist.shown
