"""The threads that connect for asyncio: few, there when needed, and held up by nobody."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Config, IoError, workers
from babar_tls import aside as aside_module
from babar_tls.aside import Aside, until_called, until_ready
from babar_tls.workers import pool

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

PREFIX = "babar-tls worker"


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == PREFIX]


@pytest.fixture(autouse=True)
def they_end() -> Iterator[None]:
    """Whatever a test does, no thread is left for long."""
    yield
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == []


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def aside(coroutine: Coroutine[Any, Any, Any], cleaned: list[str] | None = None) -> Any:
    return await Aside(coroutine, lambda: (cleaned if cleaned is not None else []).append("up")).run(
        asyncio.get_running_loop()
    )


def test_beside_the_loop() -> None:
    """Every step is taken in one and the same thread, which is not the loop's."""

    async def steps(sock: socket.socket) -> list[int]:
        seen = [threading.get_ident()]
        assert await until_ready(sock, EVENT_WRITE)
        seen.append(threading.get_ident())
        assert await until_called(lambda deliver: threading.Thread(target=deliver, args=("word",)).start()) == "word"
        return [*seen, threading.get_ident()]

    async def main() -> list[int]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            seen: list[int] = await aside(steps(ours))
            return seen

    seen = asyncio.run(main())
    assert len(set(seen)) == 1
    assert threading.get_ident() not in seen


def test_errors_come_back() -> None:
    """What the coroutine raises, `run` raises; also what its first wait is refused with."""

    async def fails() -> None:
        raise LookupError("no")

    async def waits_for_nothing() -> None:
        with socket.socket() as closed:
            pass
        await until_ready(closed, EVENT_READ)

    async def main() -> None:
        with pytest.raises(LookupError, match="no"):
            await aside(fails())
        with pytest.raises(ValueError, match="file descriptor"):
            await aside(waits_for_nothing())

    asyncio.run(main())


def test_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    """A wait ends when something has come, or when its time is over, and says which."""
    ours, theirs = pair

    async def steps() -> list[object]:
        seen: list[object] = [await until_ready(ours, EVENT_READ, 0.01)]
        theirs.send(b"word")
        seen.append(await until_ready(ours, EVENT_READ, 60))
        seen.append(ours.recv(10))
        seen.append(await until_ready(ours, EVENT_WRITE))
        seen.append(await until_ready(ours, EVENT_READ, 0.01))
        return seen

    assert asyncio.run(aside(steps())) == [False, True, b"word", True, False]


def test_what_nobody_waits_for(pair: tuple[socket.socket, socket.socket]) -> None:
    """A peer that talks while nobody listens does not keep the thread busy."""
    ours, theirs = pair

    async def steps() -> float:
        await until_ready(ours, EVENT_WRITE)
        assert not await until_ready(ours, EVENT_READ, 0.001)
        theirs.send(b"word")
        before = time.thread_time()
        await until_called(lambda deliver: threading.Timer(0.2, deliver, (None,)).start())
        return time.thread_time() - before

    assert asyncio.run(aside(steps())) < 0.1


@pytest.mark.parametrize("moment", ["waiting", "computing"])
def test_cancelled(moment: str, pair: tuple[socket.socket, socket.socket]) -> None:
    """Who cancels goes on at once; the coroutine is closed in its thread, and cleaned up behind."""
    ours, _ = pair
    began, go_on, closed, cleaned = threading.Event(), threading.Event(), threading.Event(), threading.Event()

    async def steps() -> None:
        try:
            began.set()
            if moment == "computing":
                go_on.wait(10)
            await until_ready(ours, EVENT_READ)
        finally:
            assert threading.current_thread().name == PREFIX
            closed.set()

    async def main() -> None:
        beside = Aside(steps(), cleaned.set)
        task = asyncio.ensure_future(beside.run(asyncio.get_running_loop()))
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        beside.abandon()
        go_on.set()
        assert await asyncio.to_thread(cleaned.wait, 10)
        assert closed.is_set()

    asyncio.run(main())


def test_abandoned_before_it_began() -> None:
    """What never ran is closed on the spot."""
    cleaned: list[str] = []

    async def steps() -> None:
        raise AssertionError("it runs")

    Aside(steps(), lambda: cleaned.append("up")).abandon()
    assert cleaned == ["up"]


def test_a_loop_that_has_ended(pair: tuple[socket.socket, socket.socket]) -> None:
    """What is done when nobody is there any more is cleaned up."""
    ours, theirs = pair
    cleaned = threading.Event()

    async def steps() -> None:
        await until_ready(ours, EVENT_READ)

    loop = asyncio.new_event_loop()
    beside = Aside(steps(), cleaned.set)
    running = beside.run(loop)
    running.send(None)
    loop.close()
    theirs.send(b"word")
    assert cleaned.wait(10)
    running.close()


def test_they_are_few() -> None:
    """However many coroutines there are, the threads are as many as the pool may have, and begin a few at a time."""
    at_once = most = most_threads = 0
    lock = threading.Lock()

    async def steps(sock: socket.socket) -> None:
        nonlocal at_once, most, most_threads
        with lock:
            at_once += 1
            most = max(most, at_once)
            most_threads = max(most_threads, len(threads()))
        for _ in range(5):
            await until_ready(sock, EVENT_WRITE)
        with lock:
            at_once -= 1

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            copies = [ours.dup() for _ in range(100)]
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(aside_module, "PATIENCE", 60.0)
                    await asyncio.gather(*(aside(steps(copy)) for copy in copies))
            finally:
                for copy in copies:
                    copy.close()

    asyncio.run(main())
    assert most_threads <= pool.most
    assert most <= pool.most * workers._AT_A_TIME


def test_the_silent_hold_up_nobody(pair: tuple[socket.socket, socket.socket]) -> None:
    """Any number of peers that say nothing, and one that does: that one is served."""
    ours, theirs = pair

    async def silent() -> None:
        mute, other = socket.socketpair()
        with mute, other:
            await until_ready(mute, EVENT_READ)

    async def steps() -> bytes:
        await until_ready(ours, EVENT_READ)
        return ours.recv(10)

    async def main() -> Any:
        beside = [Aside(silent(), lambda: None) for _ in range(50)]
        loop = asyncio.get_running_loop()
        tasks = [asyncio.ensure_future(each.run(loop)) for each in beside]
        theirs.send(b"word")
        try:
            return await asyncio.wait_for(aside(steps()), 10)
        finally:
            for task, each in zip(tasks, beside, strict=True):
                task.cancel()
                each.abandon()
            await asyncio.gather(*tasks, return_exceptions=True)

    assert asyncio.run(main()) == b"word"


def test_abandoned_while_others_wait_their_turn(pair: tuple[socket.socket, socket.socket]) -> None:
    """Where the first are given up, those behind them get their turn, however patient everybody is."""
    ours, theirs = pair
    theirs.send(b"word")

    async def silent(sock: socket.socket) -> None:
        await until_ready(sock, EVENT_READ)

    async def steps() -> bytes:
        await until_ready(ours, EVENT_READ)
        return ours.recv(10)

    async def main() -> Any:
        mute, other = socket.socketpair()
        with mute, other:
            loop = asyncio.get_running_loop()
            copies = [mute.dup() for _ in range(workers._AT_A_TIME * pool.most)]
            first = [Aside(silent(copy), copy.close) for copy in copies]
            for each in first:
                each.patience = 60.0
            tasks = [asyncio.ensure_future(each.run(loop)) for each in first]
            last = asyncio.ensure_future(aside(steps()))
            await asyncio.sleep(0.05)
            assert not last.done()
            for task, each in zip(tasks, first, strict=True):
                task.cancel()
                each.abandon()
            await asyncio.gather(*tasks, return_exceptions=True)
            return await asyncio.wait_for(last, 10)

    assert asyncio.run(main()) == b"word"


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, connecting says so."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        while threads():  # noqa: ASYNC110 - they end by themselves
            await asyncio.sleep(0.01)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(IoError, match="no thread to connect with can be started"):
            await AsyncSession.connect(Config(host="127.0.0.1", port=1, user="nobody"))

    asyncio.run(main())


CHILD = """
import asyncio, os, sys
from babar_tls.aside import Aside

async def steps():
    return os.getpid()

async def main():
    return await asyncio.wait_for(Aside(steps(), lambda: None).run(asyncio.get_running_loop()), 20)

assert asyncio.run(main()) == os.getpid()
child = os.fork()
assert asyncio.run(main()) == os.getpid()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork() -> None:
    """Parent and child of a fork both go on, while threads are there and when they are not."""
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", CHILD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - this Python
    assert (done.returncode, done.stderr) == (0, "")


def test_the_end_of_the_process() -> None:
    """A process that ends in the midst of a connect ends."""
    code = """
import asyncio, socket, threading
from babar_tls import AsyncSession, Config
listener = socket.create_server(("127.0.0.1", 0))
async def main():
    config = Config(host="127.0.0.1", port=listener.getsockname()[1], user="a")
    task = asyncio.ensure_future(AsyncSession.connect(config))
    await asyncio.to_thread(listener.accept)
    print("ending", flush=True)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - this Python
    assert (done.returncode, done.stdout) == (0, "ending\n")
