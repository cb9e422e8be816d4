"""A server that is not yet known to be one may say little, and gets nothing that is worth having."""

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
    Seen,
    connect,
    failure,
    get_ready,
    offer_scram,
    request,
    scram,
    until_gone,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer, ServerCertificate


def message(kind: bytes, length: int, body: bytes = b"") -> bytes:
    """A message whose length says what it wants."""
    return kind + struct.pack("!I", length) + body


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(message(b"E", 30_001), id="oversized error"),
        pytest.param(message(b"N", 30_001), id="oversized notice"),
        pytest.param(message(b"R", 65_537), id="oversized request"),
        pytest.param(message(b"R", 3000, request(3) + bytes(2992)), id="oversized cleartext request"),
        pytest.param(message(b"R", 0x7FFFFFFF), id="huge length"),
        pytest.param(message(b"R", 0xFFFFFFFF), id="negative length"),
        pytest.param(message(b"R", 3), id="length shorter than itself"),
        pytest.param(message(b"R", 4), id="empty request"),
        pytest.param(message(b"E", 4), id="empty error"),
        pytest.param(message(b"E", 10, b"Mabcde"), id="error without an end"),
        pytest.param(message(b"D", 6, b"\0\0"), id="a row before authentication"),
        pytest.param(message(b"Z", 5, b"I"), id="ready before authentication"),
        pytest.param(message(b"S", 8, b"a\0b\0"), id="a parameter before authentication"),
        pytest.param(message(b"K", 12, bytes(8)), id="a key before authentication"),
        pytest.param(message(b"v", 12, bytes(8)), id="another protocol"),
        pytest.param(HTTP, id="HTTP"),
        pytest.param(SSH, id="SSH"),
        pytest.param(b"220 mail.example.com ESMTP\r\n", id="SMTP"),
        pytest.param(bytes(10_000), id="zeros"),
    ],
)
@pytest.mark.parametrize("tls", [True, False])
def test_no_postgresql(config: Config, style: str, words: bytes, tls: bool, certificate: ServerCertificate) -> None:
    """What no PostgreSQL would say is a `ProtocolError` as soon as it can be told, and no memory is taken for it."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(words)
        seen.watch(peer)

    with ScriptedServer(script, tls=certificate if tls else None) as server:
        mode = TlsMode.REQUIRE if tls else TlsMode.DISABLE
        failure(config.replace(port=server.port, tls_mode=mode), style, ProtocolError)
        seen.assert_gone()
        assert PASSWORD.encode() not in seen.heard


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(message(b"N", 4 + len(FATAL), FATAL), id="notices"),
        pytest.param(message(b"N", 30_000, b"M" + b"x" * 29_994 + b"\0"), id="long notices"),
        pytest.param(message(b"S", 8, b"a\0b\0"), id="parameters"),
        pytest.param(message(b"S", 29_000, b"a\0" + b"b" * 28_993 + b"\0"), id="long parameters"),
        pytest.param(message(b"K", 12, bytes(8)), id="keys"),
    ],
)
def test_endless(config: Config, style: str, backend: str, words: bytes, certificate: ServerCertificate) -> None:
    """A server that never comes to the point is left after so many messages, or so many bytes."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        try:
            peer.receive_startup()
            if words[:1] != b"N":
                peer.send_message(b"R", AUTHENTICATION_OK)
            while True:
                peer.send(words)
        finally:
            seen.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        error = failure(config.replace(port=server.port, tls_backend=backend), style, ProtocolError)
        assert "before it was ready" in str(error)
        seen.assert_gone()


@pytest.mark.parametrize("code", [1, 2, 4, 6, 7, 8, 9, 13, 99, 0xFFFFFFFF])
def test_foreign_methods(config: Config, style: str, code: int, certificate: ServerCertificate) -> None:
    """A method that we do not speak is refused with nothing sent."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", struct.pack("!I", code))
        seen.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        failure(config.replace(port=server.port), style, UnsupportedAuth)
        seen.assert_gone()
        assert seen.heard == b""


def _first(peer: ScriptedPeer) -> tuple[bytes, bytes]:
    _, first = offer_scram(peer, b"SCRAM-SHA-256")
    return first, first.partition(b"r=")[2]


def _server_first(text: Callable[[bytes], bytes]) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        _, nonce = _first(peer)
        peer.send_message(b"R", request(11, text(nonce)))

    return script


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda nonce: b"r=" + nonce + b",s=c2FsdA==,i=4096", id="nonce not extended"),
        pytest.param(lambda nonce: b"r=x" + nonce + b",s=c2FsdA==,i=4096", id="another nonce"),
        pytest.param(lambda nonce: b"r=" + nonce[:-1] + b"!more,s=c2FsdA==,i=4096", id="half our nonce"),
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
def test_malformed_challenge(
    config: Config, style: str, text: Callable[[bytes], bytes], certificate: ServerCertificate
) -> None:
    """A challenge that RFC 5802 does not allow is a `ProtocolError`, and no proof is computed for it."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        _server_first(text)(peer)
        seen.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        failure(config.replace(port=server.port), style, ProtocolError)
        seen.assert_gone()
        assert b"p=" not in seen.heard


def _wrong_signature(peer: ScriptedPeer) -> None:
    _, nonce = _first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()
    peer.send_message(b"R", request(12, b"v=" + base64.b64encode(bytes(32))))


def _short_signature(peer: ScriptedPeer) -> None:
    _, nonce = _first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()
    peer.send_message(b"R", request(12, b"v=AA=="))


def _error_in_final(peer: ScriptedPeer) -> None:
    _, nonce = _first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()
    peer.send_message(b"R", request(12, b"e=other-error"))


def _ok_after_offer(peer: ScriptedPeer) -> None:
    _first(peer)


def _ok_after_challenge(peer: ScriptedPeer) -> None:
    _, nonce = _first(peer)
    peer.send_message(b"R", request(11, b"r=" + nonce + b"more,s=c2FsdA==,i=1"))
    peer.receive_message()


def _asks_twice(peer: ScriptedPeer) -> None:
    _first(peer)
    peer.send_message(b"R", request(10, b"SCRAM-SHA-256\0\0"))


def _changes_its_mind(peer: ScriptedPeer) -> None:
    _first(peer)
    peer.send_message(b"R", request(3))


def _final_first(peer: ScriptedPeer) -> None:
    _first(peer)
    peer.send_message(b"R", request(12, b"v=" + base64.b64encode(bytes(32))))


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (_wrong_signature, ServerSignatureError, "incorrect server signature"),
        (_short_signature, ProtocolError, "malformed SCRAM message"),
        (_error_in_final, AuthError, "error received from server in SCRAM exchange: other-error"),
        (_ok_after_offer, AuthError, "AuthenticationOk before its SCRAM signature"),
        (_ok_after_challenge, AuthError, "AuthenticationOk before its SCRAM signature"),
        (_asks_twice, ProtocolError, "duplicate SASL authentication request"),
        (_changes_its_mind, ProtocolError, "does not follow"),
        (_final_first, ProtocolError, "does not follow"),
    ],
)
def test_unproven_server(
    *,
    config: Config,
    style: str,
    certificate: ServerCertificate,
    script: Callable[[ScriptedPeer], None],
    kind: type[Error],
    text: str,
) -> None:
    """A server that does not go through SCRAM to its end has proven nothing, whatever it says afterwards."""

    def whole(peer: ScriptedPeer) -> None:
        script(peer)
        get_ready(peer)
        until_gone(peer)

    with ScriptedServer(whole, tls=certificate) as server:
        assert text in str(failure(config.replace(port=server.port), style, kind))


@pytest.mark.parametrize(
    ("code", "body"), [(0, b""), (3, b""), (5, b"salt"), (10, b"SCRAM-SHA-256\0\0"), (10, b"OAUTHBEARER\0\0"), (7, b"")]
)
def test_binding_required(
    *, config: Config, style: str, backend: str, code: int, body: bytes, certificate: ServerCertificate
) -> None:
    """With ``channel_binding=require`` every request but one for SCRAM-SHA-256-PLUS is refused.

    All that was sent is the beginning of SCRAM that goes along with the StartupMessage, and has no secret in it.
    """
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", request(code, body))
        seen.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        bound = config.replace(port=server.port, tls_backend=backend, channel_binding="require")
        error = failure(bound, style, ChannelBindingError)
        assert "channel binding" in str(error)
        seen.assert_gone()
        assert re.fullmatch(
            rb"p\0\0\0.SCRAM-SHA-256-PLUS\0\0\0\0.p=tls-server-end-point,,n=,r=[^,=]+", seen.heard, re.DOTALL
        )


def test_binding_required_step_by_step(
    config: Config, style: str, backend: str, certificate: ServerCertificate
) -> None:
    """Without pipelining such a server hears nothing at all."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", request(3))
        seen.watch(peer)

    with ScriptedServer(script, tls=certificate) as server:
        bound = config.replace(port=server.port, tls_backend=backend, channel_binding="require", pipelining=False)
        failure(bound, style, ChannelBindingError)
        seen.assert_gone()
        assert seen.heard == b""


@pytest.mark.parametrize(
    ("changes", "tls"),
    [
        ({"tls_mode": TlsMode.DISABLE}, False),
        ({"tls_verify": TlsVerify.NONE}, True),
        ({"tls_verify": TlsVerify.CA, "tls_default_roots": True}, True),
    ],
)
def test_cleartext_password(
    config: Config, style: str, changes: dict[str, object], tls: bool, certificate: ServerCertificate
) -> None:
    """A password in the clear is for nobody who is not verified, unless ``require_auth=password`` says so."""
    seen = Seen()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", request(3))
        seen.watch(peer)

    with ScriptedServer(script, tls=certificate if tls else None) as server:
        trusting = config.replace(port=server.port, **changes)
        error = failure(trusting, style, UnsupportedAuth)
        assert "require_auth=password" in str(error)
        seen.assert_gone()
        assert seen.heard == b""
        with pytest.raises(Error):
            connect(trusting.replace(require_auth="password", connect_timeout=0.3), style)
        assert PASSWORD.encode() in _later(seen)


def _later(seen: Seen) -> bytes:
    import time

    deadline = time.monotonic() + 10
    while not seen.heard and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen.heard


def test_errors_are_passed_on_after_tls(
    config: Config, style: str, backend: str, certificate: ServerCertificate, caplog: pytest.LogCaptureFixture
) -> None:
    """Over verified TLS the server's refusal is shown, control characters and bad UTF-8 included, and not logged."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"E", b"SFATAL\0VFATAL\0C28000\0Mgo away \xff\xfe\0Hthere is a hint\0Pnonsense\0\0")
        until_gone(peer)

    with ScriptedServer(script, tls=certificate) as server, caplog.at_level(logging.DEBUG):
        error = failure(config.replace(port=server.port, tls_backend=backend), style, AuthRefused)
        assert "go away \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}" in str(error)
        assert (error.code, error.hint, error.position) == ("28000", "there is a hint", None)
        assert PASSWORD not in caplog.text


def test_good_server(config: Config, style: str, backend: str, certificate: ServerCertificate) -> None:
    """The scripts of this folder can also behave: SCRAM bound to the channel, and ready."""

    def script(peer: ScriptedPeer) -> None:
        scram(peer, der=certificate.der)
        get_ready(peer)
        until_gone(peer)

    with ScriptedServer(script, tls=certificate) as server:
        bound = config.replace(port=server.port, tls_backend=backend, channel_binding="require")
        connect(bound, style)
        assert server.errors == []
