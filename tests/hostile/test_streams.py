"""A stream that changes keys or breaks off: what came before is handed out, and then comes an error that says so."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, Error, IoError, Session
from babar_tls.testing import ScriptedServer
from babar_tls.testing.backend_checks._tls13 import DATA, Tls13Server

from .scripts import AUTHENTICATION_OK, READY, log_in, until_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer, ServerCertificate


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!i", 4 + len(payload)) + payload


def read(config: Config, style: str) -> tuple[list[bytes], Error | None, bool]:
    """What one copy gives, the error that it ends in, and whether the session is closed then."""
    rows: list[bytes] = []

    async def run() -> tuple[Error | None, bool]:
        async with await AsyncSession.connect(config) as session:
            try:
                async for row in session.copy_to("copy t to stdout"):
                    rows.append(row)  # noqa: PERF401 - what came before an error is kept
            except Error as error:
                return error, session.closed
            return None, session.closed

    if style == "asyncio":
        return (rows, *asyncio.run(run()))
    with Session.connect(config) as session:
        try:
            for row in session.copy_to("copy t to stdout"):
                rows.append(row)  # noqa: PERF402 - as above
        except Error as error:
            return rows, error, session.closed
        return rows, None, session.closed


@pytest.mark.parametrize("size", [3, 10_000])
@pytest.mark.parametrize(
    "breaking_off",
    [
        pytest.param(lambda peer: None, id="hangs up"),
        pytest.param(lambda peer: peer.close_notify(), id="says goodbye"),
        pytest.param(lambda peer: peer.socket.sendall(b"\x17\3\3\0\x20" + bytes(32)), id="garbage"),
    ],
)
def test_broken_off(
    *,
    config: Config,
    style: str,
    backend: str,
    size: int,
    breaking_off: Callable[[ScriptedPeer], Any],
    certificate: ServerCertificate,
) -> None:
    """Whole rows that came before the end are handed out, in whatever pieces they came, and the rest is an error."""
    rows = [bytes([65 + number]) * size for number in range(20)]

    def script(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        peer.receive_message()
        peer.send(message(b"H", b"\0\0\0") + b"".join(message(b"d", row) for row in rows) + b"d\0\0")
        breaking_off(peer)

    with ScriptedServer(script, tls=certificate) as server:
        found, error, closed = read(config.replace(port=server.port, tls_backend=backend), style)
    assert found == rows
    assert isinstance(error, IoError)
    assert closed


def test_key_updates(config: Config, style: str, backend: str, certificate: ServerCertificate) -> None:
    """A server that changes its keys between any two records, and asks for ours, is read on."""
    rows = [bytes([65 + number]) * 5000 for number in range(12)]

    def script(peer: ScriptedPeer) -> None:
        tls = Tls13Server(certificate)
        peer.receive_startup()
        peer.send(b"S")
        peer.send(tls.answer(peer.receive()))
        peer.receive()
        peer.send(tls.seal(DATA, message(b"R", AUTHENTICATION_OK) + READY))
        peer.receive()
        words = tls.seal(DATA, message(b"H", b"\0\0\0"))
        for number, row in enumerate(rows):
            words += tls.update_keys(requested=bool(number % 2))
            data = message(b"d", row)
            words += tls.seal(DATA, data[:1000]) + tls.update_keys(requested=False) + tls.seal(DATA, data[1000:])
        peer.send(words + tls.seal(DATA, message(b"c") + READY))
        until_gone(peer)

    with ScriptedServer(script) as server:
        found, error, closed = read(config.replace(port=server.port, tls_backend=backend), style)
        assert server.errors == []
    assert (found, error, closed) == (rows, None, False)
