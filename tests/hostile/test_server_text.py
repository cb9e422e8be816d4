"""Text from a hostile server cannot forge lines of a log or steer a terminal when an error is shown."""

from __future__ import annotations

import logging
import traceback
import unicodedata
from typing import TYPE_CHECKING

import pytest

from babar_tls import AuthError, Config, Error, ServerError, TlsMode, UnsupportedAuth
from babar_tls.testing import ScriptedServer

from .scripts import AUTHENTICATION_OK, READY, connect, receive_until_closed, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer

#: A terminal title, a bell, a forged line, an 8-bit control, direction overrides, a line separator.
ATTACK = "\x1b]0;x\x07\r\nFATAL:  forged\x9b2J\u202eabc\u2066\u2028\x00"[:-1]
LONG = "x" * 29_000
BOUND = 10_000  # characters of an error and its traceback, escapes included


def error_response(*fields: str) -> bytes:
    return "".join(f"{field}\0" for field in fields).encode() + b"\0"


def before_authentication(text: str) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"E", error_response(f"S{text}"[:500], f"C{text[:20]}", f"M{text}"))
        receive_until_closed(peer)

    return script


def detail_and_hint(text: str) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"E", error_response("SFATAL", "C28000", "Mno", f"D{text[:9000]}", f"H{text[:9000]}"))
        receive_until_closed(peer)

    return script


def bare_error(text: str) -> Callable[[ScriptedPeer], None]:
    """Return the script of a server that sends an error of protocol 2: text without a length."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(b"E" + b"could not fork " + text.encode() + b"\0")
        receive_until_closed(peer)

    return script


def query_error(text: str) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", AUTHENTICATION_OK)
        peer.send(READY)
        peer.receive()
        peer.send_message(b"E", error_response("SERROR", "C42601", f"M{text}"))
        peer.send(READY)
        receive_until_closed(peer)

    return script


def mechanisms(text: str) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        names = [text] if text is ATTACK else [text[start : start + 100] for start in range(0, len(text), 100)]
        peer.send_message(b"R", request(10, b"".join(name.encode() + b"\0" for name in names) + b"\0"))
        receive_until_closed(peer)

    return script


def scram_error(text: str) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", request(10, b"SCRAM-SHA-256\0\0"))
        peer.receive()
        peer.send_message(b"R", request(11, b"e=" + text.encode()))
        receive_until_closed(peer)

    return script


def notices(text: str) -> Callable[[ScriptedPeer], None]:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"N", error_response("SNOTICE", "C00000", f"M{text}"))
        peer.send_message(b"E", error_response("SFATAL", "C57P03", f"M{text}"))
        receive_until_closed(peer)

    return script


SCRIPTS = {
    "before authentication": (before_authentication, ServerError),
    "detail and hint": (detail_and_hint, ServerError),
    "bare error": (bare_error, ServerError),
    "query": (query_error, ServerError),
    "SASL mechanisms": (mechanisms, UnsupportedAuth),
    "SCRAM error": (scram_error, AuthError),
    "notice": (notices, ServerError),
}


@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("text", [ATTACK, LONG], ids=["controls", "long"])
def test_server_text_is_escaped_and_bounded(
    config: Config, style: str, kind: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    script, expected = SCRIPTS[kind]
    with caplog.at_level(logging.DEBUG), ScriptedServer(script(text)) as server, pytest.raises(expected) as caught:
        connect(config.replace(port=server.port, tls_mode=TlsMode.DISABLE), style, "SELECT 1")
    error = caught.value
    shown = str(error)
    assert isinstance(error, Error)
    assert not any(line.startswith("FATAL:  forged") for line in shown.splitlines())
    for place in (shown, "".join(traceback.format_exception_only(error)), caplog.text):
        assert len(place) < BOUND
        assert not [char for char in place if char != "\n" and unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"}]
    if text is ATTACK:
        assert r"\x1b]0;x" in shown


@pytest.mark.parametrize("text", [ATTACK, LONG], ids=["controls", "long"])
def test_error_attributes_have_the_original_text(config: Config, text: str) -> None:
    with ScriptedServer(before_authentication(text)) as server, pytest.raises(ServerError) as caught:
        connect(config.replace(port=server.port, tls_mode=TlsMode.DISABLE), "blocking")
    assert caught.value.message == text
