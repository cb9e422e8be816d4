"""A session is used by one operation at a time, even with signals, interrupts and forks."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Busy, Closed, Config, IoError, Session, session
from babar_tls.protocol.messages import frame
from babar_tls.testing import ScriptedServer

from .scripts import AUTHENTICATION_OK, READY, data_row, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from babar_tls.testing import ScriptedPeer

STARTUP = frame(b"R", AUTHENTICATION_OK) + frame(b"K", struct.pack("!I", 1) + b"key!") + READY


def echo_script(delay: float) -> Callable[[ScriptedPeer], None]:
    """Return the script of a server that answers each query with its text after `delay` seconds."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(STARTUP)
        while True:
            kind, payload = peer.receive_message()
            if kind != b"Q":
                return
            time.sleep(delay)
            peer.send(frame(b"T", b"\0\0") + frame(b"D", data_row(payload[:-1])) + frame(b"C", b"SELECT 1\0") + READY)

    return script


@pytest.fixture
def plain(config: Config) -> Config:
    return config.replace(tls_mode="disable", channel_binding="disable")


@pytest.fixture
def alarm() -> Iterator[Callable[[float, Callable[..., Any]], None]]:
    """Return a function that calls a function in a signal handler of the main thread."""
    previous = signal.getsignal(signal.SIGALRM)

    def arm(seconds: float, function: Callable[..., Any]) -> None:
        signal.signal(signal.SIGALRM, lambda *_: function())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def test_query_from_a_signal_handler_is_refused_while_another_runs(
    plain: Config, alarm: Callable[[float, Callable[..., Any]], None]
) -> None:
    nested: list[Any] = []
    other: list[Any] = []

    def query(results: list[Any]) -> None:
        try:
            results.append(used.query("another"))
        except Busy as error:
            results.append(error)

    with ScriptedServer(echo_script(0.4)) as server, Session.connect(plain.replace(port=server.port)) as used:
        alarm(0.1, lambda: query(nested))
        timer = threading.Timer(0.2, query, (other,))
        timer.start()
        assert used.query("first") == [("first",)]
        timer.join()
        assert [type(result) for result in nested + other] == [Busy, Busy]
        assert used.query("second") == [("second",)]


def test_interrupt_during_the_handling_of_another_closes_the_session(
    plain: Config, alarm: Callable[[float, Callable[..., Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with ScriptedServer(echo_script(0.3)) as server, Session.connect(plain.replace(port=server.port)) as used:
        with monkeypatch.context() as patch:
            patch.setattr(session, "survives", interrupt)
            alarm(0.1, interrupt)
            with pytest.raises(KeyboardInterrupt):
                used.query("first")
        assert used.closed
        with pytest.raises(Closed):
            used.query("second")


def test_close_during_a_write_sends_nothing_more(plain: Config) -> None:
    received: list[bytes] = []

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(STARTUP)
        time.sleep(0.3)
        received.append(receive_until_closed(peer))

    async def main(port: int) -> None:
        used = await AsyncSession.connect(plain.replace(port=port))
        query = asyncio.create_task(used.query("y" * 20_000_000))
        await asyncio.sleep(0.1)
        time.sleep(0.4)  # noqa: ASYNC251 - the loop must not send while the server reads
        await used.close()
        with pytest.raises(Closed, match="while it was in use"):
            await query

    with ScriptedServer(script) as server:
        asyncio.run(main(server.port))
        deadline = time.monotonic() + 10
        while not received and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(received[0]) < 20_000_000
    assert received[0].endswith(b"yyyyy")


def test_answer_to_a_cancel_request_is_not_read(plain: Config, style: str) -> None:
    sent = 0

    def script(peer: ScriptedPeer) -> None:
        nonlocal sent
        if peer.receive_startup()[4:8] == struct.pack("!I", 80877102):
            while True:
                peer.send(bytes(65536))
                sent += 65536
        peer.send(STARTUP)
        receive_until_closed(peer)

    target = plain.replace(connect_timeout=None)
    with ScriptedServer(script) as server:
        if style == "blocking":
            with Session.connect(target.replace(port=server.port)) as used:
                used.cancel()
        else:

            async def main() -> None:
                async with await AsyncSession.connect(target.replace(port=server.port)) as used:
                    await asyncio.wait_for(used.cancel(), 20)

            asyncio.run(main())
    assert sent < 50_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # a thread at fork() is what is tested
def test_forked_child_does_not_close_a_session_of_a_pending_connect(plain: Config) -> None:
    received: list[bytes] = []

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(STARTUP)
        received.append(peer.receive())

    async def main(port: int) -> None:
        task = asyncio.create_task(AsyncSession.connect(plain.replace(port=port)))
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 - the connect thread finishes meanwhile
        child = os.fork()
        if child == 0:
            task.get_loop()._ready.clear()  # type: ignore[attr-defined]  # as closing the loop does
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - the child ends at once
        used = await task
        await asyncio.sleep(0.1)
        assert received == []
        await used.close()

    with ScriptedServer(script) as server:
        asyncio.run(main(server.port))


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """Like the Proactor loop of Windows: has sock_recv, but not add_reader."""

    def add_reader(self, *_: Any) -> None:
        raise NotImplementedError

    def remove_reader(self, *_: Any) -> bool:
        raise NotImplementedError

    async def sock_recv(self, sock: Any, count: int) -> bytes:
        future = self.create_future()
        self._add_reader(sock.fileno(), lambda: future.done() or future.set_result(None))
        try:
            await future
        finally:
            self._remove_reader(sock.fileno())
        return bytes(sock.recv(count))


def query_without_readers(config: Config, query: str) -> Any:
    async def main() -> Any:
        async with await AsyncSession.connect(config) as used:
            return await used.query(query)

    with asyncio.Runner(loop_factory=LoopWithoutReaders) as runner:
        return runner.run(main())


def test_loop_without_readers_receives_long_answers(plain: Config) -> None:
    with ScriptedServer(echo_script(0.1)) as server:
        text = "x" * 50_000
        assert query_without_readers(plain.replace(port=server.port), text) == [(text,)]


def test_loop_without_readers_reports_a_reset(plain: Config) -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send(STARTUP)
        peer.receive_message()
        time.sleep(0.1)
        peer.reset()

    with ScriptedServer(script) as server, pytest.raises(IoError, match="closed the connection unexpectedly"):
        query_without_readers(plain.replace(port=server.port), "select 1")


def test_resource_warning_as_an_error_does_not_keep_the_socket(plain: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    problems: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", problems.append)
    with ScriptedServer(echo_script(0)) as server:
        used = Session.connect(plain.replace(port=server.port))
        del used  # warnings are errors in this test suite
    assert [problem.exc_type for problem in problems] == [ResourceWarning]
