"""Streams with key updates, and streams that break off: rows before the end are returned, then an error."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, Error, IoError, Session
from babar_tls.testing import ScriptedServer
from babar_tls.testing.backend_checks._tls13 import DATA, Tls13Server

from .scripts import AUTHENTICATION_OK, READY, log_in, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer, ServerCertificate


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!i", 4 + len(payload)) + payload


def read(config: Config, style: str) -> tuple[list[bytes], Error | None, bool]:
    """Return the rows of a copy, its error, and whether the session is closed afterwards."""
    rows: list[bytes] = []

    async def run() -> tuple[Error | None, bool]:
        async with await AsyncSession.connect(config) as session:
            try:
                async for row in session.copy_to("copy t to stdout"):
                    rows.append(row)  # noqa: PERF401 - rows before an error are kept
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
    "interrupt",
    [
        pytest.param(lambda peer: None, id="closed"),
        pytest.param(lambda peer: peer.close_notify(), id="close_notify"),
        pytest.param(lambda peer: peer.socket.sendall(b"\x17\3\3\0\x20" + bytes(32)), id="garbage"),
    ],
)
def test_rows_before_a_broken_connection_are_returned(
    *,
    config: Config,
    style: str,
    backend: str,
    size: int,
    interrupt: Callable[[ScriptedPeer], Any],
    certificate: ServerCertificate,
) -> None:
    """Only complete rows are returned; then an error is raised."""
    rows = [bytes([65 + number]) * size for number in range(20)]

    def script(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        peer.receive_message()
        peer.send(message(b"H", b"\0\0\0") + b"".join(message(b"d", row) for row in rows) + b"d\0\0")
        interrupt(peer)

    with ScriptedServer(script, tls=certificate) as server:
        found, error, closed = read(config.replace(port=server.port, tls_backend=backend), style)
    assert found == rows
    assert isinstance(error, IoError)
    assert closed


def test_key_updates_between_records_are_followed(
    config: Config, style: str, backend: str, certificate: ServerCertificate
) -> None:
    """The server updates its keys, and requests updates of the client's."""
    rows = [bytes([65 + number]) * 5000 for number in range(12)]

    def script(peer: ScriptedPeer) -> None:
        tls = Tls13Server(certificate)
        peer.receive_startup()
        peer.send(b"S")
        peer.send(tls.answer(peer.receive()))
        peer.receive()
        peer.send(tls.seal(DATA, message(b"R", AUTHENTICATION_OK) + READY))
        peer.receive()
        records = tls.seal(DATA, message(b"H", b"\0\0\0"))
        for number, row in enumerate(rows):
            records += tls.update_keys(requested=bool(number % 2))
            data = message(b"d", row)
            records += tls.seal(DATA, data[:1000]) + tls.update_keys(requested=False) + tls.seal(DATA, data[1000:])
        peer.send(records + tls.seal(DATA, message(b"c") + READY))
        receive_until_closed(peer)

    with ScriptedServer(script) as server:
        found, error, closed = read(config.replace(port=server.port, tls_backend=backend), style)
        assert server.errors == []
    assert (found, error, closed) == (rows, None, False)
