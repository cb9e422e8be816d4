"""Errors as the command line shows them: an exit status, two lines for people, an object for programs."""

from __future__ import annotations

from typing import Any

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

UNEXPECTED = 1
INTERRUPTED = 130  # 128 + SIGINT, as a shell has it
READER_GONE = 141  # 128 + SIGPIPE


class UsageError(Error):
    """The command line itself is wrong."""


class MissingExtra(Error, ImportError):
    """A command needs something that is not installed."""


# The first that fits, so a class stands before its bases; AuthError before ServerError, because an error that is
# both (a wrong password) is about authentication.
_STATUSES: tuple[tuple[type[Error], int], ...] = (
    (UsageError, 2),
    (MissingExtra, 2),
    (ConfigError, 2),
    (BackendUnavailable, 2),
    (CertificateError, 5),
    (TlsError, 4),
    (IoError, 3),
    (AuthError, 6),
    (ServerError, 7),
    (TargetSessionError, 7),
    (ProtocolError, 8),
)


def exit_status(error: BaseException) -> int:
    """The status that the process ends with because of `error`."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), UNEXPECTED)


def headline(error: BaseException) -> str:
    """What happened and where, without the remedy, safe to print; the server's detail and hint are further lines."""
    text = str(error)
    remedy = getattr(error, "remedy", None)
    if remedy:
        text = text.removesuffix(f"\n{remedy}")
    return visible(text, keep_newlines=True)


def describe(error: BaseException, *, colour: bool) -> str:
    """For standard error: what happened, and what to do about it, indented."""
    red, dim, off = ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") if colour else ("", "", "")
    text = headline(error).replace("\n", "\n  ")
    remedy = getattr(error, "remedy", None)
    advice = visible(remedy, keep_newlines=True).replace("\n", "\n  ") if remedy else ""
    hint = f"\n  {dim}{advice}{off}" if remedy else ""
    return f"{red}error:{off} {text}{hint}"


def error_document(error: BaseException) -> dict[str, Any]:
    """For JSON: the class, the message, and whatever the class has to say beyond it."""
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


def require_rich() -> None:
    """Check that tables can be drawn, before anything else is done.

    Raises:
        MissingExtra: rich is not installed.
    """
    try:
        import rich  # noqa: F401, PLC0415 - optional, and slow to import
    except ImportError as exc:
        raise MissingExtra(
            "this output needs rich, which is not installed",
            remedy="pip install 'babar-tls[cli]', or ask for --json, which needs nothing.",
        ) from exc
