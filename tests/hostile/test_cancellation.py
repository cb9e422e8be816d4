"""Cancellation at each step of a connect or query leaves no socket, thread or task."""

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
from .scripts import READY, log_in, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from babar_tls.testing import ScriptedPeer, ServerCertificate


class Stepper:
    """Runs a coroutine in a task and cancels the task at its k-th suspension."""

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
    """Cancels the task at the k-th step of its connect thread, which continues after the interruption is requested."""

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


def cancel_at_each_step(work: Callable[[], Coroutine[Any, Any, Any]], make: Callable[[int], Stepper] = Stepper) -> int:
    """Run `work` repeatedly, cancelled at its first suspension, its second, …, until it completes."""
    rounds = 0

    async def cancelled_at(k: int, before: list[str]) -> bool:
        stepper = make(k)
        task = asyncio.create_task(stepper.run(work()))
        try:
            await task
        except asyncio.CancelledError:
            assert stepper.reached
        assert asyncio.all_tasks() == {asyncio.current_task()}
        deadline = asyncio.get_running_loop().time() + 20  # the server times out after ten seconds
        while (now := descriptors()) != before and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - descriptors send no event
            await asyncio.sleep(0.001)  # the server is in this process and closes after the client
        assert now == before
        return stepper.reached

    async def run() -> None:
        nonlocal rounds
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, int)  # the executor's first thread is not a leak
        # Once for all rounds: the server can accept a connection long after the client has closed it. The
        # connection is then open for a short time.
        before = descriptors()
        while await cancelled_at(rounds + 1, before):
            rounds += 1
            assert rounds < 500

    asyncio.run(run())
    return rounds


class Counting:
    """A server that counts the connections that it accepted and that ended."""

    def __init__(
        self, certificate: ServerCertificate, then: Callable[[ScriptedPeer], object] = receive_until_closed
    ) -> None:
        self.accepted = self.ended = 0
        self._certificate = certificate
        self._then = then
        self.server = ScriptedServer(self._serve)

    def _serve(self, peer: ScriptedPeer) -> None:
        self.accepted += 1
        try:
            peer.accept_tls(self._certificate)
            log_in(peer, self._certificate.der)
            self._then(peer)
        except (ConnectionError, AssertionError, OSError):
            pass
        finally:
            receive_until_closed(peer)
            self.ended += 1


STEPPERS: dict[str, Callable[[int], Stepper]] = {"loop": Stepper, "thread": ThreadStepper}


@pytest.mark.parametrize("moment", STEPPERS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_cancelled_connect_leaves_no_resources(
    config: Config, backend: str, host: str, moment: str, certificate: ServerCertificate
) -> None:
    """The task is cancelled while the loop waits, or at a step of its connect thread."""
    counting = Counting(certificate)
    with counting.server as server:
        target = config.replace(port=server.port, host=host, hostaddr=None, tls_backend=backend, scram_key_cache=False)

        async def work() -> None:
            async with await AsyncSession.connect(target):
                pass

        rounds = cancel_at_each_step(work, STEPPERS[moment])
        assert rounds >= (1 if moment == "loop" else 12)  # the loop waits once, its thread more often
        assert server.errors == []
    assert counting.accepted == counting.ended


def test_cancelled_query_or_copy_closes_the_session(
    config: Config, backend: str, certificate: ServerCertificate
) -> None:
    def serve(peer: ScriptedPeer) -> None:
        peer.receive_message()
        peer.send(READY)
        peer.receive_message()
        peer.send_message(b"H", b"\0\0\0")
        peer.drip(b"d\0\0\0\x07row" * 2, 0.0)
        peer.send(READY)
        receive_until_closed(peer)

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

        rounds = cancel_at_each_step(work)
        assert rounds >= 1  # the connect; answers may have arrived already
    assert counting.accepted == counting.ended


def test_cancelled_query_closes_the_connection(config: Config, certificate: ServerCertificate) -> None:
    """The server sees the end of the connection."""
    gone: list[bytes] = []

    def serve(peer: ScriptedPeer) -> None:
        peer.receive_message()
        gone.append(receive_until_closed(peer))

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


def test_cancelled_connect_stops_the_key_derivation(config: Config, certificate: ServerCertificate) -> None:
    key_cache.clear()
    counting = Counting(certificate)
    with counting.server as server:

        async def run() -> None:
            before = descriptors()
            task = asyncio.create_task(AsyncSession.connect(config.replace(port=server.port)))
            while not task.done() and descriptors() == before:  # noqa: ASYNC110 - no event is available
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(run())


def test_timeout_does_not_cancel_the_task(config: Config) -> None:
    async def run(port: int) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await AsyncSession.connect(config.replace(port=port, connect_timeout=0.05))
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    with ScriptedServer(receive_until_closed) as server:
        asyncio.run(run(server.port))
