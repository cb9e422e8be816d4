"""Refusals of real servers: the remedy matches the reason."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from babar_tls import ChannelBindingError, ClientCertificateError, Error, UnsupportedAuth, available_backends, connect
from babar_tls.testing import CertificateAuthority, PostgresServer, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls import Config
    from babar_tls.testing import ServerCertificate

PASSWORD = "correct horse"
POSTGRES15 = Path("/usr/lib/postgresql/15/bin")  # Debian's


class World(NamedTuple):
    """A server that trusts a CA for client certificates, and one certificate that it has revoked."""

    server: PostgresServer
    clients: CertificateAuthority
    revoked: ServerCertificate

    def config(self, lines: list[str], **changes: Any) -> Config:
        """Set the lines of pg_hba.conf, and return a configuration."""
        self.server.set_hba([*lines, "local all postgres peer map=everybody"])
        return self.server.config(**{"user": "app", "password": PASSWORD, "database": "postgres", **changes})

    def certificate(self, certificate: ServerCertificate | None = None) -> dict[str, bytes]:
        """Return the fields of a configuration for a client certificate."""
        chosen = certificate or self.clients.issue(usage="client", common_name="app")
        return {"tls_client_cert": chosen.certificate_pem, "tls_client_key": chosen.private_key_pem}


@pytest.fixture(scope="module", params=["17", "15"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "15" and not POSTGRES15.exists():
        if os.environ.get("BABAR_TLS_TEST_POSTGRES15") == "require":
            pytest.fail(f"needs PostgreSQL 15 in {POSTGRES15}")
        pytest.skip(f"needs PostgreSQL 15 in {POSTGRES15}")
    clients = CertificateAuthority()
    revoked = clients.issue(usage="client", common_name="app")
    with PostgresServer(
        roles={"app": Role(password=PASSWORD), "other": Role(password=PASSWORD)},
        settings={"ssl_ca_file": "clients.crt", "ssl_crl_file": "clients.crl"},
        files={"clients.crt": clients.root_pem, "clients.crl": clients.revocation_list([revoked])},
        pg_bindir=POSTGRES15 if request.param == "15" else None,
    ) as server:
        server.sql("create role nologin nologin password 'correct horse'")
        yield World(server, clients, revoked)


def refused(config: Config, message: str, *remedy: str, kind: type[Error] = Error) -> None:
    with pytest.raises(kind) as caught:
        connect(config).close()
    assert re.search(message, caught.value.message), caught.value.message
    for each in remedy:
        assert each in (caught.value.remedy or ""), caught.value.remedy


SCRAM = ["hostssl all all all scram-sha-256"]


@pytest.mark.parametrize(
    ("lines", "changes", "message", "remedy"),
    [
        (SCRAM, {"tls_mode": "disable"}, "no pg_hba.conf entry .* no encryption", "sslmode=require"),
        (["hostnossl all all all trust"], {}, "no pg_hba.conf entry .* SSL encryption", "host or hostssl"),
        (["hostssl all other all trust"], {}, "no pg_hba.conf entry .* SSL encryption", "host or hostssl"),
        (["host all all all reject"], {}, "pg_hba.conf rejects connection .* SSL encryption", "method reject"),
        (
            ["hostnossl all all all reject", *SCRAM],
            {"tls_mode": "disable"},
            "pg_hba.conf rejects connection .* no encryption",
            "sslmode=require",
        ),
        (SCRAM, {"password": "wrong"}, "password authentication failed", "Check the user and the password"),
        (SCRAM, {"user": "missing"}, "password authentication failed", "does not exist"),
        (["host all all all trust"], {"user": "missing"}, 'role "missing" does not exist', "CREATE ROLE"),
        (SCRAM, {"user": "nologin"}, 'role "nologin" is not permitted to log in', "ALTER ROLE"),
        (["host all all all ident"], {}, "Ident authentication failed", "ident server"),
        (["hostssl all all all cert"], {}, "connection requires a valid client certificate", "sslcert"),
        (
            ["hostssl all all all scram-sha-256 clientcert=verify-full"],
            {},
            "connection requires a valid client certificate",
            "tls_client_cert",
        ),
    ],
)
def test_remedy_matches_the_reason(
    world: World, lines: list[str], changes: dict[str, Any], message: str, remedy: str
) -> None:
    config = world.config(lines)
    if changes.get("tls_mode"):
        config = config.replace(tls_root_cert_path=None, tls_default_roots=True)
    refused(config.replace(**changes), message, remedy)


def test_remedy_for_unix_socket_does_not_mention_tls(world: World) -> None:
    config = world.config(["host all all all trust"])
    directory = world.server.sql("show unix_socket_directories").strip()
    refused(
        config.replace(host=directory), r'no pg_hba.conf entry for host "\[local\]"', "type local", "host=localhost"
    )


def test_client_certificate_of_another_role_is_not_a_wrong_password(world: World) -> None:
    own = world.certificate(world.clients.issue(usage="client", common_name="other"))
    refused(
        world.config(["hostssl all all all cert"], **own),
        "certificate authentication failed",
        "common name of the client certificate",
        "pg_ident.conf",
    )
    refused(
        world.config(["hostssl all all all scram-sha-256 clientcert=verify-full"], **own),
        "password authentication failed",
        "The password is correct",
        "common name of the client certificate",
    )


@pytest.mark.parametrize("backend", available_backends())
def test_required_binding_without_scram_is_refused(world: World, backend: str) -> None:
    text = "channel binding required, but server authenticated client without channel binding"
    for lines, own in ((["hostssl all all all cert"], world.certificate()), (["host all all all trust"], {})):
        config = world.config(lines, tls_backend=backend, **own)
        connect(config).close()
        bound = config.replace(channel_binding="require")
        refused(bound, text, "certificate (cert)", "trust", "peer", "scram-sha-256", kind=ChannelBindingError)
        required = config.replace(require_auth="scram-sha-256")
        refused(required, "server did not complete authentication", "trust, cert, peer", kind=UnsupportedAuth)


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_refused_client_certificate_has_its_reason(world: World, backend: str, version: str) -> None:
    other = CertificateAuthority().issue(usage="client", common_name="app")
    server = world.clients.issue("app", common_name="app")
    for certificate, alert, remedy in (
        (world.revoked, "certificate revoked", "has been revoked"),
        (other, "unknown ca", "ssl_ca_file"),
        (server, "unsupported certificate", "clientAuth"),
    ):
        config = world.config(
            ["hostssl all all all cert"], tls_backend=backend, tls_max_version=version, **world.certificate(certificate)
        )
        refused(config, re.escape(f"({alert})"), remedy, kind=ClientCertificateError)
