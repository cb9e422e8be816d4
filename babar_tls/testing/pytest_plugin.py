"""A pytest plugin with the fixture `postgres_server`: a running `PostgresServer` for the whole session.

pytest loads it if babar-tls is installed. To change how the server is started, define a fixture
`postgres_server_options` in your ``conftest.py``::

    @pytest.fixture(scope="session")
    def postgres_server_options():
        return {"roles": {"app": "secret"}, "settings": {"log_connections": "on"}}

The ini option ``postgres_server_bindir`` is the bin folder of the PostgreSQL to run. Default: the environment variable
``BABAR_TLS_POSTGRES``, or the PostgreSQL of the ``demo`` extra. With pytest-xdist every worker starts a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing.postgres import PostgresServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option."""
    parser.addini("postgres_server_bindir", "bin folder of the PostgreSQL that the fixture postgres_server runs")


@pytest.fixture(scope="session")
def postgres_server_options() -> dict[str, Any]:
    """Return the arguments of `PostgresServer` for the fixture `postgres_server`."""
    return {}


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config, postgres_server_options: dict[str, Any]) -> Iterator[PostgresServer]:
    """Start a PostgreSQL server with TLS; stop it when the session ends."""
    from babar_tls.testing.postgres import PostgresServer  # noqa: PLC0415 - every pytest run loads this module

    options = dict(postgres_server_options)
    bindir = pytestconfig.getini("postgres_server_bindir")
    if bindir:
        options.setdefault("pg_bindir", bindir)
    with PostgresServer(**options) as server:
        yield server
