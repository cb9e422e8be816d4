"""Passwords from a terminal, a pipe or a file. No message repeats a password."""

from __future__ import annotations

import codecs
import csv
import getpass
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..diagnostics.counts import count
from ..errors import ConfigError
from ._errors import UsageError, file_error

if TYPE_CHECKING:
    from collections.abc import Iterator


_MAX_LINE = 1 << 20  # bytes, so that memory use stays constant
_TOO_LONG = f"longer than {_MAX_LINE} bytes"
_HEADER = ["role", "password"]
_PIPE_INSTEAD = "Pipe the password in: one line on standard input."


class Row(NamedTuple):
    """A password, its role if the input has roles, and the number of its first line."""

    line: int
    role: str | None
    password: bytes


class Problem(NamedTuple):
    """A line without a usable password, and the reason."""

    line: int
    reason: str


def read_password() -> bytes:
    """Return one password: typed twice at a terminal, otherwise the first line of standard input.

    Raises:
        ConfigError: The password is missing, or PostgreSQL could not use it.
    """
    stream = sys.stdin
    if stream is None:
        raise UsageError("standard input is closed: the password cannot be read")
    if stream.isatty():
        password = type_password("Password: ")
        if password != type_password("Repeat the password: "):
            raise ConfigError("the two passwords differ")
    else:
        lines = _Lines(stream.buffer)
        password = _without_line_ending(next(iter(lines), b""))
        if lines.too_long:
            raise ConfigError(f"the password is {_TOO_LONG}")
    problem = _find_problem(password)
    if problem is not None:
        raise ConfigError(problem, remedy=None if password or stream.isatty() else _PIPE_INSTEAD)
    return password


@contextmanager
def open_input(name: str) -> Iterator[BinaryIO]:
    """Open the file `name`, ``-`` for standard input.

    Raises:
        ConfigError: The file cannot be opened.
    """
    if name == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed: the passwords cannot be read")
        if sys.stdin.isatty():
            raise UsageError(
                "standard input is a terminal, which would show the passwords", remedy="Name a file, or use a pipe."
            )
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: PTH123, SIM115 - Path has another error for a NUL; closed below
    except (OSError, ValueError) as exc:
        raise file_error(f'the passwords cannot be read from "{name}"', exc) from exc
    with file:
        yield file


def read_lines(stream: BinaryIO) -> Iterator[Row | Problem]:
    """Yield a password for each line: its bytes, without the line ending."""
    lines = _Lines(stream)
    for line in lines:
        number = lines.number
        yield Problem(number, _TOO_LONG) if lines.too_long == number else _row(number, None, _without_line_ending(line))


def read_csv(stream: BinaryIO) -> Iterator[Row | Problem]:
    """Yield rows of role and password (RFC 4180). A header and blank lines are skipped."""
    lines = _Lines(stream)
    reader = csv.reader((line.decode("utf-8", "surrogateescape") for line in lines), strict=True)
    while True:
        start = lines.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Problem(start, "not well-formed CSV")
            continue
        if lines.too_long >= start:
            yield Problem(lines.too_long, _TOO_LONG)
        elif len(fields) == 2 and not (start == 1 and [field.strip().lower() for field in fields] == _HEADER):
            yield _row(start, fields[0], fields[1].encode("utf-8", "surrogateescape"))
        elif fields and len(fields) != 2:
            found = count(len(fields), "column")
            yield Problem(start, f"{found} instead of two: role,password (quote a value that contains a comma)")


def _row(line: int, role: str | None, password: bytes) -> Row | Problem:
    problem = _find_problem(password, role)
    return Row(line, role, password) if problem is None else Problem(line, problem)


def _find_problem(password: bytes, role: str | None = None) -> str | None:
    """Return why PostgreSQL cannot use a password or a role."""
    problems = (
        (role == "", "the role is empty"),
        ("\0" in (role or ""), "the role contains a NUL"),
        (any("\udc80" <= char <= "\udcff" for char in role or ""), "the role is not UTF-8"),
        (not password, "the password is empty"),
        (b"\0" in password, "the password contains a NUL, which PostgreSQL does not accept"),
    )
    return next((text for applies, text in problems if applies), None)


def type_password(prompt: str, remedy: str = _PIPE_INSTEAD) -> bytes:
    """Return a password that is typed at the terminal, which does not show it.

    Raises:
        UsageError: The terminal would show it, nothing was typed, or it is not text; with this remedy.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return _ask(prompt).encode("utf-8", "surrogateescape")
    except getpass.GetPassWarning:
        problem = "this terminal would show the password"
    except EOFError:
        problem = "no password was typed"
    except UnicodeError:  # whose own message contains a part of the password
        problem = "the input is not in this terminal's encoding"
    raise UsageError(problem, remedy=remedy)


def _ask(prompt: str) -> str:
    """Return what is typed. If it ends with Ctrl-C or Ctrl-D, begin a new line."""
    try:
        return getpass.getpass(prompt)
    except (KeyboardInterrupt, EOFError):
        print(file=sys.stderr)
        raise


def _without_line_ending(line: bytes) -> bytes:
    """Return the line without one line ending, LF or CRLF."""
    return line[:-2] if line.endswith(b"\r\n") else line.removesuffix(b"\n")


class _Lines:
    """The lines of a stream, with their endings and without a byte order mark at the beginning.

    Attributes:
        number: The number of the last line.
        too_long: The number of the last line that was too long, and is therefore empty.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.number = self.too_long = 0
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        while line := self._read():
            self.number += 1
            if len(line) > _MAX_LINE:
                self.too_long = self.number
                while line and not line.endswith(b"\n"):
                    line = self._read()
                line = b""
            yield line.removeprefix(codecs.BOM_UTF8) if self.number == 1 else line

    def _read(self) -> bytes:
        try:
            return self._stream.readline(_MAX_LINE + 1)
        except OSError as exc:
            raise file_error("the passwords cannot be read", exc) from exc
