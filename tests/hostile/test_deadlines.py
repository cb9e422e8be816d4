"""One deadline covers everything up to ReadyForQuery. Silent and slow servers do not extend it."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import TYPE_CHECKING

import pytest

from babar_tls import AsyncSession, AuthError, Config, ProtocolError, TimeoutError
from babar_tls.testing import ScriptedServer

from .scripts import (
    AUTHENTICATION_OK,
    FATAL,
    Observer,
    failure,
    offer_scram,
    receive_until_closed,
    request,
    scram,
)

if TYPE_CHECKING:
    from babar_tls.testing import ScriptedPeer, ServerCertificate

SHORT = 0.3


def reach(peer: ScriptedPeer, phase: str, certificate: ServerCertificate) -> None:
    """Serve the client until this phase begins."""
    if phase == "negotiate":
        return
    peer.receive_startup()
    peer.send(b"S")
    if phase == "tls":
        peer.receive_exactly(5)
        return
    peer.start_tls(certificate)
    if phase == "auth":
        peer.receive_startup()
    elif phase == "scram":
        offer_scram(peer, b"SCRAM-SHA-256")
    else:
        scram(peer, der=certificate.der)
        peer.send_message(b"R", AUTHENTICATION_OK)


TEXTS = {
    "negotiate": "timeout expired (waiting for the answer to SSLRequest)",
    "tls": "timeout expired (in the TLS handshake)",
    "auth": "timeout expired (authenticating)",
    "scram": "timeout expired (authenticating)",
    "ready": "timeout expired (waiting for the session to be ready)",
}
#: The bytes that the server sends one by one in each phase.
SLOW_BYTES = {
    "negotiate": b"",
    "tls": b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0" + bytes(16000),
    "auth": b"N\0\0\x70\0" + bytes(16000),
    "scram": b"R\0\0\x40\0\0\0\0\x0b" + b"r" * 16000,
    "ready": b"S\0\0\x70\0" + b"a" * 16000,
}


@pytest.mark.parametrize("drip", [False, True])
@pytest.mark.parametrize("phase", TEXTS)
def test_deadline_ends_each_phase_and_is_reported(
    *, config: Config, style: str, backend: str, phase: str, drip: bool, certificate: ServerCertificate
) -> None:
    """The server is silent, or sends bytes one by one."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        try:
            reach(peer, phase, certificate)
            if drip:
                peer.drip(SLOW_BYTES[phase], 0.005)
        finally:
            observer.watch(peer)

    with ScriptedServer(script, timeout=60) as server:
        target = config.replace(port=server.port, tls_backend=backend, connect_timeout=SHORT)
        error = failure(target, style, TimeoutError)
        assert TEXTS[phase] in str(error)
        assert isinstance(error, OSError)
        observer.assert_disconnected()


@pytest.mark.parametrize("phase", ["auth", "ready"])
def test_deadline_ends_a_flood_of_notices(
    config: Config, style: str, phase: str, certificate: ServerCertificate
) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        try:
            reach(peer, phase, certificate)
            while True:
                peer.send_message(b"N", FATAL)
                time.sleep(0.001)
        finally:
            observer.watch(peer)

    with ScriptedServer(script, timeout=60) as server:
        target = config.replace(port=server.port, connect_timeout=1.0)
        error = failure(target, style, TimeoutError)
        assert TEXTS[phase] in str(error)
        observer.assert_disconnected()


@pytest.mark.parametrize("iterations", [2**31 - 1, 10_000_001, 2**31, 10**12, 0, -1])
def test_excessive_pbkdf2_iterations_are_refused(
    config: Config, style: str, backend: str, iterations: int, certificate: ServerCertificate
) -> None:
    """The limit, the deadline or the grammar refuses them."""

    def script(peer: ScriptedPeer) -> None:
        _, first = offer_scram(peer, b"SCRAM-SHA-256")
        nonce = first.partition(b"r=")[2] + b"more"
        peer.send_message(b"R", request(11, b"r=" + nonce + b",s=c2FsdHNhbHQ=,i=" + str(iterations).encode()))
        receive_until_closed(peer)

    with ScriptedServer(script, tls=certificate) as server:
        target = config.replace(port=server.port, tls_backend=backend)
        before = time.process_time()
        if 0 < iterations < 10**10:
            error = failure(target, style, AuthError)
            assert f"the server requires {iterations} PBKDF2 iterations, more than" in str(error)
            if iterations == 2**31 - 1:
                error = failure(target.replace(scram_max_iterations=2**31 - 1, connect_timeout=2), style, TimeoutError)
                assert "timeout expired: the server requires 2147483647 PBKDF2 iterations" in str(error)
        else:
            assert "malformed SCRAM message" in str(failure(target, style, ProtocolError))
        # A thread that still computed 2**31 iterations would use CPU time here.
        spent = time.process_time()
        time.sleep(0.1)
        assert time.process_time() - spent < 0.09
        assert spent - before < 20


def test_flood_of_messages_does_not_block_the_event_loop(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """No read has to wait."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"R", AUTHENTICATION_OK)
        peer.send(b"Z\0\0\0\x05I")
        observer.watch(peer)

    async def run(port: int) -> None:
        loop = asyncio.get_running_loop()
        async with await AsyncSession.connect(config.replace(port=port, tls_mode="disable")) as session:

            def always_more(_sock: object, buffer: memoryview) -> int:
                notice = b"N" + struct.pack("!i", len(FATAL) + 4) + FATAL
                buffer[: len(notice)] = notice
                return len(notice)

            monkeypatch.setattr(session._connection, "_receive_into", always_more)
            ticks: list[float] = []
            loop.call_soon(ticks.append, loop.time())
            query = asyncio.create_task(session.query("select 1"))
            await asyncio.wait([query], timeout=0.2)
            assert ticks
            query.cancel()
            with pytest.raises(asyncio.CancelledError):
                await query
            assert session.closed

    with ScriptedServer(script) as server:
        watchdog = _Watchdog()
        try:
            asyncio.run(run(server.port))
        finally:
            watchdog.stop()
        observer.assert_disconnected()


class _Watchdog:
    """Ends a test whose event loop is blocked; a timeout of the loop would not fire."""

    def __init__(self) -> None:
        import signal

        def fail(_number: int, _frame: object) -> None:
            raise AssertionError("the event loop is blocked")

        self._signal = signal
        self._previous = signal.signal(signal.SIGALRM, fail)
        signal.alarm(10)

    def stop(self) -> None:
        self._signal.alarm(0)
        self._signal.signal(self._signal.SIGALRM, self._previous)
