"""TLS 1.3 key updates and the end of a stream, on connections of `SecureTransport`."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the TLS 1.3 server of the test")

from babar_tls import AsyncSession, Closed, Config, SecureTransport
from babar_tls.testing import CertificateAuthority, ScriptedPeer, ScriptedServer
from babar_tls.testing.backend_checks._tls13 import DATA, HANDSHAKE, Tls13Server

from .asyncpg_clients import both_loops, run

STARTUP = struct.pack("!ii", 9, 196608) + b"\0"
GREETING = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
PIECES = [bytes([65 + number]) * 5000 for number in range(12)]


class _Recorder(asyncio.Protocol):
    """A protocol that pauses after each piece, and resumes later."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(STARTUP)

    def data_received(self, data: bytes) -> None:
        if not self.received:
            self.transport.write(b"begin")
        self.received += data
        if self.received.endswith(PIECES[-1]):
            self.transport.write(b"end")
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@both_loops
def test_key_updates_are_followed_and_answered(backend: str, loop: str) -> None:
    certificate = CertificateAuthority().issue("127.0.0.1")
    kinds: list[int] = []

    def script(peer: ScriptedPeer) -> None:
        tls = Tls13Server(certificate)
        peer.receive_startup()
        peer.send(b"S")
        peer.send(tls.answer(peer.receive()))
        flight = peer.receive()
        end = flight.index(bytes([DATA, 3, 3]))  # the Finished message
        end += 5 + int.from_bytes(flight[end + 3 : end + 5])
        tls.accept(flight[:end])
        for _ in tls.receive(flight[end:] or peer.receive()):
            pass  # the StartupMessage of babar-tls
        peer.send(tls.seal(DATA, GREETING))
        pending = b""
        while b"begin" not in pending:
            pending += b"".join(data for kind, data in tls.receive(peer.receive()) if kind == DATA)
        records = b""
        for number, piece in enumerate(PIECES):
            records += tls.update_keys(requested=bool(number % 2))
            records += tls.seal(DATA, piece[:1000]) + tls.update_keys(requested=False) + tls.seal(DATA, piece[1000:])
        peer.send(records)
        while not kinds or kinds[-1] != DATA:  # rustls answers a key update with its next data, as the RFC allows
            kinds.extend(kind for kind, _ in tls.receive(peer.receive()))

    async def main() -> None:
        with ScriptedServer(script) as server:
            session = await AsyncSession.connect(
                Config(
                    host="127.0.0.1",
                    port=server.port,
                    user="app",
                    tls_backend=backend,
                    tls_verify="none",
                    channel_binding="disable",
                    require_auth="none",
                )
            )
            recorder = _Recorder()
            await SecureTransport(session.detach(), recorder).open(asyncio.get_running_loop())
            error = await recorder.lost
            assert server.errors == []
            assert isinstance(error, Closed)
            assert recorder.received == GREETING + b"".join(PIECES)
        assert HANDSHAKE in kinds

    run(main, loop)
