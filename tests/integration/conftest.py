"""Real servers, one with TLS and one without, that have a role for each authentication method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import PostgresServer, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The password of every role.
PASSWORD = "correct horse battery staple"

ROLES = {
    "scram_role": Role(password=PASSWORD),
    "md5_role": Role(password=PASSWORD, encryption="md5"),
    "password_role": Role(password=PASSWORD),
    "trust_role": Role(password=PASSWORD),
}

HBA = [
    "host all scram_role all scram-sha-256",
    "host all md5_role all md5",
    "host all password_role all password",
    "host all trust_role all trust",
    "host all made_here all scram-sha-256",
    "local all all scram-sha-256",
    "host all postgres all scram-sha-256",
]


def major_version(server: PostgresServer) -> int:
    return int(server.version.split(".")[0])


def require_version(server: PostgresServer, least: int, feature: str) -> None:
    """Skip the test if the server is older than the feature."""
    if major_version(server) < least:
        pytest.skip(f"PostgreSQL {major_version(server)} has no {feature}")


@pytest.fixture(autouse=True)
def direct_tls_support(request: pytest.FixtureRequest) -> None:
    """Skip the cases with direct TLS if the server does not support it."""
    callspec = getattr(request.node, "callspec", None)
    is_direct = callspec is not None and callspec.params.get("negotiation") == "direct"
    if is_direct and {"tls_server", "p384_server"} & set(request.fixturenames):
        require_version(request.getfixturevalue("tls_server"), 17, "direct TLS")


@pytest.fixture(scope="session")
def tls_server() -> Iterator[PostgresServer]:
    """Start a server with TLS."""
    with PostgresServer(roles=ROLES, hba=HBA) as server:
        yield server


@pytest.fixture(scope="session")
def plain_server() -> Iterator[PostgresServer]:
    """Start a server without TLS."""
    with PostgresServer(roles=ROLES, hba=HBA, tls=False) as server:
        yield server
