"""One tree of errors: every class pickles, shows what it was given, and is what its names promise."""

from __future__ import annotations

import builtins
import copy
import pickle
from typing import Any

import pytest

from babar_tls import errors
from babar_tls.errors import (
    AuthError,
    AuthRefused,
    BackendUnavailable,
    CertificateError,
    ChannelBindingError,
    ChannelBindingRefused,
    Closed,
    ConfigError,
    Error,
    InvalidPassword,
    IoError,
    ServerError,
    TlsError,
    after,
    at_endpoint,
)

CLASSES: list[type[Error]] = [getattr(errors, name) for name in errors.__all__]
ENDPOINT = 'server at "db.example.com" (192.0.2.7), port 5432'
FIELDS = {"S": "FATAL", "V": "FATAL", "C": "28P01", "M": "no", "D": "detail", "H": "hint", "P": "7"}


def make(kind: type[Error]) -> Error:
    options: dict[str, Any] = {"remedy": "mend it"}
    if issubclass(kind, CertificateError):
        options["reason"] = "expired"
    elif issubclass(kind, IoError):
        options["errno"] = 111
    return kind(FIELDS if issubclass(kind, ServerError) else "no", **options)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class(kind: type[Error]) -> None:
    """Every class is an `Error`, has a message, a remedy and an endpoint, and shows all three."""
    failure = make(kind)
    assert isinstance(failure, Error)
    assert (failure.message, failure.remedy, failure.endpoint) == ("no", "mend it", None)
    assert str(failure).endswith("\nmend it")
    assert at_endpoint(failure, ENDPOINT) is failure
    assert str(failure).startswith(f"connection to {ENDPOINT} failed: ")
    at_endpoint(failure, "another")
    assert failure.endpoint == ENDPOINT


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(kind: type[Error], protocol: int) -> None:
    """An error that is pickled, or copied, comes back with everything."""
    failure = at_endpoint(make(kind), ENDPOINT)
    for twin in (pickle.loads(pickle.dumps(failure, protocol)), copy.copy(failure)):  # noqa: S301 - our own bytes
        assert type(twin) is kind
        assert str(twin) == str(failure)
        assert twin.args == failure.args
        assert twin.__dict__ == failure.__dict__
        assert getattr(twin, "errno", None) == getattr(failure, "errno", None)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (ConfigError, ValueError),
        (BackendUnavailable, ImportError),
        (IoError, OSError),
        (errors.TimeoutError, builtins.TimeoutError),
        (errors.TimeoutError, IoError),
        (Closed, IoError),
        (TlsError, IoError),
        (CertificateError, TlsError),
        (InvalidPassword, AuthError),
        (InvalidPassword, ServerError),
        (AuthRefused, ServerError),
        (ChannelBindingRefused, ChannelBindingError),
        (ChannelBindingRefused, ServerError),
    ],
)
def test_bases(kind: type[Error], base: type[BaseException]) -> None:
    """`except` with Python's own classes, or with either branch, catches what it should."""
    with pytest.raises(base):
        raise make(kind)


def test_attributes() -> None:
    """What there is to match is in attributes."""
    refused = make(InvalidPassword)
    assert isinstance(refused, ServerError)
    assert (refused.severity, refused.code, refused.detail, refused.hint, refused.position) == (
        "FATAL",
        "28P01",
        "detail",
        "hint",
        7,
    )
    expired = make(CertificateError)
    assert isinstance(expired, CertificateError)
    assert expired.reason == "expired"
    unreachable = make(IoError)
    assert isinstance(unreachable, IoError)
    assert unreachable.errno == 111


def test_servers_words() -> None:
    """A server's error reads as libpq shows it."""
    assert str(ServerError(FIELDS)) == "FATAL:  no\nDETAIL:  detail\nHINT:  hint"
    assert str(ServerError({})) == "ERROR:  unknown error"
    localized = ServerError({"S": "FATAL", "V": "", "M": "nein"})
    assert localized.severity == "FATAL"


@pytest.mark.parametrize(
    ("position", "number"),
    [
        ("1", 1),
        ("4294967295", 4294967295),
        ("", None),
        ("0x1", None),
        ("-1", None),
        (" 1", None),
        ("1\n", None),
        ("²", None),
        ("٤", None),
        ("9" * 5000, None),
    ],
)
def test_positions(position: str, number: int | None) -> None:
    """A position is a number of a sensible length; whatever else a server sends there is none."""
    assert ServerError({"P": position}).position == number


@pytest.mark.parametrize("severity", ["DETAIL", "HINT", ""])
def test_message_is_shown_whatever_the_severity_is(severity: str) -> None:
    error = ServerError({"V": severity, "S": severity, "M": "message", "D": "detail", "H": "hint"})
    assert str(error) == f"{severity}:  message\nDETAIL:  detail\nHINT:  hint"


def test_tree_is_documented() -> None:
    """Every class stands in the module's docstring, and every class of the module is public."""
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert name in errors.__doc__
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Error)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("kind", CLASSES)
def test_earlier_attempts(kind: type[Error]) -> None:
    """An error lists the attempts before it, each with its server, and keeps them when it is pickled or copied."""
    first, second, last = Error("first"), at_endpoint(Error("second", remedy="not shown"), ENDPOINT), make(kind)
    assert last.attempts == (last,)
    assert after(last, [after(second, [first])]) is last
    assert last.attempts == (first, second, last)
    lines = str(last).splitlines()
    assert lines[:2] == ["first", f"connection to {ENDPOINT} failed: second"]
    assert "not shown" not in str(last)
    for other in (copy.copy(last), pickle.loads(pickle.dumps(last))):  # noqa: S301 - our own bytes
        assert str(other) == str(last)
