"""Errors that are instances of a class of babar-tls and of one of a driver."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import babar_tls
from babar_tls import errors
from babar_tls.integrations._driver_errors import add_driver_class


class DriverError(Exception):
    pass


def an_error(name: str) -> Any:
    cls = getattr(errors, name)
    if issubclass(cls, errors.ServerError):
        return cls({"S": "FATAL", "C": "28P01", "M": "refused"}, remedy="a remedy")
    if cls is errors.CertificateError:
        return cls("expired", reason="expired", remedy="a remedy")
    return cls("failed", remedy="a remedy")


@pytest.mark.parametrize("name", errors.__all__)
def test_error_of_every_class_gets_the_class_of_the_driver(name: str) -> None:
    error = an_error(name)
    if isinstance(error, errors.IoError):
        error.errno = 111
    text = str(error)
    add_driver_class(error, DriverError, {"query": "select", "message": "not this one"})
    for each in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - the test made the bytes
        assert isinstance(each, DriverError)
        assert isinstance(each, getattr(babar_tls, name))
        assert str(each) == text
        assert each.query == "select"
        assert getattr(each, "errno", None) == getattr(error, "errno", None)
        if isinstance(error, OSError):
            assert each.errno == 111
