"""The PostgreSQL server that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import PostgresServer, Role

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """Start a server with TLS and roles of every kind."""
    roles = {
        "app": "it's a \\ secret",
        "old": Role("former", encryption="md5"),
        "boss": Role("boss", superuser=True),
        "nopassword": None,
    }
    with PostgresServer(roles=roles, databases=["orders"]) as running:
        yield running
