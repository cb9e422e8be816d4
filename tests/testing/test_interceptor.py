"""The interceptor reads what it relays, and cannot hide from channel binding."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import CertificateAuthority, TlsInterceptor
from babar_tls.testing._wire import request_tls
from babar_tls.testing.interceptor import _PlusStripper

from .queries import query

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

MECHANISMS = struct.pack("!i", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
OFFER = b"R" + struct.pack("!i", len(MECHANISMS) + 4) + MECHANISMS


def through(server: PostgresServer, interceptor: TlsInterceptor, sql: str, **options: str) -> str:
    """Return the result of a query through the interceptor, or the text of the error."""
    conninfo = server.conninfo(**{"port": interceptor.port, "sslmode": "require", "sslrootcert": None, **options})
    return query(conninfo, sql)


@pytest.fixture(scope="module")
def interceptor(server: PostgresServer) -> TlsInterceptor:
    certificate = CertificateAuthority().issue("localhost", "127.0.0.1")
    with TlsInterceptor(server.host, server.port, certificate) as running:
        yield running
    assert running.errors == []


def test_reads_the_traffic(server: PostgresServer, interceptor: TlsInterceptor) -> None:
    """A client that does not verify is served, and everything that it says and hears is read."""
    result = through(server, interceptor, "select 'the ' || 'answer'", channel_binding="disable")
    assert result == "the answer"
    assert b"select 'the ' || 'answer'" in interceptor.seen
    assert b"the answer" in interceptor.seen
    assert interceptor.bytes_relayed >= len(interceptor.seen)


def test_large_results(server: PostgresServer, interceptor: TlsInterceptor) -> None:
    """A result of many records arrives whole; what is remembered of it is bounded."""
    result = through(server, interceptor, "select repeat('x', 5000000)", channel_binding="disable")
    assert len(result) == 5000000
    assert interceptor.bytes_relayed > 5000000
    assert len(interceptor.seen) <= 1 << 20


def test_verification_stops_it(server: PostgresServer, interceptor: TlsInterceptor) -> None:
    """A client that verifies does not come to the point of speaking."""
    result = through(server, interceptor, "select 1", sslmode="verify-full", sslrootcert=str(server.root_cert_path))
    assert "certificate verify failed" in result


def test_channel_binding_stops_it(server: PostgresServer, interceptor: TlsInterceptor) -> None:
    """Channel binding detects it, though the client verifies nothing."""
    result = through(server, interceptor, "select 1", channel_binding="require")
    assert "channel binding check failed" in result


def test_strip_plus(server: PostgresServer) -> None:
    """With strip_plus the client is offered no channel binding, which the server takes for the downgrade it is."""
    certificate = CertificateAuthority().issue("localhost")
    with TlsInterceptor(server.host, server.port, certificate, strip_plus=True) as stripping:
        required = through(server, stripping, "select 1", channel_binding="require")
        assert "server did not offer an authentication method that supports channel binding" in required
        preferred = through(server, stripping, "select 1", channel_binding="prefer")
        assert "SCRAM channel binding negotiation error" in preferred
        disabled = through(server, stripping, "select 1", channel_binding="disable")
        assert disabled == "1"
        assert stripping.connections == 3
    assert stripping.errors == []


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_stripper_does_not_mind_cuts(size: int) -> None:
    """The mechanism is taken out, and the length corrected, wherever the stream is cut."""
    stripper = _PlusStripper()
    notice, rest = b"v\0\0\0\x0c\0\3\0\0\0\0\0\0", b"R\0\0\0\x0b\0\0\0\x0bSCRAM-SHA-256-PLUS"
    stream = notice + OFFER + rest
    out = b"".join(stripper.feed(stream[index : index + size]) for index in range(0, len(stream), size))
    payload = struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"
    assert out == notice + b"R" + struct.pack("!i", len(payload) + 4) + payload + rest


def test_other_authentication_is_passed_on() -> None:
    """A first request other than SASL is passed on as it is."""
    assert _PlusStripper().feed(b"R\0\0\0\x08\0\0\0\0") == b"R\0\0\0\x08\0\0\0\0"


def test_upstream_without_tls_is_an_error() -> None:
    """A real server without TLS is reported; the client sees its connection end."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(10)
        certificate = CertificateAuthority().issue("localhost")
        with TlsInterceptor("127.0.0.1", upstream.getsockname()[1], certificate) as running:
            with socket.create_connection((running.host, running.port), timeout=10) as sock:
                stream = request_tls(sock)
                assert stream is not None
                with stream, upstream.accept()[0] as upstream_side:
                    assert upstream_side.recv(8)
                    upstream_side.sendall(b"N")
                    assert stream.recv(1) == b""
            assert [str(error) for error in running.errors] == ["the upstream server does not offer TLS"]
