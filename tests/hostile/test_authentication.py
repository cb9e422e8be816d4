"""Limits for unauthenticated servers: which messages are accepted, and that no secret is sent."""

from __future__ import annotations

import base64
import logging
import re
import struct
from typing import TYPE_CHECKING

import pytest

from babar_tls import (
    AuthError,
    AuthRefused,
    ChannelBindingError,
    Config,
    Error,
    ProtocolError,
    ServerSignatureError,
    TlsMode,
    TlsVerify,
    UnsupportedAuth,
)
from babar_tls.testing import ScriptedServer

from .scripts import (
    AUTHENTICATION_OK,
    FATAL,
    HTTP,
    PASSWORD,
    SSH,
    Observer,
    connect,
    failure,
    offer_scram,
    receive_until_closed,
    request,
    scram,
    send_ready,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer, ServerCertificate


def message(kind: bytes, length: int, body: bytes = b"") -> bytes:
    """Return a message with an arbitrary length field."""
    return kind + struct.pack("!I", length) + body


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(message(b"E", 30_001), id="oversized error"),
        pytest.param(message(b"N", 30_001), id="oversized notice"),
        pytest.param(message(b"R", 65_537), id="oversized request"),
        pytest.param(message(b"R", 3000, request(3) + bytes(2992)), id="oversized cleartext request"),
        pytest.param(message(b"R", 0x7FFFFFFF), id="huge length"),
        pytest.param(message(b"R", 0xFFFFFFFF), id="negative length"),
        pytest.param(message(b"R", 3), id="length smaller than its field"),
        pytest.param(message(b"R", 4), id="empty request"),
        pytest.param(message(b"E", 4), id="empty error"),
        pytest.param(message(b"E", 10, b"Mabcde"), id="unterminated error"),
        pytest.param(message(b"D", 6, b"\0\0"), id="DataRow before authentication"),
        pytest.param(message(b"Z", 5, b"I"), id="ReadyForQuery before authentication"),
        pytest.param(message(b"S", 8, b"a\0b\0"), id="ParameterStatus before authentication"),
        pytest.param(message(b"K", 12, bytes(8)), id="BackendKeyData before authentication"),
        pytest.param(message(b"v", 12, bytes(8)), id="NegotiateProtocolVersion"),
        pytest.param(HTTP, id="HTTP"),
        pytest.param(SSH, id="SSH"),
        pytest.param(b"220 mail.example.com ESMTP\r\n", id="SMTP"),
        pytest.param(bytes(10_000), id="zeros"),
    ],
)
@pytest.mark.parametrize("tls", [True, False])
def test_invalid_message_before_authentication_is_refused(
    config: Config, style: str, sent: bytes, tls: bool, certificate: ServerCertificate
) -> None:
    """The client disconnects before it allocates memory for the message."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(sent)
        observer.watch(peer)

    with ScriptedServer(script, tls=certificate if tls else None) as server:
        mode = TlsMode.REQUIRE if tls else TlsMode.DISABLE
        failure(config.replace(port=server.port, tls_mode=mode), style, ProtocolError)
        observer.assert_disconnected()
        assert PASSWORD.encode() not in observer.received


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(message(b"N", 4 + len(FATAL), FATAL), id="notices"),
        pytest.param(message(b"N", 30_000, b"M" + b"x" * 29_994 + b"\0"), id="long notices"),
        pytest.param(message(b"S", 8, b"a\0b\0"), id="parameters"),
        pytest.param(message(b"S", 29_000, b"a\0" + b"b" * 28_993 + b"\0"), id="long parameters"),
        pytest.param(message(b"K", 12, bytes(8)), id="keys"),
    ],
)
def test_endless_messages_before_ready_are_refused(
    config: Config, style: str, backend: str, sent: bytes, certificate: ServerCertificate
) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        try:
            peer.receive_startup()
            if sent[:1] != b"N":
                peer.send_message(b"R", AUTHENTICATION_OK)
            while True:
                peer.send(sent)
        finally:
            observer.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        error = failure(config.replace(port=server.port, tls_backend=backend), style, ProtocolError)
        assert "before it was ready" in str(error)
        observer.assert_disconnected()


@pytest.mark.parametrize("code", [1, 2, 4, 6, 7, 8, 9, 13, 99, 0xFFFFFFFF])
def test_unsupported_authentication_method_is_refused(
    config: Config, style: str, code: int, certificate: ServerCertificate
) -> None:
    """Nothing is sent."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", struct.pack("!I", code))
        observer.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        failure(config.replace(port=server.port), style, UnsupportedAuth)
        observer.assert_disconnected()
        assert observer.received == b""


def _client_first(peer: ScriptedPeer) -> tuple[bytes, bytes]:
    _, first = offer_scram(peer, b"SCRAM-SHA-256")
    return first, first.partition(b"r=")[2]


def _server_first(text: Callable[[bytes], bytes]) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        _, nonce = _client_first(peer)
        peer.send_message(b"R", request(11, text(nonce)))

    return script


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda nonce: b"r=" + nonce + b",s=c2FsdA==,i=4096", id="nonce not extended"),
        pytest.param(lambda nonce: b"r=x" + nonce + b",s=c2FsdA==,i=4096", id="another nonce"),
        pytest.param(lambda nonce: b"r=" + nonce[:-1] + b"!more,s=c2FsdA==,i=4096", id="truncated client nonce"),
        pytest.param(lambda nonce: b"m=x,r=" + nonce + b"more,s=c2FsdA==,i=4096", id="mandatory extension"),
        pytest.param(lambda nonce: b"r=" + nonce + b"more,s=c2FsdA,i=4096", id="unpadded salt"),
        pytest.param(lambda nonce: b"r=" + nonce + b"more,s=,i=4096", id="empty salt"),
        pytest.param(lambda nonce: b"r=" + nonce + b"more,s=c2FsdA==,i=0x10", id="hexadecimal count"),
        pytest.param(lambda nonce: b"r=" + nonce + b"more,s=c2FsdA==,i=+1", id="signed count"),
        pytest.param(lambda nonce: b"r=" + nonce + b"more,s=c2FsdA==,i=" + b"9" * 5000, id="count of 5000 digits"),
        pytest.param(lambda nonce: b"r=" + nonce + b"more,i=4096,s=c2FsdA==", id="another order"),
        pytest.param(lambda nonce: b"r=" + nonce + b"more\xff,s=c2FsdA==,i=4096", id="unprintable nonce"),
        pytest.param(lambda nonce: b"", id="nothing"),
        pytest.param(lambda nonce: b"\0" * 100, id="zeros"),
    ],
)
def test_malformed_scram_challenge_is_refused_without_a_proof(
    config: Config, style: str, text: Callable[[bytes], bytes], certificate: ServerCertificate
) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        _server_first(text)(peer)
        observer.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        failure(config.replace(port=server.port), style, ProtocolError)
        observer.assert_disconnected()
        assert b"p=" not in observer.received


def _wrong_signature(peer: ScriptedPeer) -> None:
    _, nonce = _client_first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()
    peer.send_message(b"R", request(12, b"v=" + base64.b64encode(bytes(32))))


def _short_signature(peer: ScriptedPeer) -> None:
    _, nonce = _client_first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()
    peer.send_message(b"R", request(12, b"v=AA=="))


def _error_in_final(peer: ScriptedPeer) -> None:
    _, nonce = _client_first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()
    peer.send_message(b"R", request(12, b"e=other-error"))


def _ok_after_offer(peer: ScriptedPeer) -> None:
    _client_first(peer)


def _ok_after_challenge(peer: ScriptedPeer) -> None:
    _, nonce = _client_first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()


def _duplicate_sasl_request(peer: ScriptedPeer) -> None:
    _client_first(peer)
    peer.send_message(b"R", request(10, b"SCRAM-SHA-256\0\0"))


def _cleartext_request_after_offer(peer: ScriptedPeer) -> None:
    _client_first(peer)
    peer.send_message(b"R", request(3))


def _final_without_challenge(peer: ScriptedPeer) -> None:
    _client_first(peer)
    peer.send_message(b"R", request(12, b"v=" + base64.b64encode(bytes(32))))


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (_wrong_signature, ServerSignatureError, "incorrect server signature"),
        (_short_signature, ProtocolError, "malformed SCRAM message"),
        (_error_in_final, AuthError, "error received from server in SCRAM exchange: other-error"),
        (_ok_after_offer, AuthError, "AuthenticationOk before its SCRAM signature"),
        (_ok_after_challenge, AuthError, "AuthenticationOk before its SCRAM signature"),
        (_duplicate_sasl_request, ProtocolError, "duplicate SASL authentication request"),
        (_cleartext_request_after_offer, ProtocolError, "does not follow"),
        (_final_without_challenge, ProtocolError, "does not follow"),
    ],
)
def test_incomplete_scram_exchange_is_refused(
    *,
    config: Config,
    style: str,
    certificate: ServerCertificate,
    script: Callable[[ScriptedPeer], None],
    kind: type[Error],
    text: str,
) -> None:
    """The server sends ReadyForQuery afterwards."""

    def whole(peer: ScriptedPeer) -> None:
        script(peer)
        send_ready(peer)
        receive_until_closed(peer)

    with ScriptedServer(whole, tls=certificate) as server:
        assert text in str(failure(config.replace(port=server.port), style, kind))


@pytest.mark.parametrize(
    ("code", "body"), [(0, b""), (3, b""), (5, b"salt"), (10, b"SCRAM-SHA-256\0\0"), (10, b"OAUTHBEARER\0\0"), (7, b"")]
)
def test_channel_binding_require_refuses_other_requests(
    *, config: Config, style: str, backend: str, code: int, body: bytes, certificate: ServerCertificate
) -> None:
    """The client sends only the pipelined SASLInitialResponse, which contains no secret."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", request(code, body))
        observer.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        bound = config.replace(port=server.port, tls_backend=backend, channel_binding="require")
        error = failure(bound, style, ChannelBindingError)
        assert "channel binding" in str(error)
        observer.assert_disconnected()
        assert re.fullmatch(
            rb"p\0\0\0.SCRAM-SHA-256-PLUS\0\0\0\0.p=tls-server-end-point,,n=,r=[^,=]+", observer.received, re.DOTALL
        )


def test_channel_binding_require_sends_nothing_without_pipelining(
    config: Config, style: str, backend: str, certificate: ServerCertificate
) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", request(3))
        observer.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        bound = config.replace(port=server.port, tls_backend=backend, channel_binding="require", pipelining=False)
        failure(bound, style, ChannelBindingError)
        observer.assert_disconnected()
        assert observer.received == b""


@pytest.mark.parametrize(
    ("changes", "tls"),
    [
        ({"tls_mode": TlsMode.DISABLE}, False),
        ({"tls_verify": TlsVerify.NONE}, True),
        ({"tls_verify": TlsVerify.CA, "tls_default_roots": True}, True),
    ],
)
def test_cleartext_password_is_not_sent_to_an_unverified_server(
    config: Config, style: str, changes: dict[str, object], tls: bool, certificate: ServerCertificate
) -> None:
    """``require_auth=password`` permits it."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", request(3))
        observer.watch(peer)

    with ScriptedServer(script, tls=certificate if tls else None) as server:
        trusting = config.replace(port=server.port, **changes)
        error = failure(trusting, style, UnsupportedAuth)
        assert "require_auth=password" in str(error)
        observer.assert_disconnected()
        assert observer.received == b""
        with pytest.raises(Error):
            connect(trusting.replace(require_auth="password", connect_timeout=0.3), style)
        assert PASSWORD.encode() in _wait_for_bytes(observer)


def _wait_for_bytes(observer: Observer) -> bytes:
    import time

    deadline = time.monotonic() + 10
    while not observer.received and time.monotonic() < deadline:
        time.sleep(0.01)
    return observer.received


def test_server_error_over_tls_is_shown_but_not_logged(
    config: Config, style: str, backend: str, certificate: ServerCertificate, caplog: pytest.LogCaptureFixture
) -> None:
    """Invalid UTF-8 is replaced."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"E", b"SFATAL\0VFATAL\0C28000\0Mgo away \xff\xfe\0Hthere is a hint\0Pnonsense\0\0")
        receive_until_closed(peer)

    with ScriptedServer(script, tls=certificate) as server, caplog.at_level(logging.DEBUG):
        error = failure(config.replace(port=server.port, tls_backend=backend), style, AuthRefused)
        assert "go away \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}" in str(error)
        assert (error.code, error.hint, error.position) == ("28000", "there is a hint", None)
        assert PASSWORD not in caplog.text


def test_scripts_complete_a_login_with_channel_binding(
    config: Config, style: str, backend: str, certificate: ServerCertificate
) -> None:
    def script(peer: ScriptedPeer) -> None:
        scram(peer, der=certificate.der)
        send_ready(peer)
        receive_until_closed(peer)

    with ScriptedServer(script, tls=certificate) as server:
        bound = config.replace(port=server.port, tls_backend=backend, channel_binding="require")
        connect(bound, style)
        assert server.errors == []
