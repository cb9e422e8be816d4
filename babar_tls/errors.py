"""One tree of errors: the class says whose fault it was, the attributes say what happened.

The tree::

Error:
     ├─ ConfigError (ValueError)              what was asked for cannot be, or contradicts itself
     ├─ BackendUnavailable (ImportError)      a TLS engine is not installed
     ├─ IoError (OSError)                     the network, or the far end of it
     │   ├─ Unreachable                       nobody answers there: no such name, nobody listening, no way there
     │   ├─ TimeoutError (TimeoutError)       connect_timeout ran out
     │   ├─ Closed                            the connection is gone, or the session was closed
     │   └─ TlsError                          TLS could not be established or broke
     │       ├─ TlsRefused                    the server does not offer TLS
     │       ├─ CertificateError              the server's certificate was not accepted
     │       └─ ClientCertificateError        the server did not accept ours
     ├─ Busy                                  the session is doing something else
     ├─ TargetSessionError                    the session is not what target_session_attrs asks for
     ├─ ProtocolError                         the server broke the protocol
     ├─ AuthError                             authentication did not happen
     │   ├─ UnsupportedAuth                   the server wants a method that we lack or that policy forbids
     │   ├─ ChannelBindingError               the channel could not be bound, or was proven not to be
     │   │   └─ ChannelBindingUnsupported     this engine, TLS version or certificate has no such binding
     │   └─ ServerSignatureError              the server could not prove that it knows the password
     └─ ServerError                           the server said no: SQLSTATE and its own words

Three classes stand in both of the last branches, because the server's words are the failure of authentication:
`AuthRefused` (SQLSTATE 28000: no entry in pg_hba.conf, no such role, …), its subclass `InvalidPassword` (28P01), both
with other codes if a pooler refuses the login, and
`ChannelBindingRefused`, by which the server says that the two ends do not see the same channel.

Where libpq has a text for a failure, `str(error)` contains it. No error carries a secret. Text that a server has sent
is escaped and bounded in `str(error)`; the attributes of a `ServerError` hold it as it was sent.
"""

from __future__ import annotations

import builtins
import re
from typing import TYPE_CHECKING, Any, TypeVar

from .diagnostics.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AuthError",
    "AuthRefused",
    "BackendUnavailable",
    "Busy",
    "CertificateError",
    "ChannelBindingError",
    "ChannelBindingRefused",
    "ChannelBindingUnsupported",
    "ClientCertificateError",
    "Closed",
    "ConfigError",
    "Error",
    "InvalidPassword",
    "IoError",
    "ProtocolError",
    "ServerError",
    "ServerSignatureError",
    "TargetSessionError",
    "TimeoutError",
    "TlsError",
    "TlsRefused",
    "Unreachable",
    "UnsupportedAuth",
]

_E = TypeVar("_E", bound="Error")

_SHOWN = 2000  # characters of a text from a server or a configuration in a message


class Error(Exception):
    """Everything that babar-tls raises on purpose.

    Attributes:
        message: What happened, in one sentence, without the place and the remedy.
        remedy: What the caller can do about it, or `None`.
        endpoint: Which server it was about, as libpq names it
            (``server at "db.example.com" (192.0.2.7), port 5432``), or `None` where no server was involved yet.
        earlier: The failures before this one in the same connect, in order: other hosts, other addresses of a name,
            TLS before plain text.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.endpoint: str | None = None
        self.earlier: tuple[Error, ...] = ()

    @property
    def attempts(self) -> tuple[Error, ...]:
        """Every attempt of the connect that failed, in order; this error is the last."""
        return (*self.earlier, self)

    def __str__(self) -> str:
        """Each attempt with its server as libpq's prefix, and the last one's remedy on a line of its own."""
        lines = [error._line() for error in self.attempts]
        return "\n".join(lines) + (f"\n{self.remedy}" if self.remedy else "")

    def _line(self) -> str:
        prefix = f"connection to {self.endpoint} failed: " if self.endpoint else ""
        return visible(prefix + self._headline(), keep_newlines=True)

    def _headline(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call the class with `args` alone and lose every keyword argument.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[Error], args: tuple[Any, ...], state: dict[str, Any]) -> Error:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


def at_endpoint(error: _E, endpoint: str | None) -> _E:
    """Name the server in `error` unless an inner layer has done so; returns `error`."""
    if error.endpoint is None:
        error.endpoint = endpoint
    return error


def after(error: _E, earlier: Iterable[Error]) -> _E:
    """Put the failures before it, and those before each of them, into `error`; returns it."""
    failures = [attempt for previous in earlier for attempt in previous.attempts]
    error.earlier = (*failures, *error.earlier)
    return error


class ConfigError(Error, ValueError):
    """The configuration is impossible, contradicts itself, or names a file that cannot be used.

    The texts may contain values of any length and any characters: they are shortened and escaped.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(_bounded(message), remedy=None if remedy is None else _bounded(remedy))


def _bounded(text: str) -> str:
    return visible(text, limit=_SHOWN, keep_newlines=True)


class BackendUnavailable(Error, ImportError):
    """A TLS engine is unknown or not installed; `remedy` holds the ``pip install`` that mends it."""


class IoError(Error, OSError):
    """The network failed, or nobody answered at the other end. `errno` is the operating system's, where it had one."""

    def __init__(self, message: str, *, remedy: str | None = None, errno: int | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.errno = errno

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_io, (type(self), self.args, self.__dict__.copy(), self.errno)


def _rebuild_io(cls: type[IoError], args: tuple[Any, ...], state: dict[str, Any], errno: int | None) -> Error:
    error = _rebuild(cls, args, state)
    error.errno = errno  # type: ignore[attr-defined]  # `cls` is an IoError, which OSError gives its errno
    return error


class Unreachable(IoError):
    """Nobody answers there: the name has no address, nobody listens, or there is no way to the host."""


class TimeoutError(IoError, builtins.TimeoutError):  # noqa: A001 - the builtin is a base: `except TimeoutError` works
    """`connect_timeout` ran out; the message says in which phase."""


class Closed(IoError):
    """The connection is closed: by the server, or because `close()` was called or an earlier failure broke it."""


class TlsError(IoError):
    """TLS could not be established or broke.

    Attributes:
        alert: The alert by which the server ended it, by its name (RFC 8446 §6: ``handshake_failure``), or its number
            as a string if it has no name; `None` where there was none, or the backend does not report it.
    """

    alert: str | None = None


class TlsRefused(TlsError):
    """The server does not offer TLS, and the configuration demands it."""


class CertificateError(TlsError):
    """The server's certificate was not accepted.

    Attributes:
        reason: Machine-readable: ``expired``, ``not-yet-valid``, ``untrusted`` (no path to a trusted root),
            ``self-signed``, ``hostname-mismatch``, ``common-name-only``, ``revoked``, ``crl``, ``weak``, ``purpose``,
            ``pin-mismatch``, ``missing`` or ``invalid`` (anything else; the message has the engine's own words).
    """

    def __init__(self, message: str, *, reason: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason


class ClientCertificateError(TlsError):
    """The server did not accept our certificate, or demands one that we do not have."""


class Busy(Error):
    """The session is in the middle of something: one session does one thing at a time."""


class TargetSessionError(Error):
    """The session is not what `target_session_attrs` asks for, and there is no other host to try."""


class ProtocolError(Error):
    """The server sent something that PostgreSQL's protocol does not allow."""


class AuthError(Error):
    """Authentication failed or was refused by policy."""


class UnsupportedAuth(AuthError):
    """The server asks for an authentication method that we do not speak or that policy forbids."""


class ChannelBindingError(AuthError):
    """The configuration demands channel binding and it cannot be had, or the binding was proven broken."""


class ChannelBindingUnsupported(ChannelBindingError):
    """There is TLS, but no binding of the wanted type to be had from it; the message says why.

    Never the same as "no TLS": a caller that may do without a binding decides that with this reason in hand.
    """


class ServerSignatureError(AuthError):
    """The server's SCRAM signature is wrong: it does not know the password, or somebody stands in between."""


class ServerError(Error):
    """The server reported an error (ErrorResponse).

    The attributes hold the server's text as it was sent. A server that is not authenticated may send anything: control
    characters, forged lines of a log. In `str(error)` such characters are escaped and long texts are cut.

    Attributes:
        severity: ``FATAL``, ``ERROR`` or ``PANIC``.
        code: The SQLSTATE, five characters.
        message: The server's primary message.
        detail: Its detail, or `None`.
        hint: Its hint, or `None`.
        position: Where in the query, counted in characters from 1, or `None`.
    """

    def __init__(self, fields: Mapping[str, str], *, remedy: str | None = None) -> None:
        super().__init__(fields.get("M", "unknown error"), remedy=remedy)
        self.severity = fields.get("V") or fields.get("S", "ERROR")
        self.code = fields.get("C", "XX000")
        self.detail = fields.get("D")
        self.hint = fields.get("H")
        position = fields.get("P", "")
        self.position = int(position) if re.fullmatch("[0-9]{1,10}", position) else None

    def _headline(self) -> str:
        lines = [f"{visible(self.severity, limit=20)}:  {visible(self.message, limit=_SHOWN)}"]
        lines += [
            f"{label}:  {visible(text, limit=_SHOWN)}"
            for label, text in (("DETAIL", self.detail), ("HINT", self.hint))
            if text
        ]
        return "\n".join(lines)


class AuthRefused(AuthError, ServerError):
    """The server did not let this user in; the message has the server's reason.

    `code` is of SQLSTATE class 28, or what a pooler or proxy sends in its place (PgBouncer: 08P01).
    """


class InvalidPassword(AuthRefused):
    """The server did not accept the password (28P01; PgBouncer: 08P01). A role that does not exist gets the same."""


class ChannelBindingRefused(ChannelBindingError, ServerError):
    """The server proved that the two ends of the connection do not see the same TLS channel."""
