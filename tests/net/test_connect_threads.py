"""Connect threads of asyncio: attempts wait for a place without a thread, and no place is lost."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, Error, Unreachable
from babar_tls.config.host import Host
from babar_tls.net import connect_threads, gated_connection, thread_pool
from babar_tls.net.connect_threads import _threads
from babar_tls.net.deadline import Meter
from babar_tls.net.gate import Turn
from babar_tls.net.gated_connection import GatedConnection, Interrupted
from babar_tls.net.interruption import Interruption
from babar_tls.net.thread_pool import THREAD_NAME
from babar_tls.protocol.requests import Connect, Derive

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED = Config(host="127.0.0.1", port=1, user="app", tls_mode="disable", connect_timeout=10)


def threads() -> int:
    return sum(thread.name == THREAD_NAME for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_lost_places() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 10
    while (threads() or _threads.gate._free != thread_pool._PLACES) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (threads(), _threads.gate._free) == (0, thread_pool._PLACES)
    assert not _threads.jobs
    assert _threads._idle == 0


@contextmanager
def full_gate() -> Iterator[None]:
    """Take all places, like connects with long computations."""
    turns = [Turn(_threads.gate, Interruption()) for _ in range(thread_pool._PLACES)]
    for turn in turns:
        assert turn.enter(10)
    try:
        yield
    finally:
        for turn in turns:
            turn.leave()


def test_connect_threads_are_reused() -> None:
    async def main() -> None:
        for _ in range(20):
            with pytest.raises(Unreachable):
                await AsyncSession.connect(REFUSED)
        assert threads() < 15  # not 21; a connect that begins before the last thread is idle starts another one

    asyncio.run(main())


def test_idle_thread_ends_on_time_if_another_thread_took_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread wakes up after the linger time and finds no job."""
    monkeypatch.setattr(thread_pool, "_LINGER", 0.1)
    asyncio.run(connect_threads.run(lambda _connect: None, Meter(10)))
    deadline = time.monotonic() + 5
    while _threads._idle != 1 and time.monotonic() < deadline:
        pass
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)  # so that this thread takes the job before the woken thread can run
    try:
        attempt: Any = SimpleNamespace(turn=SimpleNamespace(inside=False))
        _threads._assign(attempt)
        _threads._idle += 1
        assert _threads._wait_for_job() is attempt
        over = time.monotonic() + 2 * thread_pool._LINGER
        while time.monotonic() < over:
            pass
    finally:
        sys.setswitchinterval(interval)
    # `no_lost_places` waits for the end of the threads


@pytest.mark.parametrize("kept", [True, False])
def test_result_delivered_before_the_loop_was_closed_is_discarded(*, kept: bool) -> None:
    """This cannot happen with uvloop, which runs all scheduled callbacks before the loop stops."""
    discarded: list[str] = []
    loop = asyncio.SelectorEventLoop()
    kept_tasks: list[asyncio.Task[str]] = []

    async def main() -> None:
        task = loop.create_task(connect_threads.run(lambda _connect: "result", Meter(10), discarded.append))
        if kept:
            kept_tasks.append(task)
        await asyncio.sleep(0)  # the task begins
        time.sleep(0.5)  # noqa: ASYNC251 - the thread ends, and its callback waits for this loop
        del task
        await asyncio.sleep(0)  # the callback runs, then this task, before the waiting task
        loop.stop()

    loop.set_exception_handler(lambda _loop, _context: None)  # tasks are destroyed
    loop.create_task(main())
    loop.run_forever()
    assert discarded == []
    loop.close()
    wait_until = time.monotonic() + 5
    while not discarded and time.monotonic() < wait_until:
        time.sleep(0.01)
    assert discarded == ["result"]
    kept_tasks.clear()


def test_deadline_covers_the_wait_for_a_place() -> None:
    async def main() -> None:
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=r'server at "127.0.0.1", port 1 failed: timeout expired'):
            await AsyncSession.connect(REFUSED.replace(connect_timeout=0.2))
        assert time.monotonic() - started < 5

    with full_gate():
        asyncio.run(main())


@pytest.mark.parametrize("count", [1, 20])
def test_waiting_attempt_has_no_thread_and_can_be_cancelled(count: int) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(AsyncSession.connect(REFUSED)) for _ in range(count)]
        await asyncio.sleep(0.05)
        assert threads() == 1  # the thread that starts others
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * count

    with full_gate():
        asyncio.run(main())


def test_waiting_attempts_continue_when_places_are_free() -> None:
    async def main() -> None:
        with full_gate():
            tasks = [asyncio.create_task(AsyncSession.connect(REFUSED)) for _ in range(20)]
            await asyncio.sleep(0.05)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [Unreachable] * 20

    asyncio.run(main())


def test_cancellations_at_random_times_lose_no_place() -> None:
    async def one(delay: float) -> None:
        try:
            await asyncio.wait_for(AsyncSession.connect(REFUSED), delay)
        except (Error, TimeoutError):
            pass

    async def main() -> None:
        for turn in range(20):
            await asyncio.gather(*(one(number * turn / 40_000) for number in range(30)))

    asyncio.run(main())
    assert not _threads.jobs


def test_unexpected_error_of_a_job_is_raised_in_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **_fields: object) -> None:
        raise LookupError("an error in this library")

    monkeypatch.setattr("babar_tls.aio.establish", broken)
    with pytest.raises(LookupError, match="an error in this library"):
        asyncio.run(AsyncSession.connect(REFUSED))


def test_interruption_during_the_grant_of_a_derivation_place_returns_it() -> None:
    for _ in range(50):
        holder = Turn(gated_connection._derivations, Interruption())
        assert holder.enter(1)
        interruption = Interruption()
        connection = GatedConnection(REFUSED, Meter(10), interruption, Turn(_threads.gate, interruption))

        def derive(connection: gated_connection.GatedConnection = connection) -> None:
            with pytest.raises(Interrupted):
                connection._derive_keys(Derive(b"password", b"salt", 1_000_000))

        thread = threading.Thread(target=derive)
        thread.start()
        while not gated_connection._derivations.has_queue:
            time.sleep(0.0001)
        holder.leave()
        interruption.request()
        thread.join(10)
        assert gated_connection._derivations._free == 1


def test_idle_thread_takes_the_attempt_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == THREAD_NAME:
            time.sleep(0.02)
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> None:
        with pytest.raises(Unreachable):
            await AsyncSession.connect(REFUSED)  # leaves an idle thread
        attempt: connect_threads._Attempt[None] = connect_threads._Attempt(lambda connect: None, Meter(5), None)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            _threads.start_thread(attempt)
        await asyncio.sleep(1)
        with pytest.raises(Unreachable):
            await asyncio.wait_for(AsyncSession.connect(REFUSED), 5)

    asyncio.run(main())


def test_wait_for_the_gate_does_not_extend_the_time_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []

    def record(*_: object, seconds: float | None = None, **__: object) -> bool:
        waited.append(seconds)
        return False

    monkeypatch.setattr(gated_connection, "wait_for", record)
    interruption = Interruption()
    turn = Turn(_threads.gate, interruption)
    connection = GatedConnection(REFUSED, Meter(1), interruption, turn)
    enter = turn.enter

    def slow(seconds: float | None) -> bool:
        time.sleep(0.3)
        return enter(seconds)

    monkeypatch.setattr(turn, "enter", slow)
    monkeypatch.setattr("socket.socket.connect_ex", lambda *_: 115)
    exchange = (request for request in [Connect(Host("192.0.2.1", 5432))])
    with pytest.raises(TimeoutError):
        connection.drive(exchange)
    turn.leave()
    connection.close()
    assert waited[0] == 0  # inside the gate, for a server that is not local
    assert waited[1] is not None
    assert waited[1] <= 0.71
