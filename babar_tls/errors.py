"""The error classes. The class states what failed; the attributes contain the details.

The hierarchy::

Error:
     ├─ ConfigError (ValueError)              the configuration is invalid or contradicts itself
     ├─ BackendUnavailable (ImportError)      a TLS backend is not installed
     ├─ IoError (OSError)                     the network or the connection failed
     │   ├─ Unreachable                       the name has no address, or the address accepts no connection
     │   ├─ TimeoutError (TimeoutError)       connect_timeout has passed
     │   ├─ Closed                            the connection or the session is closed
     │   └─ TlsError                          TLS could not be established or failed
     │       ├─ TlsRefused                    the server does not offer TLS
     │       ├─ CertificateError              the server's certificate was not accepted
     │       └─ ClientCertificateError        the server did not accept the client certificate
     ├─ IntegrationError                      a driver does not behave as its integration expects
     ├─ Busy                                  another operation of the session is in progress
     ├─ TargetSessionError                    the session is not of the kind that target_session_attrs requires
     ├─ ProtocolError                         the server violated the protocol
     ├─ AuthError                             authentication failed
     │   ├─ PasswordMissing                   the server requires a password, and none is configured
     │   ├─ PasswordUnavailable               a callable that returns a password raised an exception
     │   ├─ UnsupportedAuth                   the server requires a method that is not supported or that policy forbids
     │   ├─ ChannelBindingError               channel binding is required and not possible, or the binding is wrong
     │   │   └─ ChannelBindingUnsupported     this backend, TLS version or certificate does not support the binding
     │   └─ ServerSignatureError              the server did not prove that it has the password's verifier
     └─ ServerError                           the server reported an error, with SQLSTATE and text

Three classes are subclasses of both `AuthError` and `ServerError`, because the server reports the failure:
`AuthRefused` (SQLSTATE 28000: no entry in pg_hba.conf, no such role, …), its subclass `InvalidPassword` (28P01), and
`ChannelBindingRefused` (client and server use different TLS channels). Poolers use other codes for the first two.

Where libpq has a text for a failure, `str(error)` contains it. No error contains a secret. In `str(error)` the server's
text is escaped and bounded; the attributes of a `ServerError` have it unchanged.
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
    "IntegrationError",
    "InvalidPassword",
    "IoError",
    "PasswordMissing",
    "PasswordUnavailable",
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
    """The base class of all errors of babar-tls.

    Attributes:
        message: The failure in one sentence, without the server and the remedy.
        remedy: How to fix it, or `None`.
        endpoint: The server, as libpq names it (``server at "db.example.com" (192.0.2.7), port 5432``), or `None` if no
            server was involved.
        earlier: The previous failures of the same connect, in order: other hosts, other addresses of a name, TLS before
            plain text.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.endpoint: str | None = None
        self.earlier: tuple[Error, ...] = ()

    @property
    def attempts(self) -> tuple[Error, ...]:
        """The errors of all failed attempts of the connect, in order; this error is the last."""
        return (*self.earlier, self)

    def __str__(self) -> str:
        """Return a line for each attempt, with libpq's prefix for the server, and the last error's remedy."""
        lines = [error._line() for error in self.attempts]
        return "\n".join(lines) + (f"\n{self.remedy}" if self.remedy else "")

    def _line(self) -> str:
        prefix = f"connection to {self.endpoint} failed: " if self.endpoint else ""
        return visible(prefix + self._headline(), keep_newlines=True)

    def _headline(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call the class with `args` only and lose every keyword argument.
        state = {**self.__dict__, "args": self.args}
        if isinstance(self, OSError):
            state["errno"] = self.errno
        return _new, (type(self),), state


def _new(cls: type[Error]) -> Error:
    return cls.__new__(cls)


def at_endpoint(error: _E, endpoint: str | None) -> _E:
    """Set the server of `error` unless it is set; return `error`."""
    if error.endpoint is None:
        error.endpoint = endpoint
    return error


def after(error: _E, earlier: Iterable[Error]) -> _E:
    """Insert the `earlier` failures, with the failures before each of them, into `error`; return `error`."""
    failures = [attempt for previous in earlier for attempt in previous.attempts]
    error.earlier = (*failures, *error.earlier)
    return error


class ConfigError(Error, ValueError):
    """The configuration is invalid, contradicts itself, or names a file that cannot be used.

    Values in the texts are shortened and escaped.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(_bounded(message), remedy=None if remedy is None else _bounded(remedy))


def _bounded(text: str) -> str:
    return visible(text, limit=_SHOWN, keep_newlines=True)


class BackendUnavailable(Error, ImportError):
    """A TLS backend is unknown or not installed; `remedy` has the ``pip install`` command that installs it."""


class IoError(Error, OSError):
    """The network or the connection failed. `errno` is that of the operating system, if there is one."""

    def __init__(self, message: str, *, remedy: str | None = None, errno: int | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.errno = errno


class Unreachable(IoError):
    """The name has no address, the address refuses the connection, or there is no route to the host."""


class TimeoutError(IoError, builtins.TimeoutError):  # noqa: A001 - the builtin is a base: `except TimeoutError` works
    """`connect_timeout` has passed; the message names the phase."""


class Closed(IoError):
    """The connection is closed: by the server, or because `close()` was called or an earlier failure broke it."""


class TlsError(IoError):
    """TLS could not be established or failed.

    Attributes:
        alert: The name of the alert that the server sent (RFC 8446 §6: ``handshake_failure``), or its number as a
            string if it has no name; `None` if there was no alert, or the backend does not report it.
    """

    alert: str | None = None


class TlsRefused(TlsError):
    """The server does not offer TLS, and the configuration requires it."""


class CertificateError(TlsError):
    """The server's certificate was not accepted.

    Attributes:
        reason: Machine-readable: ``expired``, ``not-yet-valid``, ``untrusted`` (no path to a trusted root),
            ``self-signed``, ``hostname-mismatch``, ``common-name-only``, ``revoked``, ``crl``, ``weak``, ``purpose``,
            ``pin-mismatch``, ``missing`` or ``invalid`` (all other reasons; the message has the backend's text).
    """

    def __init__(self, message: str, *, reason: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason


class ClientCertificateError(TlsError):
    """The server did not accept the client certificate, or requires one and none is configured."""


class IntegrationError(Error):
    """A driver does not behave as its integration expects, so nothing is sent. This version may not be supported."""


class Busy(Error):
    """Another operation of the session is in progress; a session runs one operation at a time."""


class TargetSessionError(Error):
    """The session is not of the kind that `target_session_attrs` requires, and there is no other host to try."""


class ProtocolError(Error):
    """The server sent something that PostgreSQL's protocol does not allow."""


class AuthError(Error):
    """Authentication failed or was refused by policy."""


class PasswordMissing(AuthError):
    """The server requires a password, and none is configured."""


class PasswordUnavailable(AuthError):
    """The callable in `Config.password` or `Config.tls_client_key_password` raised an exception, the ``__cause__``.

    The message names the type of the exception. It does not contain its text, in which there may be a secret.
    """


class UnsupportedAuth(AuthError):
    """The server requires an authentication method that is not supported or that policy forbids."""


class ChannelBindingError(AuthError):
    """Channel binding is required and not possible, or the binding is wrong."""


class ChannelBindingUnsupported(ChannelBindingError):
    """This TLS connection does not support the required type of channel binding; the message has the reason.

    This error is never raised without TLS.
    """


class ServerSignatureError(AuthError):
    """The server's SCRAM signature is wrong: it does not have the password's verifier, or a proxy changed a message."""


class ServerError(Error):
    """The server reported an error (ErrorResponse).

    The attributes hold the server's text as it was sent. A server that is not authenticated may send anything: control
    characters, forged log lines. In `str(error)` such characters are escaped and long texts are cut.

    Attributes:
        severity: ``FATAL``, ``ERROR`` or ``PANIC``.
        code: The SQLSTATE, five characters.
        message: The server's primary message.
        detail: Its detail, or `None`.
        hint: Its hint, or `None`.
        position: The position of the error in the query, counted in characters from 1, or `None`.
    """

    def __init__(self, fields: Mapping[str, str], *, remedy: str | None = None) -> None:
        super().__init__(fields.get("M", "unknown error"), remedy=remedy)
        self.severity: str = fields.get("V") or fields.get("S", "ERROR")
        self.code: str = fields.get("C", "XX000")
        self.detail: str | None = fields.get("D")
        self.hint: str | None = fields.get("H")
        position = fields.get("P", "")
        self.position: int | None = int(position) if re.fullmatch("[0-9]{1,10}", position) else None

    def _headline(self) -> str:
        lines = [f"{visible(self.severity, limit=20)}:  {visible(self.message, limit=_SHOWN)}"]
        lines += [
            f"{label}:  {visible(text, limit=_SHOWN)}"
            for label, text in (("DETAIL", self.detail), ("HINT", self.hint))
            if text
        ]
        return "\n".join(lines)


class AuthRefused(AuthError, ServerError):
    """The server refused this user; the message has the server's reason.

    `code` is of SQLSTATE class 28, or the code of a pooler or proxy (PgBouncer: 08P01).
    """


class InvalidPassword(AuthRefused):
    """The server refused the password (28P01; PgBouncer: 08P01), or the role does not exist."""


class ChannelBindingRefused(ChannelBindingError, ServerError):
    """The server reported that client and server use different TLS channels."""
