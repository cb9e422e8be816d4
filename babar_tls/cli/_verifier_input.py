"""Passwords from a terminal, from a pipe, and by the million; nothing that this module says repeats one."""

from __future__ import annotations

import codecs
import csv
import getpass
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..errors import ConfigError
from ._errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


_MAX_LINE = 1 << 20  # bytes; memory stays constant whatever is fed in
_HEADER = ["role", "password"]
_PIPE_INSTEAD = "Pipe the password in: one line on standard input."


class Row(NamedTuple):
    """A password, whose it is if that is told, and the line on which that begins."""

    line: int
    role: str | None
    password: bytes


class Problem(NamedTuple):
    """A line that there is no verifier for, and why."""

    line: int
    reason: str


class _BadLine(Exception):
    """A line that is not even looked at."""


def ask() -> bytes:
    """One password: typed twice at a terminal, else the first line of standard input.

    Raises:
        ConfigError: There is none, or PostgreSQL could not take it.
    """
    stream = sys.stdin
    if stream is None:
        raise UsageError("there is no standard input to read a password from")
    if stream.isatty():
        password = _typed("Password: ")
        if password != _typed("The same again: "):
            raise ConfigError("the two passwords differ")
    else:
        try:
            password = _chomp(next(_Lines(stream.buffer), b""))
        except _BadLine as exc:
            raise ConfigError(f"the password is {exc}") from None
    problem = _objection(password)
    if problem is not None:
        raise ConfigError(problem, remedy=None if password else _PIPE_INSTEAD)
    return password


@contextmanager
def open_source(name: str) -> Iterator[BinaryIO]:
    """The file of that name, ``-`` for standard input.

    Raises:
        ConfigError: It cannot be opened or read.
    """
    if name == "-":
        if sys.stdin is None:
            raise UsageError("there is no standard input to read passwords from")
        if sys.stdin.isatty():
            raise UsageError(
                "standard input is a terminal, which would show the passwords", remedy="Name a file, or pipe them in."
            )
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: PTH123, SIM115 - closed below
    except (OSError, ValueError) as exc:
        raise ConfigError(f"the passwords cannot be read: {getattr(exc, 'strerror', None) or 'not a name'}") from exc
    with file:
        yield file


def read_lines(stream: BinaryIO) -> Iterator[Row | Problem]:
    """A password a line. Its bytes are taken as they are, without the line's end."""
    lines = _Lines(stream)
    while True:
        try:
            password = _chomp(next(lines))
        except StopIteration:
            return
        except _BadLine as exc:
            yield Problem(lines.number, str(exc))
        else:
            problem = _objection(password)
            yield Row(lines.number, None, password) if problem is None else Problem(lines.number, problem)


def read_csv(stream: BinaryIO) -> Iterator[Row | Problem]:
    """Rows of role and password (RFC 4180), with or without a header; blank lines are skipped."""
    lines = _Lines(stream)
    # Not a generator, which the first exception that goes through it would finish.
    reader = csv.reader(map(_decode, lines), strict=True)
    while True:
        start = lines.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except _BadLine as exc:
            yield Problem(lines.number, str(exc))
            continue
        except csv.Error:
            yield Problem(start, "not well-formed CSV")
            continue
        if not fields or (start == 1 and [field.strip().lower() for field in fields] == _HEADER):
            continue
        yield _row(start, fields)


def _row(line: int, fields: list[str]) -> Row | Problem:
    if len(fields) != len(_HEADER):
        count = f"{len(fields)} column{'' if len(fields) == 1 else 's'}"
        return Problem(line, f"{count}, not two: role,password (a comma within either needs quotes around the whole)")
    role, password = fields[0], fields[1].encode("utf-8", "surrogateescape")
    if not role or "\0" in role:
        return Problem(line, "the role is empty" if not role else "the role has a NUL in it")
    if any("\udc80" <= char <= "\udcff" for char in role):
        return Problem(line, "the role is not UTF-8")
    problem = _objection(password)
    return Row(line, role, password) if problem is None else Problem(line, problem)


def _objection(password: bytes) -> str | None:
    """Why PostgreSQL could never let anybody in with it."""
    if not password:
        return "the password is empty"
    return "the password has a NUL in it, which PostgreSQL cannot take" if b"\0" in password else None


def _typed(prompt: str) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt).encode("utf-8", "surrogateescape")
    except getpass.GetPassWarning:
        raise UsageError("this terminal would show the password", remedy=_PIPE_INSTEAD) from None
    except EOFError:
        raise UsageError("no password was typed", remedy=_PIPE_INSTEAD) from None
    except UnicodeError:  # whose own message has a piece of it
        raise UsageError("what was typed is not in this terminal's encoding", remedy=_PIPE_INSTEAD) from None


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


def _chomp(line: bytes) -> bytes:
    """Without the line's end, one of them, be it LF or CRLF."""
    if line.endswith(b"\r\n"):
        return line[:-2]
    return line.removesuffix(b"\n")


class _Lines:
    """A stream's lines with their ends, and the number of the last one; goes on after a `_BadLine`.

    A byte order mark at the very beginning is not part of the first line.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.number = 0
        self._stream = stream

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> bytes:
        line = self._read(_MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > _MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = self._read(_MAX_LINE)
            raise _BadLine(f"longer than {_MAX_LINE} bytes")
        return line.removeprefix(codecs.BOM_UTF8) if self.number == 1 else line

    def _read(self, most: int) -> bytes:
        try:
            return self._stream.readline(most)
        except OSError as exc:
            raise ConfigError(f"the passwords cannot be read: {exc.strerror}") from exc
