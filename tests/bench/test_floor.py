"""The floors verify the server as strictly as the drivers that are compared with them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography")

from babar_tls.backends import available_backends
from babar_tls.bench.clients import make
from babar_tls.bench.floor import LIBRARIES, floor_specs
from babar_tls.bench.server import benchmark_server
from babar_tls.errors import ProtocolError
from babar_tls.testing import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from babar_tls.bench.client_spec import Spec
    from babar_tls.config import Config


def error_of(backend: str | None) -> type[Exception]:
    """Return what the TLS library raises if it refuses a server."""
    if backend == "openssl":
        from OpenSSL import SSL

        return SSL.Error
    if backend == "rustls":
        import rtls

        return rtls.SSLError
    return ssl.SSLCertVerificationError


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    with benchmark_server(None) as server:
        yield server.config


specs = pytest.mark.parametrize("spec", floor_specs(available_backends()), ids=lambda spec: spec.name)


@specs
def test_floor_logs_in(spec: Spec, config: Config) -> None:
    client = make(spec, config)
    for _ in range(2):  # the second time with cached keys
        session = client.open()
        session.sendall(b"Q" + (13).to_bytes(4, "big") + b"select 7\0")
        assert b"\x017" in session.recv(1 << 14)
        client.close(session)
    with pytest.raises(NotImplementedError):
        client.stream(session, "copy (select 1) to stdout")


@specs
def test_certificate_of_another_issuer_is_refused(spec: Spec, config: Config, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(CertificateAuthority().certificate_pem)
    client = make(spec, config.replace(tls_root_cert_path=str(other)))
    with pytest.raises(error_of(spec.backend)):
        client.open()


@specs
@pytest.mark.parametrize("host", ["wrong.example", "127.0.0.9"])
def test_certificate_for_another_host_is_refused(spec: Spec, config: Config, host: str) -> None:
    client = make(spec, config.replace(host=host, hostaddr=config.host))
    with pytest.raises(error_of(spec.backend)):
        client.open()


@specs
def test_wrong_password_is_refused(spec: Spec, config: Config) -> None:
    client = make(spec, config.replace(password="wrong"))
    with pytest.raises(ProtocolError, match="the server sent an error"):
        client.open()


def test_floor_exists_for_each_backend_of_this_library() -> None:
    assert list(LIBRARIES) == ["stdlib", "openssl", "rustls"]
    assert floor_specs(["another library", None]) == []
