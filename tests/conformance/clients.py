"""The two clients of the comparison, libpq and this library, with the same kind of result."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

import babar_tls
from babar_tls import AsyncSession

if TYPE_CHECKING:
    from .libpq_process import Libpq

BACKENDS = tuple(name for name in ("stdlib", "openssl") if name in babar_tls.available_backends())

#: Who the server thinks is there: what a session may ask for without privileges.
QUERY = (
    "select current_user, current_database(), ssl, coalesce(version, '') from pg_stat_ssl where pid = pg_backend_pid()"
)

_PREFIX = re.compile(r"connection to server (?:at|on socket) .*? failed: ")

_NO_VERSION = "SSL error: no TLS version in common with the server"
_CERTIFICATE = "SSL error: the server did not accept the client certificate"
_CLOSED = "server closed the connection unexpectedly"

#: Words that say the same: OpenSSL's change with its version, or the two ends of a connection have one each.
_SAME_WORDS = (
    # OpenSSL's words for an end without close_notify, in its versions, and ours
    (re.compile(r"SSL error: unexpected eof while reading|SSL SYSCALL error: EOF detected"), _CLOSED),
    (re.compile(r"(?:tlsv1|tlsv13|sslv3|ssl/tls) alert"), "alert"),
    # the alerts for a rejected client certificate
    (re.compile(r"SSL error: alert (unknown ca|certificate expired)"), rf"{_CERTIFICATE} (\1)"),
    (re.compile(r"SSL error: (?:alert protocol version|unsupported protocol|no protocols available)"), _NO_VERSION),
    # libpq quotes OpenSSL's error queue or what was left in it
    (re.compile(r'(could not read root certificate file "[^"]*").*'), r"\1"),
    (re.compile(r'(could not (?:read certificate|load private key) file "[^"]*").*'), r"\1"),
    (re.compile(r'(could not parse network address "[^"]*").*'), r"\1"),
)

#: Lines of libpq's that are advice, where ours is in other words, or that repeat the one before them.
_ADVICE = (
    "Either provide the file",
    "SSL SYSCALL error: Connection reset by peer",
    "This may indicate that the server does not support any SSL protocol version",
    "This probably means",
    "before or while processing",
    "Is the server running",
)


@dataclass(frozen=True)
class Outcome:
    """The result of a connection attempt, as the client reports it.

    Attributes:
        text: The error's text; empty where the client is connected.
        row: What `QUERY` gave.
        error: The error's class, where it has one.
    """

    text: str
    row: tuple[str, ...] = ()
    error: str = ""

    @property
    def connected(self) -> bool:
        return not self.text

    @property
    def lines(self) -> list[str]:
        """Each message of libpq's, without the place and without advice."""
        lines = (_PREFIX.sub("", line).strip() for line in normal(self.text).splitlines())
        return [line for line in lines if line and not line.startswith(_ADVICE)]


def normal(text: str) -> str:
    """Replace texts that depend on the version of OpenSSL."""
    for pattern, word in _SAME_WORDS:
        text = pattern.sub(word, text)
    return text


def through_libpq(libpq: Libpq, conninfo: str, home: str) -> Outcome:
    message, row = libpq.connect(conninfo, QUERY, home)
    return Outcome(message, tuple(row))


def through_babar(conninfo: str, home: str, backend: str, style: str = "blocking") -> Outcome:
    """Connect as a user with this home directory, by `Session` or by `AsyncSession`."""
    try:
        with mock.patch.dict(os.environ, HOME=home):
            row = _blocking(conninfo, backend) if style == "blocking" else asyncio.run(_asyncio(conninfo, backend))
    except babar_tls.Error as error:
        return Outcome(str(error), error=type(error).__name__)
    return Outcome("", row)


def _blocking(conninfo: str, backend: str) -> tuple[str, ...]:
    with babar_tls.connect(conninfo, tls_backend=backend) as session:
        return _row(session.query(QUERY))


async def _asyncio(conninfo: str, backend: str) -> tuple[str, ...]:
    config = babar_tls.Config.from_conninfo(conninfo, tls_backend=backend)
    async with await AsyncSession.connect(config) as session:
        return _row(await session.query(QUERY))


def _row(rows: list[tuple[str | None, ...]]) -> tuple[str, ...]:
    return tuple(value or "" for value in rows[0])
