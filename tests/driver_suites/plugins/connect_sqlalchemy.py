"""A pytest plugin for SQLAlchemy's suite: run only what connects, and set up PostgreSQL for the additional dialects."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

import pytest
from record import OURS
from sqlalchemy.dialects.postgresql.base import PGDialect

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

if OURS:
    from babar_tls.integrations import sqlalchemy as ours  # registers the dialects, as the entry points do

    _original_connect = ours.Dialect.connect


class _Pg8000:
    """The module pg8000, with the function that opens connections of babar-tls as its `connect`."""

    def __init__(self, dialect: Dialect, module: Any) -> None:
        self._module = module
        self.connect = functools.partial(_original_connect, dialect)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _connect(self: Any, *arguments: Any, **keywords: Any) -> Any:
    """Open a connection by SQLAlchemy's fixture if there is one, so that it can break the connection.

    The fixture replaces the DBAPI module, whose `connect` our dialect does not call.
    """
    fixture = self.loaded_dbapi
    if type(fixture).__name__ != "ReconnectFixture":
        return _original_connect(self, *arguments, **keywords)
    if not isinstance(fixture.dbapi, _Pg8000):
        fixture.dbapi = _Pg8000(self, fixture.dbapi)
    return fixture.connect(*arguments, **keywords)


if OURS:
    ours.Dialect.connect = _connect


@classmethod  # type: ignore[misc] - replaces a class method
def _load_provisioning(cls: type[Dialect]) -> None:
    """Import SQLAlchemy's module. The original imports one of this name from the package of the dialect's class."""
    importlib.import_module("sqlalchemy.dialects.postgresql.provision")


PGDialect.load_provisioning = _load_provisioning


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that use no connection: SQLAlchemy adds the dialect to the names of the others."""
    config.hook.pytest_deselected(items=[item for item in items if "_postgresql+" not in item.nodeid])
    items[:] = [item for item in items if "_postgresql+" in item.nodeid]
