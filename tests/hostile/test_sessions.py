"""Servers that disconnect or send invalid messages during a session, and concurrent use of a session."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Closed, Config, Error, IoError, ProtocolError, ServerError, Session
from babar_tls.testing import ScriptedServer

from .scripts import READY, Observer, connect, data_row, failure, log_in, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ScriptedPeer, ServerCertificate

ROW = b"D" + struct.pack("!i", 4 + len(data_row(b"one"))) + data_row(b"one")


def server_with_script(certificate: ServerCertificate, script: Callable[[ScriptedPeer], None]) -> ScriptedServer:
    """Return a server that authenticates the client with SCRAM and continues with the script."""

    def whole(peer: ScriptedPeer) -> None:
        log_in(peer, certificate.der)
        script(peer)

    return ScriptedServer(whole, tls=certificate)


def _close_without_result(peer: ScriptedPeer) -> None:
    peer.receive_message()


def _send_close_notify(peer: ScriptedPeer) -> None:
    peer.receive_message()
    peer.close_notify()


def _reset(peer: ScriptedPeer) -> None:
    peer.receive_message()
    peer.reset()


def _reset_within_rows(peer: ScriptedPeer) -> None:
    peer.receive_message()
    peer.send(ROW * 1000)
    peer.reset()


def _cut_within_a_row(peer: ScriptedPeer) -> None:
    peer.receive_message()
    peer.send(ROW + ROW[:7])


def _cut_between_rows(peer: ScriptedPeer) -> None:
    peer.receive_message()
    peer.send(ROW * 3)


@pytest.mark.parametrize(
    "script",
    [_close_without_result, _send_close_notify, _reset, _reset_within_rows, _cut_within_a_row, _cut_between_rows],
)
def test_truncated_result_is_an_error(
    *,
    config: Config,
    style: str,
    backend: str,
    script: Callable[[ScriptedPeer], None],
    certificate: ServerCertificate,
) -> None:
    with server_with_script(certificate, script) as server:
        with pytest.raises(IoError) as caught:
            connect(config.replace(port=server.port, tls_backend=backend), style, "select 1")
        assert f"port {server.port} failed: " in str(caught.value)


def test_query_after_the_server_has_disconnected_closes_the_session(
    config: Config, style: str, backend: str, certificate: ServerCertificate
) -> None:
    with server_with_script(certificate, lambda peer: None) as server:
        target = config.replace(port=server.port, tls_backend=backend)
        if style == "blocking":
            with Session.connect(target) as session:
                for kind in (IoError, Closed):
                    with pytest.raises(kind):
                        session.query("select 1")
                assert session.closed
            return

        async def run() -> None:
            async with await AsyncSession.connect(target) as session:
                for kind in (IoError, Closed):
                    with pytest.raises(kind):
                        await session.query("select 1")
                assert session.closed

        asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"D\0\0\0\x06\0\x01", id="row without a value"),
        pytest.param(b"D\0\0\0\x0a\0\x01\x7f\xff\xff\xff", id="value longer than the row"),
        pytest.param(b"D\0\0\0\x0a\0\x01\xff\xff\xff\xfe", id="value of length -2"),
        pytest.param(b"D\0\0\0\x06\xff\xff", id="65535 columns without values"),
        pytest.param(b"D\xff\xff\xff\xff", id="negative length"),
        pytest.param(b"D\0\0\0\0", id="length zero"),
        pytest.param(b"R\0\0\0\x08\0\0\0\0", id="second authentication"),
        pytest.param(b"\0\0\0\0\x04", id="zeros"),
        pytest.param(b"S\0\0\0\x05a", id="unterminated parameter"),
        pytest.param(b"E\0\0\0\x04", id="empty error"),
    ],
)
def test_invalid_message_in_a_result_closes_the_session(
    config: Config, style: str, sent: bytes, certificate: ServerCertificate
) -> None:
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_message()
        peer.send(sent)
        observer.watch(peer)

    with server_with_script(certificate, script) as server:
        failure(config.replace(port=server.port), style, ProtocolError, "select 1")
        observer.assert_disconnected()


def test_fatal_error_closes_the_session_but_error_does_not(
    config: Config, style: str, certificate: ServerCertificate
) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_message()
        peer.send_message(b"E", b"SERROR\0VERROR\0C42P01\0Mno such thing\0\0")
        peer.send(READY)
        peer.receive_message()
        peer.send(ROW + READY)
        peer.receive_message()
        peer.send_message(b"E", b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0")
        receive_until_closed(peer)

    with server_with_script(certificate, script) as server:
        target = config.replace(port=server.port)
        if style == "blocking":
            with Session.connect(target) as session:
                with pytest.raises(ServerError, match="no such thing"):
                    session.query("select 1")
                assert session.query("select 1") == [("one",)]
                with pytest.raises(ServerError, match="terminating"):
                    session.query("select 1")
                assert session.closed
            return

        async def run() -> None:
            async with await AsyncSession.connect(target) as session:
                with pytest.raises(ServerError, match="no such thing"):
                    await session.query("select 1")
                assert await session.query("select 1") == [("one",)]
                with pytest.raises(ServerError, match="terminating"):
                    await session.query("select 1")
                assert session.closed

        asyncio.run(run())


class _CopyServer:
    """Sends copy data until a cancel request arrives on another connection, then answers one query."""

    def __init__(self, certificate: ServerCertificate, *, ignore_cancel: bool = False) -> None:
        import threading

        self.cancelled = threading.Event()
        self._certificate = certificate
        self._ignore_cancel = ignore_cancel
        self.server = ScriptedServer(self._serve)

    def _serve(self, peer: ScriptedPeer) -> None:
        peer.accept_tls(self._certificate)
        if self.cancelled.is_set() or self.server.connections > 1:
            assert peer.receive_startup()[4:8] == struct.pack("!i", 80877102)
            if not self._ignore_cancel:
                self.cancelled.set()
            return
        log_in(peer, self._certificate.der)
        peer.receive_message()
        peer.send_message(b"H", b"\0\0\0")
        while not self.cancelled.is_set():
            peer.send_message(b"d", b"a row of it\n")
        peer.send_message(b"E", b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0")
        peer.send(READY)
        peer.receive_message()
        peer.send(ROW + READY)
        receive_until_closed(peer)


def test_abandoned_copy_is_cancelled_by_the_next_query(
    config: Config, style: str, backend: str, certificate: ServerCertificate
) -> None:
    """The cancel request uses TLS. The session can be used afterwards."""
    copying = _CopyServer(certificate)
    with copying.server as server:
        target = config.replace(port=server.port, tls_backend=backend)
        if style == "blocking":
            with Session.connect(target) as session:
                for chunk in session.copy_to("copy endless to stdout"):
                    assert chunk == b"a row of it\n"
                    break
                assert session.query("select 1") == [("one",)]
        else:

            async def run() -> None:
                async with await AsyncSession.connect(target) as session:
                    async for chunk in session.copy_to("copy endless to stdout"):
                        assert chunk == b"a row of it\n"
                        break
                    assert await session.query("select 1") == [("one",)]

            asyncio.run(run())
        assert copying.cancelled.is_set()
        assert (server.connections, server.errors) == (2, [])


def test_query_during_a_copy_is_refused(config: Config, style: str, certificate: ServerCertificate) -> None:
    """The copy continues."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_message()
        peer.send_message(b"H", b"\0\0\0")
        for row in (b"1", b"2"):
            peer.send_message(b"d", row)
        peer.send_message(b"c")
        peer.send(READY)
        receive_until_closed(peer)

    with server_with_script(certificate, script) as server:
        target = config.replace(port=server.port)
        if style == "blocking":
            with Session.connect(target) as session:
                rows: Iterator[bytes] = session.copy_to("copy t to stdout")
                assert next(rows) == b"1"
                with pytest.raises(Error, match="the session is busy"):
                    session.query("select 1")
                assert list(rows) == [b"2"]
                assert not session.closed
            return

        async def run() -> None:
            async with await AsyncSession.connect(target) as session:
                rows = session.copy_to("copy t to stdout")
                assert await rows.__anext__() == b"1"
                with pytest.raises(Error, match="the session is busy"):
                    await session.query("select 1")
                assert [row async for row in rows] == [b"2"]
                assert not session.closed

        asyncio.run(run())


def test_concurrent_query_is_refused(config: Config, style: str, certificate: ServerCertificate) -> None:
    """The first query continues."""
    import threading

    running, go_on = threading.Event(), threading.Event()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_message()
        running.set()
        go_on.wait(10)
        peer.send(ROW + READY)
        receive_until_closed(peer)

    with server_with_script(certificate, script) as server:
        target = config.replace(port=server.port)
        results: list[Any] = []
        if style == "blocking":
            with Session.connect(target) as session:
                thread = threading.Thread(target=lambda: results.append(session.query("select 1")))
                thread.start()
                assert running.wait(10)
                with pytest.raises(Error, match="the session is busy"):
                    session.query("select 2")
                go_on.set()
                thread.join()
        else:

            async def run() -> None:
                async with await AsyncSession.connect(target) as session:
                    first = asyncio.create_task(session.query("select 1"))
                    await asyncio.to_thread(running.wait, 10)
                    with pytest.raises(Error, match="the session is busy"):
                        await session.query("select 2")
                    go_on.set()
                    results.append(await first)

            asyncio.run(run())
        assert results == [[("one",)]]


def test_close_ends_the_query_of_another_task(config: Config, backend: str, certificate: ServerCertificate) -> None:
    """Other sockets of the loop are not affected."""
    observer = Observer()

    def script(peer: ScriptedPeer) -> None:
        peer.receive_message()
        observer.watch(peer)

    async def run(target: Config) -> None:
        for _ in range(3):  # the next connection reuses the descriptor number
            session = await AsyncSession.connect(target)
            query = asyncio.create_task(session.query("select pg_sleep(1000)"))
            await asyncio.sleep(0.05)
            await session.close()
            with pytest.raises(IoError):
                await asyncio.wait_for(query, 10)
            assert session.closed

    with server_with_script(certificate, script) as server:
        asyncio.run(run(config.replace(port=server.port, tls_backend=backend)))
        observer.assert_disconnected()
