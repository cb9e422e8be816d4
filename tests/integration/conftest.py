"""Real servers for the tests of this folder: one with TLS and one without, with a role for each way to log in."""

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


@pytest.fixture(scope="session")
def tls_server() -> Iterator[PostgresServer]:
    """A server with TLS."""
    with PostgresServer(roles=ROLES, hba=HBA) as server:
        yield server


@pytest.fixture(scope="session")
def plain_server() -> Iterator[PostgresServer]:
    """A server without TLS."""
    with PostgresServer(roles=ROLES, hba=HBA, tls=False) as server:
        yield server
