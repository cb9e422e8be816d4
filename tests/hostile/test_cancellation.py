"""Cancelled at any step, connecting and querying leave no socket, thread or task, and the connection ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, TimeoutError
from babar_tls.net import gated_connection
from babar_tls.net.key_cache import key_cache
from babar_tls.testing import ScriptedServer

from .conftest import descriptors
from .scripts import READY, log_in, until_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from babar_tls.testing import ScriptedPeer, ServerCertificate


class Stepper:
    """Runs a coroutine inside a task and cancels that task at its k-th suspension, before it goes on."""

    def __init__(self, k: int) -> None:
        self._left = k
        self.reached = False

    async def run(self, coroutine: Any) -> Any:
        return await self._Steps(self, coroutine)

    class _Steps:
        def __init__(self, stepper: Stepper, coroutine: Any) -> None:
            self._stepper = stepper
            self._coroutine = coroutine

        def __await__(self) -> Any:
            iterator = self._coroutine.__await__()
            value: Any = None
            error: BaseException | None = None
            while True:
                try:
                    waited = iterator.send(value) if error is None else iterator.throw(error)
                except StopIteration as stop:
                    return stop.value
                value = error = None
                self._stepper.suspended()
                try:
                    value = yield waited
                except BaseException as exc:
                    error = exc

    def suspended(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached = True
            task = asyncio.current_task()
            assert task is not None
            task.get_loop().call_soon(task.cancel)


class ThreadStepper(Stepper):
    """Cancels the task at the k-th step of its connecting thread, which continues when it has been interrupted."""

    async def run(self, coroutine: Any) -> Any:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        check = gated_connection.GatedConnection._check

        def checked(connection: gated_connection.GatedConnection) -> None:
            self._left -= 1
            if self._left == 0:
                self.reached = True
                loop.call_soon_threadsafe(task.cancel)
                deadline = time.monotonic() + 10
                while not connection.interruption.requested and time.monotonic() < deadline:
                    time.sleep(0.0005)
            check(connection)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gated_connection.GatedConnection, "_check", checked)
            return await coroutine


def cancel_everywhere(work: Callable[[], Coroutine[Any, Any, Any]], make: Callable[[int], Stepper] = Stepper) -> int:
    """Run `work` again and again, cancelled at its first suspension, its second, …, until it gets through."""
    rounds = 0

    async def cancelled_at(k: int, before: list[str]) -> bool:
        stepper = make(k)
        task = asyncio.create_task(stepper.run(work()))
        try:
            await task
        except asyncio.CancelledError:
            assert stepper.reached
        assert asyncio.all_tasks() == {asyncio.current_task()}
        deadline = asyncio.get_running_loop().time() + 20  # the server's end gives up waiting after ten seconds
        while (now := descriptors()) != before and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # the server's end is in this process too, and closes when ours has
        assert now == before
        return stepper.reached

    async def run() -> None:
        nonlocal rounds
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, int)  # the executor's first thread is not of our making
        # Once for all rounds: a connection that was given up before the server accepted it is accepted later, at any
        # time, for a moment.
        before = descriptors()
        while await cancelled_at(rounds + 1, before):
            rounds += 1
            assert rounds < 500

    asyncio.run(run())
    return rounds


class Counting:
    """A server that logs clients in, and counts those that it has seen come and go."""

    def __init__(self, certificate: ServerCertificate, then: Callable[[ScriptedPeer], object] = until_gone) -> None:
        self.came = self.went = 0
        self._certificate = certificate
        self._then = then
        self.server = ScriptedServer(self._serve)

    def _serve(self, peer: ScriptedPeer) -> None:
        self.came += 1
        try:
            peer.accept_tls(self._certificate)
            log_in(peer, self._certificate.der)
            self._then(peer)
        except (ConnectionError, AssertionError, OSError):
            pass
        finally:
            until_gone(peer)
            self.went += 1


MOMENTS: dict[str, Callable[[int], Stepper]] = {"loop": Stepper, "thread": ThreadStepper}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connect(config: Config, backend: str, host: str, moment: str, certificate: ServerCertificate) -> None:
    """Cancelled while the loop waits, or at any step of its thread, connecting leaves nothing behind."""
    counting = Counting(certificate)
    with counting.server as server:
        target = config.replace(port=server.port, host=host, hostaddr=None, tls_backend=backend, scram_key_cache=False)

        async def work() -> None:
            async with await AsyncSession.connect(target):
                pass

        rounds = cancel_everywhere(work, MOMENTS[moment])
        assert rounds >= (1 if moment == "loop" else 12)  # the loop waits once; the thread reads, writes and computes
        assert server.errors == []
    assert counting.came == counting.went


def test_query_and_copy(config: Config, backend: str, certificate: ServerCertificate) -> None:
    """Cancelled anywhere in a query or a copy, a session is closed."""

    def serve(peer: ScriptedPeer) -> None:
        peer.receive_message()
        peer.send(READY)
        peer.receive_message()
        peer.send_message(b"H", b"\0\0\0")
        peer.drip(b"d\0\0\0\x07row" * 2, 0.0)
        peer.send(READY)
        until_gone(peer)

    counting = Counting(certificate, serve)
    with counting.server as server:
        target = config.replace(port=server.port, tls_backend=backend)

        async def work() -> None:
            session = await AsyncSession.connect(target)
            try:
                await session.query("")
                assert [chunk async for chunk in session.copy_to("copy t to stdout")] == [b"row", b"row"]
            except asyncio.CancelledError:
                assert session.closed
                raise
            finally:
                await session.close()

        rounds = cancel_everywhere(work)
        assert rounds >= 1  # connecting; an answer that is there already is not waited for
    assert counting.came == counting.went


def test_cancelled_session_is_closed(config: Config, certificate: ServerCertificate) -> None:
    """The server sees the end of a connection whose query was cancelled, at once."""
    gone: list[bytes] = []

    def serve(peer: ScriptedPeer) -> None:
        peer.receive_message()
        gone.append(until_gone(peer))

    counting = Counting(certificate, serve)
    with counting.server as server:

        async def run() -> None:
            session = await AsyncSession.connect(config.replace(port=server.port))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.query("select pg_sleep(1000)"), 0.05)
            assert session.closed
            while not gone:  # noqa: ASYNC110 - the server is in another thread
                await asyncio.sleep(0.01)

        asyncio.run(run())


def test_cancelled_pbkdf2(config: Config, certificate: ServerCertificate) -> None:
    """Cancelled while a thread derives keys, connecting ends at once, and the thread with its work."""
    key_cache.clear()
    counting = Counting(certificate)
    with counting.server as server:

        async def run() -> None:
            before = descriptors()
            task = asyncio.create_task(AsyncSession.connect(config.replace(port=server.port)))
            while not task.done() and descriptors() == before:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(run())


def test_timeout_alone(config: Config) -> None:
    """A deadline is an error and no cancellation; the task can go on, and has none pending."""

    async def run(port: int) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await AsyncSession.connect(config.replace(port=port, connect_timeout=0.05))
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    with ScriptedServer(until_gone) as server:
        asyncio.run(run(server.port))
