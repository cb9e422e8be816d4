"""A pytest plugin: the fixture `postgres_server`, a running `PostgresServer` for the whole session.

Installed with babar-tls and loaded by pytest on its own. To change how the server is started, define a fixture
`postgres_server_options` in your ``conftest.py``::

    @pytest.fixture(scope="session")
    def postgres_server_options():
        return {"roles": {"app": "secret"}, "settings": {"log_connections": "on"}}

The ini option ``postgres_server_bindir`` names the bin folder of the PostgreSQL to run, where that is not to be the one
of the ``demo`` extra. With pytest-xdist every worker has a server of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing.postgres import PostgresServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the ini option."""
    parser.addini("postgres_server_bindir", "bin folder of the PostgreSQL that the fixture postgres_server runs")


@pytest.fixture(scope="session")
def postgres_server_options() -> dict[str, Any]:
    """Arguments of `PostgresServer` for the fixture `postgres_server`; override it to change them."""
    return {}


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config, postgres_server_options: dict[str, Any]) -> Iterator[PostgresServer]:
    """A running PostgreSQL server with TLS, shut down and removed when the session ends."""
    from babar_tls.testing.postgres import PostgresServer  # noqa: PLC0415 - every pytest run loads this module

    options = dict(postgres_server_options)
    bindir = pytestconfig.getini("postgres_server_bindir")
    if bindir:
        options.setdefault("pg_bindir", bindir)
    with PostgresServer(**options) as server:
        yield server
