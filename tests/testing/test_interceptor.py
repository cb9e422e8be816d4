"""The interceptor records what it relays, and channel binding detects it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import CertificateAuthority, TlsInterceptor
from babar_tls.testing._tls_contexts import request_tls
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


def test_traffic_of_an_unverified_connection_is_recorded(server: PostgresServer, interceptor: TlsInterceptor) -> None:
    result = through(server, interceptor, "select 'the ' || 'answer'", channel_binding="disable")
    assert result == "the answer"
    assert b"select 'the ' || 'answer'" in interceptor.seen
    assert b"the answer" in interceptor.seen
    assert interceptor.bytes_relayed >= len(interceptor.seen)


def test_large_results_are_relayed_and_the_record_is_bounded(
    server: PostgresServer, interceptor: TlsInterceptor
) -> None:
    result = through(server, interceptor, "select repeat('x', 5000000)", channel_binding="disable")
    assert len(result) == 5000000
    assert interceptor.bytes_relayed > 5000000
    assert len(interceptor.seen) <= 1 << 20


def test_verification_stops_the_interceptor(server: PostgresServer, interceptor: TlsInterceptor) -> None:
    result = through(server, interceptor, "select 1", sslmode="verify-full", sslrootcert=str(server.root_cert_path))
    assert "certificate verify failed" in result


def test_channel_binding_stops_the_interceptor(server: PostgresServer, interceptor: TlsInterceptor) -> None:
    result = through(server, interceptor, "select 1", channel_binding="require")
    assert "channel binding check failed" in result


def test_stripped_plus_is_a_downgrade_that_the_server_detects(server: PostgresServer) -> None:
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
def test_mechanism_is_removed_from_any_fragments(size: int) -> None:
    stripper = _PlusStripper()
    notice, rest = b"v\0\0\0\x0c\0\3\0\0\0\0\0\0", b"R\0\0\0\x0b\0\0\0\x0bSCRAM-SHA-256-PLUS"
    stream = notice + OFFER + rest
    out = b"".join(stripper.feed(stream[index : index + size]) for index in range(0, len(stream), size))
    payload = struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"
    assert out == notice + b"R" + struct.pack("!i", len(payload) + 4) + payload + rest


def test_other_authentication_requests_are_unchanged() -> None:
    assert _PlusStripper().feed(b"R\0\0\0\x08\0\0\0\0") == b"R\0\0\0\x08\0\0\0\0"


def test_upstream_without_tls_is_an_error() -> None:
    """The connection of the client ends."""
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
