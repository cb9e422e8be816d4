"""Scripted servers say what they are told to, and leave nothing behind."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import CertificateAuthority, PeerDisconnected, ScriptedPeer, ScriptedServer, ServerCertificate
from babar_tls.testing._tls_contexts import (
    GSSENC_REQUEST,
    SSL_REQUEST,
    client_context,
    request_tls,
    server_context,
    wrap,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def certificate() -> ServerCertificate:
    return CertificateAuthority().issue("localhost", "127.0.0.1")


def connect(server: ScriptedServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=10)


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while chunk := sock.recv(4096):
        received += chunk
    return received


def test_startup_and_messages() -> None:
    """A script reads startup packets and messages, and sends messages with their length computed."""
    got: list[object] = []

    def script(peer: ScriptedPeer) -> None:
        got.append(peer.receive_startup())
        peer.send_message(b"R", struct.pack("!i", 3))
        got.append(peer.receive_message())
        peer.drip(b"bye", 0)

    with ScriptedServer(script) as server, connect(server) as sock:
        sock.sendall(struct.pack("!ii", 8, 196608) + b"p\0\0\0\x08pw!\0")
        assert read_all(sock) == b"R\0\0\0\x08\0\0\0\x03bye"
    assert got == [struct.pack("!ii", 8, 196608), (b"p", b"pw!\0")]
    assert (server.connections, server.errors) == (1, [])


@pytest.mark.parametrize("prelude", ["postgres", "gssenc", "direct"])
def test_tls(prelude: str, certificate: ServerCertificate) -> None:
    """With a certificate the script starts in TLS, after an SSLRequest or without one."""

    def script(peer: ScriptedPeer) -> None:
        assert peer.tls is not None
        assert peer.tls.selected_alpn_protocol() == "postgresql"
        peer.send(peer.receive_exactly(4)[::-1])
        peer.close_notify()

    with ScriptedServer(script, tls=certificate) as server, connect(server) as sock:
        if prelude == "gssenc":
            sock.sendall(GSSENC_REQUEST)
            assert sock.recv(1) == b"N"
        stream = client_context().wrap_socket(sock) if prelude == "direct" else request_tls(sock)
        assert stream is not None
        with stream:
            stream.sendall(b"1234")
            assert read_all(stream) == b"4321"
            assert stream.getpeercert(binary_form=True) == certificate.der
            stream.unwrap().close()
    assert server.errors == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_options(version: ssl.TLSVersion, certificate: ServerCertificate) -> None:
    """A script chooses the TLS version and the ALPN protocols in mid-connection."""

    def script(peer: ScriptedPeer) -> None:
        assert peer.receive_startup() == SSL_REQUEST
        peer.send(b"S")
        peer.start_tls(certificate, minimum_version=version, maximum_version=version, alpn_protocols=())
        peer.send(b"hello")

    with ScriptedServer(script) as server, connect(server) as sock:
        stream = request_tls(sock)
        assert stream is not None
        with stream:
            assert stream.recv(5) == b"hello"
            assert stream.version() == version.name.replace("_", ".")
            assert stream.selected_alpn_protocol() is None
    assert server.errors == []


@pytest.mark.parametrize("hash_name", ["md5", "sha1"])
def test_weak_certificates_are_presented(hash_name: str) -> None:
    """A certificate that OpenSSL would not touch by itself is presented all the same."""
    weak = CertificateAuthority("rsa2048").issue("localhost", hash=hash_name)
    with ScriptedServer(lambda peer: peer.receive(1), tls=weak) as server, connect(server) as sock:
        stream = request_tls(sock)
        assert stream is not None
        with stream:
            assert stream.getpeercert(binary_form=True) == weak.der


def test_client_that_refuses_is_no_error(certificate: ServerCertificate) -> None:
    """A client that does not accept the certificate has left; the script did nothing wrong."""
    with ScriptedServer(lambda peer: peer.receive(1), tls=certificate) as server, connect(server) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    assert server.errors == []


def test_client_certificate(certificate: ServerCertificate, tmp_path: Path) -> None:
    """A script can demand a client certificate, and read it."""
    authority = CertificateAuthority()
    authority.issue(common_name="app", usage="client").write(tmp_path / "app.crt", tmp_path / "app.key")
    subjects: list[object] = []

    def script(peer: ScriptedPeer) -> None:
        assert peer.tls is not None
        subjects.append((peer.tls.getpeercert() or {}).get("subject"))
        peer.send(b"in")

    with ScriptedServer(script, tls=certificate, client_ca_pem=authority.certificate_pem) as server:
        context = client_context()
        context.load_cert_chain(tmp_path / "app.crt", tmp_path / "app.key")
        with connect(server) as sock, context.wrap_socket(sock) as stream:
            assert read_all(stream) == b"in"
        assert server.errors == []
        with connect(server) as sock, client_context().wrap_socket(sock) as stream, pytest.raises(ssl.SSLError):
            stream.recv(1)
        while not server.errors:  # the server's thread may still be on its way there
            time.sleep(0.001)
    assert subjects == [((("organizationName", "babar-tls testing"),), (("commonName", "app"),))]
    assert [getattr(error, "reason", error) for error in server.errors] == ["PEER_DID_NOT_RETURN_A_CERTIFICATE"]


def test_reset() -> None:
    """A reset is a reset and not a close."""
    with ScriptedServer(lambda peer: (peer.receive_exactly(1), peer.reset())) as server, connect(server) as sock:
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_disconnect_is_expected() -> None:
    """A client that leaves in mid-message ends the script without an error, unless the script cares."""
    outcomes: list[BaseException] = []
    done = threading.Event()

    def script(peer: ScriptedPeer) -> None:
        try:
            peer.receive_message()
        except PeerDisconnected as exc:
            outcomes.append(exc)
            raise
        finally:
            done.set()

    with ScriptedServer(script) as server:
        with connect(server) as sock:
            sock.sendall(b"Q\0")
        assert done.wait(10)
    assert len(outcomes) == 1
    assert server.errors == []


def test_errors_are_collected() -> None:
    """What a script raises, assertions included, is kept for the test to look at."""

    def script(peer: ScriptedPeer) -> None:
        assert peer.receive(1) == b"b"

    with ScriptedServer(script) as server, connect(server) as sock:
        sock.sendall(b"a")
        assert read_all(sock) == b""
    assert [type(error) for error in server.errors] == [AssertionError]


def test_timeout_is_an_error() -> None:
    """A script that waits in vain times out, and says so."""
    with ScriptedServer(lambda peer: peer.receive_message(), timeout=0.05) as server, connect(server) as sock:
        assert read_all(sock) == b""
    assert [type(error) for error in server.errors] == [TimeoutError]


def test_close_interrupts_scripts(certificate: ServerCertificate) -> None:
    """Closing a server ends scripts that wait, in the clear and in TLS, and their threads."""
    for tls in (None, certificate):
        before = threading.active_count()
        with ScriptedServer(lambda peer: peer.receive_message(), tls=tls, timeout=600) as server:
            sock = connect(server)
            stream = request_tls(sock) if tls else None
        (stream or sock).close()
        assert threading.active_count() == before
        assert server.errors == []


def test_many_connections() -> None:
    """Connections are served at the same time, each with a script of its own."""
    barrier = threading.Barrier(8)

    def script(peer: ScriptedPeer) -> None:
        barrier.wait(10)
        peer.send(b"ok")

    with ScriptedServer(script) as server:
        socks = [connect(server) for _ in range(8)]
        assert [read_all(sock) for sock in socks] == [b"ok"] * 8
        for sock in socks:
            sock.close()
    assert (server.connections, server.errors) == (8, [])


def test_peer_that_resets_before_tls(certificate: ServerCertificate) -> None:
    """A connection that is reset before TLS begins is closed, although the standard library loses the socket."""
    context = server_context(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        descriptor = accepted.fileno()
        with accepted, pytest.raises(OSError):  # noqa: PT011 - whichever the system calls it
            wrap(context, accepted, server_side=True)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
