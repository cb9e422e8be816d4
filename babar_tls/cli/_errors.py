"""Errors of the command line: exit statuses, texts for people and documents for programs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..diagnostics.escaping import visible
from ..errors import (
    AuthError,
    BackendUnavailable,
    CertificateError,
    ConfigError,
    Error,
    IoError,
    ProtocolError,
    ServerError,
    TargetSessionError,
    TlsError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

UNEXPECTED = 1
INTERRUPTED = 130  # 128 + SIGINT, as in a shell
READER_GONE = 141  # 128 + SIGPIPE

EXIT_STATUSES = {
    0: "success",
    UNEXPECTED: "unexpected failure; for demo, an unexpected result",
    2: "wrong usage or configuration, or a package is not installed",
    3: "network error: unknown host, connection refused, timeout, connection lost",
    4: "TLS could not be established",
    5: "the server's certificate was not accepted",
    6: "authentication or channel binding failed",
    7: "the server refused for another reason: unknown database, too many connections, failed query",
    8: "the server does not use PostgreSQL's protocol",
    INTERRUPTED: "interrupted by Ctrl-C",
    READER_GONE: "the reader of the output has closed it",
}


class UsageError(Error):
    """The command line is wrong."""


class MissingExtra(Error, ImportError):
    """A package that the command needs is not installed."""


# The first match is used. Subclasses precede their bases; AuthError precedes ServerError, as a wrong password is both.
_STATUSES: tuple[tuple[int, tuple[type[Error], ...]], ...] = (
    (2, (UsageError, MissingExtra, ConfigError, BackendUnavailable)),
    (5, (CertificateError,)),
    (4, (TlsError,)),
    (3, (IoError,)),
    (6, (AuthError,)),
    (7, (ServerError, TargetSessionError)),
    (8, (ProtocolError,)),
)


def exit_status(error: BaseException) -> int:
    """Return the exit status of the process for `error`."""
    if isinstance(error, TlsError) and _is_from_other_service(error):
        return 8
    return next((status for status, classes in _STATUSES if isinstance(error, classes)), UNEXPECTED)


def _is_from_other_service(error: TlsError) -> bool:
    """Return True if the response shows that the peer is not a PostgreSQL server, as `doctor` decides it."""
    from ..doctor.causes import Cause  # noqa: PLC0415 - only a failure of TLS needs it
    from ..doctor.classify import find_cause  # noqa: PLC0415 - the same

    return find_cause(error) is Cause.OTHER_SERVICE


def headline(error: BaseException) -> str:
    """Return the message without the remedy, safe to print. The server's detail and hint are further lines."""
    text = str(error)
    remedy = getattr(error, "remedy", None)
    if remedy:
        text = text.removesuffix(f"\n{remedy}")
    return visible(text, keep_newlines=True)


def describe(error: BaseException, *, colour: bool) -> str:
    """Return the text for standard error: the message, and the remedy on indented lines."""
    red, dim, off = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if colour else ("", "", "")
    text = f"{red}error:{off} {headline(error).removeprefix('ERROR:  ')}"
    remedy = getattr(error, "remedy", None)
    if remedy:
        text += f"\n{dim}{visible(remedy, keep_newlines=True)}{off}"
    return text.replace("\n", "\n  ")


def error_document(error: BaseException) -> dict[str, Any]:
    """Return the JSON object: the class, the message and further attributes."""
    known = isinstance(error, Error)
    document: dict[str, Any] = {
        "class": type(error).__name__,
        "message": headline(error) if known else "unexpected failure; see standard error",
        "remedy": getattr(error, "remedy", None),
    }
    extra = {name: getattr(error, name, None) for name in ("endpoint", "code", "reason")} if known else {}
    document.update({name: value for name, value in extra.items() if value is not None})
    if isinstance(error, Error) and error.earlier:
        document["attempts"] = [
            {"class": type(attempt).__name__, "endpoint": attempt.endpoint, "message": visible(attempt.message)}
            for attempt in error.attempts
        ]
    return {**document, "exit_status": exit_status(error)}


@contextmanager
def extra_needed(what: str, alternative: str = "") -> Iterator[None]:
    """Report a package that is not installed, with the extra that installs it.

    Args:
        what: The feature that needs the package.
        alternative: Another remedy than to install the extra ``demo``.

    Raises:
        MissingExtra: A package is not installed.
    """
    try:
        yield
    except ImportError as exc:
        if isinstance(exc, Error) or (exc.name or "").startswith(__package__.partition(".")[0]):
            raise  # pip cannot install it
        extra = "bench" if exc.name == "matplotlib" else "demo"
        raise MissingExtra(
            f"{what} needs {exc.name or 'a package'}, which is not installed",
            remedy=f"pip install 'babar-tls[{extra}]'" + (alternative if extra == "demo" else ""),
        ) from exc


def positive_seconds(text: str) -> float:
    """Return the value of ``--timeout``.

    Raises:
        argparse.ArgumentTypeError: It is not a positive number.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if 0 < number < float("inf"):
        return number
    import argparse  # noqa: PLC0415 - loaded whenever this is called

    raise argparse.ArgumentTypeError("must be a positive number of seconds")


def file_error(what: str, exc: Exception) -> ConfigError:
    """Return the error for a file, from the `OSError` or the `ValueError` of a name that contains a NUL."""
    return ConfigError(f"{what}: {getattr(exc, 'strerror', None) or 'invalid file name'}")
