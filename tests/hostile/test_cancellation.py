"""Cancelled anywhere, asyncio's connect and query leave no socket and no task, and the server sees its client go."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, TimeoutError
from babar_tls.aio_wire import Timeout
from babar_tls.aside import Aside
from babar_tls.driving import key_cache, timeout_error
from babar_tls.protocol.requests import Phase
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


class BesideStepper(Stepper):
    """Cancels the task as the k-th step of its connect begins, or has ended, in the thread beside the loop."""

    def __init__(self, k: int, *, as_it_begins: bool) -> None:
        super().__init__(k)
        self._as_it_begins = as_it_begins

    async def run(self, coroutine: Any) -> Any:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        step = Aside._step

        def stepped(*args: Any) -> None:
            self._left -= 1
            mine = self._left == 0
            self.reached |= mine
            if mine and self._as_it_begins:
                loop.call_soon_threadsafe(task.cancel)
            step(*args)
            if mine and not self._as_it_begins:
                loop.call_soon_threadsafe(task.cancel)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Aside, "_step", stepped)
            result = await coroutine
            # The last step's end may be the connect's end too, and what is cancelled then is whatever comes after it.
            await asyncio.sleep(0.001)
        return result


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


MOMENTS: dict[str, Callable[[int], Stepper]] = {
    "loop": Stepper,
    "step begins": lambda k: BesideStepper(k, as_it_begins=True),
    "step ended": lambda k: BesideStepper(k, as_it_begins=False),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connect(config: Config, backend: str, host: str, moment: str, certificate: ServerCertificate) -> None:
    """Cancelled at any of its suspensions, or of its steps beside the loop, connecting leaves nothing behind."""
    counting = Counting(certificate)
    with counting.server as server:
        target = config.replace(port=server.port, host=host, hostaddr=None, tls_backend=backend, scram_key_cache=False)

        async def work() -> None:
            async with await AsyncSession.connect(target):
                pass

        rounds = cancel_everywhere(work, MOMENTS[moment])
        # The loop sees one suspension. Beside it what has come before it is waited for is none, so that more steps
        # cannot be counted on.
        assert rounds >= (1 if moment == "loop" else 3)
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


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot tell two cancellations of a task apart")
@pytest.mark.parametrize("first", ["timeout", "cancel"])
def test_cancelled_as_time_runs_out(config: Config, first: str) -> None:
    """Where the deadline and a cancellation from outside come together, the cancellation is what the caller gets."""

    async def run(port: int) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(AsyncSession.connect(config.replace(port=port, connect_timeout=0.1)))
        expire = Timeout._expire

        def both(self: Timeout) -> None:
            if first == "cancel":
                task.cancel()
            expire(self)
            if first == "timeout":
                task.cancel()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Timeout, "_expire", both)
            with pytest.raises(asyncio.CancelledError):
                await task
        assert task.cancelled()
        assert loop.is_running()

    with ScriptedServer(until_gone) as server:
        asyncio.run(run(server.port))


def test_timeout_alone(config: Config) -> None:
    """A deadline is an error and no cancellation; the task can go on, and has none pending."""

    async def run(port: int) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await AsyncSession.connect(config.replace(port=port, connect_timeout=0.05))
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert getattr(task, "cancelling", lambda: 0)() == 0

    with ScriptedServer(until_gone) as server:
        asyncio.run(run(server.port))


def test_timeouts_within_each_other() -> None:
    """Of two deadlines that pass at the same moment one is reported, and nothing is left pending."""

    async def wait(inner: float, outer: float) -> None:
        async with Timeout(outer, lambda: timeout_error(Phase.AUTH)), Timeout(inner, lambda: timeout_error(Phase.TCP)):
            await asyncio.sleep(10)

    async def run() -> None:
        for inner, outer in ((0.01, 0.01), (0.01, 0.02), (0.02, 0.01)):
            with pytest.raises(TimeoutError):
                await wait(inner, outer)
            await asyncio.sleep(0.03)

    asyncio.run(run())
