"""Every answer to SSLRequest other than a single ``S`` or ``N`` is an error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from babar_tls import Closed, Config, Error, IoError, ProtocolError, TimeoutError, TlsError, TlsMode, TlsRefused
from babar_tls.testing import ScriptedServer
from babar_tls.testing._tls_contexts import SSL_REQUEST

from .scripts import FATAL, HTTP, SSH, Observer, answer_ssl_request, connect, failure, receive_until_closed, send_ready

if TYPE_CHECKING:
    from babar_tls.testing import ScriptedPeer, ServerCertificate


def test_server_without_tls_is_refused(config: Config, style: str) -> None:
    """Nothing else is sent."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"N")
        observer.watch(peer)

    with ScriptedServer(script) as server:
        error = failure(config.replace(port=server.port), style, TlsRefused)
        assert "server does not support SSL, but SSL was required" in str(error)
        assert "sslmode=disable or prefer" in str(error)
        observer.assert_disconnected()
        assert observer.received == b""
        assert (server.connections, server.errors) == (1, [])


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.PREFER])
def test_error_response_to_sslrequest_is_not_shown(config: Config, style: str, mode: TlsMode) -> None:
    """It is unauthenticated (CVE-2024-10977) and does not mean ``N``."""
    answer = b"E" + (len(FATAL) + 4).to_bytes(4, "big") + FATAL
    with ScriptedServer(answer_ssl_request(answer)) as server:
        error = failure(config.replace(port=server.port, tls_mode=mode), style, TlsError)
        assert "server sent an error response during SSL exchange" in str(error)
        assert "go away" not in str(error)
        assert "28000" not in str(error)
        assert server.connections == 1


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.PREFER])
@pytest.mark.parametrize(
    "answer", [b"\0", b"s", b"n", b"R\0\0\0\x08\0\0\0\0", b"\x15\x03\x01\0\x02\x02\x46", HTTP, SSH]
)
def test_invalid_answer_to_sslrequest_is_refused(config: Config, style: str, mode: TlsMode, answer: bytes) -> None:
    """`TlsMode.PREFER` refuses it too, and a banner that begins with ``S``."""
    with ScriptedServer(answer_ssl_request(answer)) as server:
        kind = ProtocolError if answer == SSH else TlsError
        error = failure(config.replace(port=server.port, tls_mode=mode), style, kind)
        if kind is TlsError:
            assert "received invalid response to SSL negotiation" in str(error)
        assert server.connections == 1


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.PREFER])
@pytest.mark.parametrize("extra", [b"x", b"\x16\x03\x03", b"R\0\0\0\x08\0\0\0\0", bytes(100_000)])
@pytest.mark.parametrize("verdict", [b"S", b"N"])
def test_unencrypted_data_after_the_answer_is_refused(
    config: Config, style: str, mode: TlsMode, extra: bytes, verdict: bytes
) -> None:
    """CVE-2021-23222."""
    with ScriptedServer(answer_ssl_request(verdict + extra)) as server:
        error = failure(config.replace(port=server.port, tls_mode=mode), style, ProtocolError)
        assert "received unencrypted data after SSL response" in str(error)


def test_plain_text_after_the_answer_is_not_tls(config: Config, style: str, backend: str) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"S")
        peer.receive_exactly(5)
        peer.send(b"R\0\0\0\x08\0\0\0\0")
        receive_until_closed(peer)

    with ScriptedServer(script) as server:
        error = failure(config.replace(port=server.port, tls_backend=backend), style, TlsError)
        assert "SSL error: the server does not speak TLS" in str(error)


@pytest.mark.parametrize("banner", [HTTP, SSH])
@pytest.mark.parametrize("server_waits", [True, False])
def test_direct_tls_to_another_service_is_reported(
    config: Config, style: str, backend: str, banner: bytes, server_waits: bool
) -> None:
    """SSH servers may send first."""

    def script(peer: ScriptedPeer) -> None:
        if server_waits:
            peer.receive()
        peer.send(banner)
        receive_until_closed(peer)

    with ScriptedServer(script) as server:
        direct = config.replace(port=server.port, tls_backend=backend, tls_negotiation="direct")
        assert "does not speak TLS" in str(failure(direct, style, TlsError))


@pytest.mark.parametrize(("selected", "text"), [((), "without ALPN"), (("http/1.1",), "without ALPN")])
def test_direct_tls_without_alpn_is_refused(
    *,
    config: Config,
    style: str,
    backend: str,
    certificate: ServerCertificate,
    selected: tuple[str, ...],
    text: str,
) -> None:
    """Nothing is sent to such a server (ALPACA attack)."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        try:
            peer.start_tls(certificate, alpn_protocols=selected)
        finally:
            observer.watch(peer)

    with ScriptedServer(script) as server:
        direct = config.replace(port=server.port, tls_backend=backend, tls_negotiation="direct")
        assert text in str(failure(direct, style, TlsError))
        observer.assert_disconnected()
        assert observer.received == b""


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("phase", ["accepted", "negotiate", "tls", "auth", "ready"])
def test_closed_or_reset_connection_is_an_io_error(
    *, config: Config, style: str, backend: str, phase: str, reset: bool, certificate: ServerCertificate
) -> None:
    def script(peer: ScriptedPeer) -> None:
        if phase != "accepted":
            peer.receive_startup()
        if phase in ("tls", "auth", "ready"):
            peer.send(b"S")
        if phase == "tls":
            peer.receive_exactly(5)
        elif phase in ("auth", "ready"):
            peer.start_tls(certificate)
            peer.receive_startup()
            if phase == "ready":
                peer.send_message(b"R", b"\0\0\0\0")
                peer.send_message(b"S", b"a\0b\0")
        if reset:
            peer.reset()

    with ScriptedServer(script) as server:
        with pytest.raises(IoError) as caught:
            connect(config.replace(port=server.port, tls_backend=backend), style)
        assert isinstance(caught.value, Error)
        assert f"port {server.port} failed: " in str(caught.value)
        allowed = ("closed the connection unexpectedly", "could not exchange data with server: ", "reset by peer")
        assert any(text in str(caught.value) for text in allowed)
        if not reset and phase in ("auth", "ready"):
            assert isinstance(caught.value, Closed)


#: Bytes that are not TLS, of several lengths, and a TLS alert.
INJECTED = (b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I", b"SH-2.0-x\r\n", b"x", bytes(9999), b"\x15\x03\x03\0\x02\x02\x28")


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("extra", INJECTED)
@pytest.mark.parametrize("reset", [False, True])
def test_plain_text_after_s_fails_tls_at_any_time(
    *, config: Config, style: str, backend: str, extra: bytes, pause: float, reset: bool
) -> None:
    """`sslmode=prefer` continues without TLS on another connection. `TlsMode.PREFER` fails."""
    packets = []

    def script(peer: ScriptedPeer) -> None:
        packets.append(peer.receive_startup())
        if packets[-1] == SSL_REQUEST:
            peer.send(b"S" if pause else b"S" + extra)
            if pause:
                time.sleep(pause)
                peer.send(extra)
            if reset:
                peer.reset()
            else:
                receive_until_closed(peer)
        else:
            send_ready(peer)
            receive_until_closed(peer)

    with ScriptedServer(script) as server:
        prefer = config.replace(port=server.port, tls_backend=backend, tls_mode=TlsMode.PREFER, password=None)
        connect(prefer.replace(tls_fallback=True), style)
        assert packets[0] == SSL_REQUEST
        assert len([packet for packet in packets if packet != SSL_REQUEST]) == 1
        for strict in (prefer, prefer.replace(tls_mode=TlsMode.REQUIRE)):
            packets.clear()
            with pytest.raises((ProtocolError, TlsError, Closed)):
                connect(strict, style)
            assert set(packets) == {SSL_REQUEST}


@pytest.mark.parametrize(
    ("answer", "text", "remedy"),
    [
        (SSH, "this is the port of an SSH server", "host and port"),
        (b"SSH-1.99-Cisco-1.25\n", "this is the port of an SSH server", "host and port"),
        (HTTP, "this is the port of an HTTP server", "host and port"),
        (b"HTTP/1.0 408 Request Timeout\r\n", "this is the port of an HTTP server", "host and port"),
        (b"<!DOCTYPE html><html>", "this is the port of an HTTP server", "host and port"),
        (b"220 mail.example.com ESMTP\r\n", "this is the port of a mail or FTP server", "host and port"),
        (b"-ERR unknown command\r\n", "this is the port of a Redis server", "host and port"),
        (b"\x15\x03\x01\0\x02\x02\x46", "requires TLS from the first byte", "sslnegotiation=direct"),
        (b"\x15", "requires TLS from the first byte", "sslnegotiation=direct"),
        (b"\x15\x03\x03\0\x02\x02\x0a", "requires TLS from the first byte", "sslnegotiation=direct"),
    ],
)
def test_other_service_is_named(config: Config, style: str, answer: bytes, text: str, remedy: str) -> None:
    with ScriptedServer(answer_ssl_request(answer)) as server:
        kind = ProtocolError if answer[:1] == b"S" else TlsError
        error = failure(config.replace(port=server.port), style, kind)
        assert text in str(error)
        assert remedy in str(error)
        assert "man in the middle" not in str(error)


@pytest.mark.parametrize("banner", [SSH, HTTP, b"-ERR unknown command\r\n", b"220 mail.example.com ESMTP\r\n"])
def test_other_service_is_named_without_tls(config: Config, style: str, banner: bytes) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(banner)
        receive_until_closed(peer)

    with ScriptedServer(script) as server:
        error = failure(config.replace(port=server.port, tls_mode=TlsMode.DISABLE), style, ProtocolError)
        assert "This is the port of an" in str(error) or "This is the port of a" in str(error)
        assert "set host and port" in str(error)


@pytest.mark.parametrize("banner", [SSH, HTTP])
@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_other_service_is_named_by_each_backend(
    config: Config, style: str, backend: str, banner: bytes, negotiation: str
) -> None:
    def script(peer: ScriptedPeer) -> None:
        if negotiation == "direct":
            peer.send(banner)
        else:
            peer.receive_startup()
            peer.send(b"S")
            peer.receive_exactly(5)
            peer.send(banner[banner.startswith(b"S") :])
        receive_until_closed(peer)

    with ScriptedServer(script) as server:
        wanted = config.replace(port=server.port, tls_backend=backend, tls_negotiation=negotiation)
        error = failure(wanted, style, TlsError)
        assert "does not speak TLS" in str(error)
        assert ("an SSH server" if banner == SSH else "an HTTP server") in str(error)


def test_timeout_mentions_other_services(config: Config, style: str) -> None:
    with ScriptedServer(receive_until_closed) as server:
        error = failure(config.replace(port=server.port, connect_timeout=0.3), style, TimeoutError)
        assert "timeout expired" in str(error)
        assert "port of another service" in str(error)


def test_tls_mode_prefer_continues_without_tls_after_n(config: Config, style: str) -> None:
    """The connection is the same."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"N")
        peer.receive_startup()
        send_ready(peer)
        receive_until_closed(peer)

    with ScriptedServer(script) as server:
        connect(config.replace(port=server.port, tls_mode=TlsMode.PREFER), style)
        assert (server.connections, server.errors) == (1, [])
