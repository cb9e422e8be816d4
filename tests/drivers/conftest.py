"""A real server with TLS, and the backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls import available_backends
from babar_tls.testing import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """Start a server with TLS, on which the role `app` has the password `secret`."""
    with PostgresServer(roles={"app": "secret"}) as started:
        yield started


@pytest.fixture(params=["stdlib", "openssl", "rustls"])
def backend(request: pytest.FixtureRequest) -> str:
    """Return the name of a backend: the test runs once with each."""
    name: str = request.param
    if name not in available_backends():
        pytest.skip(f"the {name} backend is not installed")
    return name
