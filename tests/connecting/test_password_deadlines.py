"""A callable as password that is slow or blocks: deadlines, cancellation, closed event loops, forks."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hostile.scripts import PASSWORD

from babar_tls import AsyncSession, Config, Session, TimeoutError

from . import lifetime
from .lifetime import FAR_TIMEOUT, PREAMBLE, Program, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from babar_tls.testing import ScramServer

no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
certificate, root, config, honest = lifetime.certificate, lifetime.root, lifetime.config, lifetime.honest

EXPIRED = r"timeout expired \(waiting for the callable in password\)"


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip(request.param).new_event_loop
    return factory


@pytest.fixture
def target(config: Config, honest: ScramServer) -> Config:
    return config.replace(port=honest.port)


class Blocking:
    """A callable that blocks until `release` is set.

    Attributes:
        release: Lets the calls return.
        inside: The number of calls.
    """

    def __init__(self, result: Callable[[], Any] = lambda: PASSWORD) -> None:
        self.release = threading.Event()
        self.inside = 0
        self._lock = threading.Lock()
        self._result = result

    def __call__(self) -> Any:
        with self._lock:
            self.inside += 1
        self.release.wait(FAR_TIMEOUT)
        return self._result()

    async def wait(self, count: int = 1) -> None:
        """Wait until `count` calls are blocked."""
        assert await asyncio.to_thread(wait_until, lambda: self.inside == count, 60)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    """Return a callable that blocks until the test ends or releases it."""
    password = Blocking()
    yield password
    password.release.set()


async def endless() -> str:
    await asyncio.sleep(FAR_TIMEOUT)
    return PASSWORD


# Deadlines


def test_blocking_connect_raises_timeout_error_after_the_callable_returns(target: Config, honest: ScramServer) -> None:
    """The deadline cannot interrupt the callable. No server is tried afterwards."""
    logins = len(honest.logins)

    def slow() -> str:
        time.sleep(0.1)
        return PASSWORD

    with pytest.raises(TimeoutError, match=EXPIRED) as caught:
        Session.connect(target.replace(password=slow, connect_timeout=0.02))
    assert caught.value.endpoint == f'server at "127.0.0.1", port {target.port}'
    assert len(honest.logins) == logins


def test_deadline_does_not_wait_for_a_blocked_callable(
    target: Config, blocking: Blocking, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError, match=EXPIRED):
            await AsyncSession.connect(target.replace(password=blocking, connect_timeout=0.02))
        assert not blocking.release.is_set()

    run(main, loop_factory=loop_factory)


@pytest.mark.parametrize("reaction", ["ends", "raises", "returns"])
def test_deadline_cancels_the_coroutine(
    target: Config, reaction: str, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    cancelled: list[int] = []

    async def password() -> str:
        try:
            return await endless()
        except asyncio.CancelledError:
            cancelled.append(1)
            if reaction == "raises":
                raise ValueError("interrupted") from None
            if reaction == "ends":
                raise
            time.sleep(0.05)  # noqa: ASYNC251 - until the deadline has passed by every clock
            return PASSWORD

    async def main() -> None:
        with pytest.raises(TimeoutError, match=EXPIRED):
            await AsyncSession.connect(target.replace(password=password, connect_timeout=0.02))

    run(main, loop_factory=loop_factory)
    assert cancelled == [1]


def test_time_of_the_callable_is_reported(target: Config) -> None:
    def slow() -> str:
        time.sleep(0.05)
        return PASSWORD

    async def main() -> None:
        async with await AsyncSession.connect(target.replace(password=slow)) as session:
            assert session.security.timings["password"] >= 0.05

    run(main)
    with Session.connect(target.replace(password=slow)) as session:
        assert session.security.timings["password"] >= 0.05
    with Session.connect(target) as session:
        assert "password" not in session.security.timings


# Cancellation


def test_cancellation_does_not_wait_for_a_blocked_callable(
    target: Config, blocking: Blocking, honest: ScramServer, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    logins = len(honest.logins)

    async def main() -> None:
        task = asyncio.ensure_future(AsyncSession.connect(target.replace(password=blocking)))
        await blocking.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not blocking.release.is_set()

    run(main, loop_factory=loop_factory)
    assert len(honest.logins) == logins


def test_cancellation_cancels_the_coroutine(
    target: Config, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    ends: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def password() -> str:
            begun.set()
            try:
                return await endless()
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        task = asyncio.ensure_future(AsyncSession.connect(target.replace(password=password)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main, loop_factory=loop_factory)
    assert ends == ["cancelled"]


@pytest.mark.filterwarnings("error")
def test_coroutine_that_is_created_too_late_is_closed(target: Config) -> None:
    """Python warns about a coroutine that is never awaited; `no_leaks` reports the warning."""
    coroutines: list[Any] = []

    def create() -> Any:
        coroutines.append(endless())
        return coroutines[0]

    password = Blocking(create)

    async def main() -> None:
        task = asyncio.ensure_future(AsyncSession.connect(target.replace(password=password)))
        await password.wait()
        task.cancel()
        await asyncio.wait([task])
        password.release.set()
        assert await asyncio.to_thread(wait_until, lambda: coroutines and coroutines[0].cr_frame is None)

    run(main)
    coroutines.clear()
    gc.collect()


# Independence of connects


def test_blocked_callables_do_not_delay_other_connects(
    target: Config, blocking: Blocking, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Far more connects wait for their callable at the same time than may compute at a time."""

    async def main() -> None:
        blocked = [asyncio.ensure_future(AsyncSession.connect(target.replace(password=blocking))) for _ in range(50)]
        try:
            await blocking.wait(50)
            async with await AsyncSession.connect(target) as session:
                assert not session.closed
            assert not any(task.done() for task in blocked)
        finally:
            blocking.release.set()
            for session in await asyncio.gather(*blocked):
                await session.close()

    run(main, loop_factory=loop_factory)


# Closed event loops, forks, exits


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_event_loop_may_be_closed_during_the_call(
    *,
    target: Config,
    blocking: Blocking,
    is_coroutine: bool,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = loop_factory()
    loop.set_exception_handler(lambda _loop, _context: None)  # the task is destroyed
    begun: list[int] = []

    async def password() -> str:
        begun.append(1)
        return await endless()

    async def main() -> None:
        configured = target.replace(password=password if is_coroutine else blocking)
        task = asyncio.ensure_future(AsyncSession.connect(configured))
        await asyncio.to_thread(wait_until, lambda: begun or blocking.inside)
        assert not task.done()

    loop.run_until_complete(main())
    loop.close()
    gc.collect()
    blocking.release.set()


PROGRAM = """
def password():
    inside.set()
    release.wait(50)
    return "a secret of ours"

async def later():
    return "a secret of ours"

inside, release = threading.Event(), threading.Event()

async def connect(password):
    async with await AsyncSession.connect(target(ports[0], password=password)) as session:
        return session.security.auth_method

async def main():
    task = asyncio.ensure_future(connect(password))
    await asyncio.to_thread(inside.wait)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            release.set()
            methods = []
            connects = lambda: methods.extend(asyncio.run(connect(each)) for each in (password, later))
            thread = threading.Thread(target=connects)
            thread.start()
            thread.join()
            status = 0 if methods == ["scram-sha-256-plus"] * 2 else 2
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert not task.done()
    release.set()
    print(await task)

asyncio.run(main())
end()
"""


def test_fork_during_the_call(target: Config, root: Path) -> None:
    """The child can connect, and the parent's connect continues."""
    program = Program(PREAMBLE + PROGRAM, "stdlib", root, 0, target.port)
    program.assert_clean_exit()
    assert program.output == ["0", "scram-sha-256-plus"]


EXIT = """
async def main():
    password = lambda: (time.sleep(1), "a secret of ours")[1]
    task = asyncio.ensure_future(AsyncSession.connect(target(ports[0], password=password)))
    await asyncio.sleep(0.2)

asyncio.run(main())
end()
"""


def test_program_ends_when_the_callable_has_returned(target: Config, root: Path) -> None:
    program = Program(PREAMBLE + EXIT, "stdlib", root, 0, target.port)
    program.assert_clean_exit()
