"""A pytest plugin for SQLAlchemy's suite: run only what connects, and set up PostgreSQL for the additional dialects."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest
from record import OURS
from sqlalchemy.dialects.postgresql.base import PGDialect

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

if OURS:
    importlib.import_module("babar_tls.integrations.sqlalchemy")  # registers the dialects, as the entry points do


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
