"""Sessions that are dropped, closed while in use, or used in another event loop or process."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Closed, Config, Error, Session

from . import lifetime
from .lifetime import (
    PREAMBLE,
    Program,
    assert_no_other_task,
    descriptors,
    note_loop_error,
    query_server,
    randomness,
    repeat,
    run,
    sockets_to,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from babar_tls.testing import ScriptedServer, ServerCertificate

no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
backend, certificate, root, config = lifetime.backend, lifetime.certificate, lifetime.root, lifetime.config

_CLOSED_IN_USE = "the session was closed while it was in use"
_CLOSED = "the session is closed"
_OPERATIONS = ["query", "copy_to"]


@pytest.fixture(scope="module")
def secured(certificate: ServerCertificate) -> Iterator[ScriptedServer]:
    """Return a server with TLS that answers queries and copies."""
    with query_server(certificate) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[ScriptedServer]:
    """Return the same server without TLS."""
    with query_server(None) as server:
        yield server


@pytest.fixture(params=["plain", "stdlib", "openssl", "rustls"])
def target(request: pytest.FixtureRequest, config: Config, secured: ScriptedServer, plain: ScriptedServer) -> Config:
    """Return a configuration with each backend, and one without TLS."""
    if request.param == "plain":
        return config.replace(port=plain.port, tls_mode="disable")
    if request.param not in lifetime.available_backends():
        pytest.skip(f"backend {request.param} is not installed")
    return config.replace(port=secured.port, tls_backend=request.param)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    if request.param == "asyncio":
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip("uvloop").new_event_loop
    return factory


# Dropped


def assert_warned(caught: list[warnings.WarningMessage], port: int) -> None:
    """Check that there is one warning, which names the server."""
    messages = [str(each.message) for each in caught if issubclass(each.category, ResourceWarning)]
    assert len(messages) == 1, messages
    assert "unclosed" in messages[0]
    assert "127.0.0.1" in messages[0]
    assert str(port) in messages[0]


def test_dropped_session_warns_and_releases_its_socket(target: Config) -> None:
    before = descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = Session.connect(target)
        session.query("select 1")
        assert sockets_to(target.port) == 1
        del session
        gc.collect()
    assert sockets_to(target.port) == 0
    assert_warned(caught, target.port)
    assert wait_until(lambda: not descriptors() - before)


@pytest.mark.parametrize("used", [False, True])
def test_dropped_async_session_warns_and_releases_its_socket(
    *, target: Config, loop_factory: Callable[[], asyncio.AbstractEventLoop], used: bool
) -> None:
    """The event loop is still running and must not watch the closed socket."""

    async def main() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            session = await AsyncSession.connect(target)
            if used:
                await session.query("select 1")
            assert sockets_to(target.port) == 1
            del session
            for _ in range(3):
                await asyncio.sleep(0)
                gc.collect()
        assert sockets_to(target.port) == 0
        assert_warned(caught, target.port)
        # The next connection reuses the descriptor number of the closed socket.
        async with await AsyncSession.connect(target) as another:
            assert await another.query("select 1") == [("1",)]

    run(main, loop_factory=loop_factory)


def test_async_session_dropped_after_its_loop_was_closed_warns(
    target: Config, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        async def main() -> AsyncSession:
            session = await AsyncSession.connect(target)
            await session.query("select 1")
            return session

        session = run(main, loop_factory=loop_factory)
        del session
        gc.collect()
    assert sockets_to(target.port) == 0
    assert_warned(caught, target.port)


def test_session_dropped_during_a_copy_warns_and_releases_its_socket(target: Config) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = Session.connect(target)
        rows = session.copy_to("copy t to stdout")
        assert next(rows)
        del rows, session
        gc.collect()
    assert sockets_to(target.port) == 0
    assert_warned(caught, target.port)


@pytest.mark.parametrize("style", ["blocking", "asyncio"])
def test_closed_and_broken_sessions_do_not_warn(target: Config, style: str) -> None:
    async def close_and_break() -> None:
        session = await AsyncSession.connect(target)
        await session.close()
        del session
        session = await AsyncSession.connect(target)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.query("silence"), 0.02)
        assert session.closed

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if style == "blocking":
            Session.connect(target).close()
        else:
            run(close_and_break)
        gc.collect()
    assert [each for each in caught if issubclass(each.category, ResourceWarning)] == []


# Another event loop, another process


async def use(session: AsyncSession, operation: str) -> None:
    """Run a query, or read two rows of a copy."""
    if operation == "query":
        assert await session.query("select 1") == [("1",)]
        return
    rows = session.copy_to("copy t to stdout")
    await rows.__anext__()
    await rows.__anext__()


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_session_of_another_running_loop_is_refused(target: Config, operation: str) -> None:
    """The session can still be used in its own loop."""
    failures: list[BaseException] = []

    def use_in_another_loop(session: AsyncSession) -> None:
        try:
            asyncio.run(asyncio.wait_for(use(session, operation), 10))
        except Exception as error:
            failures.append(error)

    async def main() -> None:
        async with await AsyncSession.connect(target) as session:
            await session.query("select 1")
            await asyncio.to_thread(use_in_another_loop, session)
            assert not session.closed
            assert await session.query("select 1") == [("1",)]

    run(main)
    (error,) = failures
    assert isinstance(error, Error)
    assert "another event loop" in str(error)


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_session_of_a_closed_loop_is_refused_and_can_be_closed(
    target: Config, operation: str, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def connect() -> AsyncSession:
        session = await AsyncSession.connect(target)
        await session.query("select 1")
        return session

    session = run(connect, loop_factory=loop_factory)

    async def use_in_another_loop() -> None:
        with pytest.raises(Error, match="another event loop"):
            await asyncio.wait_for(use(session, operation), 10)
        await session.close()
        assert session.closed
        assert sockets_to(target.port) == 0

    run(use_in_another_loop, loop_factory=loop_factory)


FORKED = """
def refused(work):
    try:
        work()
    except Error as error:
        assert "fork" in str(error), error
    else:
        raise AssertionError("the child can use the session")

async def first(rows):
    await rows.__anext__()

warnings.simplefilter("error", ResourceWarning)
loop = asyncio.new_event_loop()
ours = Session.connect(target(ports[0]))
theirs = loop.run_until_complete(AsyncSession.connect(target(ports[0])))
unused = loop.run_until_complete(AsyncSession.connect(target(ports[0])))
ours.query("select 1")
loop.run_until_complete(theirs.query("select 1"))
reading, writing = os.pipe()
child = os.fork()
if not child:
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", "unclosed (event loop|.*family=1,)")  # the loop, and the pipe that wakes it
    loop.close = lambda: None  # it would remove the parent's pipe from the shared epoll object
    what = "WHAT"
    if what == "dropped":
        del ours, theirs, unused
        gc.collect()
    elif what == "used":
        refused(lambda: ours.query("select 1"))
        refused(lambda: next(ours.copy_to("copy t to stdout")))
        for run in (loop.run_until_complete, asyncio.run):
            refused(lambda: run(theirs.query("select 1")))
            refused(lambda: run(first(theirs.copy_to("copy t to stdout"))))
            refused(lambda: run(unused.query("select 1")))
    elif what == "closed":
        ours.close()
        loop.run_until_complete(theirs.close())
        asyncio.run(unused.close())
        assert ours.closed and theirs.closed and unused.closed
        ours.close()
    (os._exit if what == "used" else sys.exit)(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
for _ in range(3):
    assert len(ours.query("select 1")) == 1
    assert len(loop.run_until_complete(theirs.query("select 1"))) == 1
    assert len(loop.run_until_complete(unused.query("select 1"))) == 1
ours.close()
loop.run_until_complete(theirs.close())
loop.run_until_complete(unused.close())
loop.close()
end()
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("what", ["dropped", "used", "closed", "kept"])
def test_forked_child_does_not_affect_the_sessions_of_its_parent(
    backend: str, what: str, root: Path, secured: ScriptedServer
) -> None:
    """The child drops, uses or closes the sessions, or does nothing."""
    Program(PREAMBLE + FORKED.replace("WHAT", what), backend, root, 0, secured.port).assert_clean_exit()


# Closed while in use


def operate(session: Session, operation: str) -> None:
    """Use the session until it raises; a copy is endless."""
    if operation == "query":
        while True:
            assert session.query("select 1") == [("1",)]
    for _ in session.copy_to("copy t to stdout"):
        pass


class CloserThread:
    """Closes a session in another thread."""

    def __init__(self, session: Session, seconds: float) -> None:
        self._timer = threading.Timer(seconds, session.close)
        self._timer.start()

    def finish(self) -> None:
        self._timer.join()


class CloserSignal:
    """Closes a session in a signal handler, which interrupts the main thread at any point."""

    def __init__(self, session: Session, seconds: float) -> None:
        self._previous = signal.signal(signal.SIGUSR1, lambda _number, _frame: session.close())
        main = threading.main_thread().ident
        self._timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1))
        self._timer.start()

    def finish(self) -> None:
        self._timer.join()
        time.sleep(0)  # let the handler run
        signal.signal(signal.SIGUSR1, self._previous)


CLOSERS = {"thread": CloserThread, "signal handler": CloserSignal}


@pytest.mark.parametrize("closer", CLOSERS)
def test_close_ends_a_waiting_query(target: Config, closer: str) -> None:
    session = Session.connect(target)
    closing = CLOSERS[closer](session, 0.05)
    try:
        with pytest.raises(Closed) as caught:
            session.query("silence")
    finally:
        closing.finish()
    assert _CLOSED_IN_USE in str(caught.value)
    assert sockets_to(target.port) == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("closer", CLOSERS)
@pytest.mark.parametrize("operation", _OPERATIONS)
def test_close_at_a_random_time_ends_the_operation(target: Config, operation: str, closer: str) -> None:
    """The operation, or the next one, raises `Closed`, and the socket is closed."""
    source = randomness()
    texts = set()
    for _ in range(repeat(19, 190)):
        session = Session.connect(target)
        closing = CLOSERS[closer](session, source.uniform(0, 0.01))
        try:
            with pytest.raises(Closed) as caught:
                operate(session, operation)
        finally:
            closing.finish()
        assert session.closed
        assert sockets_to(target.port) == 0
        assert caught.value.message in {_CLOSED_IN_USE, _CLOSED}
        texts.add(caught.value.message)
        session.close()
    assert _CLOSED_IN_USE in texts


@pytest.mark.parametrize("closer", CLOSERS)
def test_close_ends_the_sending_of_a_query(target: Config, closer: str) -> None:
    """The server does not read, so that the client waits until it can send."""
    session = Session.connect(target)
    closing = CLOSERS[closer](session, 0.05)
    try:
        with pytest.raises(Closed) as caught:
            session.query("silence" + " " * 8_000_000)
    finally:
        closing.finish()
    assert caught.value.message == _CLOSED_IN_USE
    assert sockets_to(target.port) == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("operation", [*_OPERATIONS, "silence"])
def test_close_by_another_task_at_a_random_time_ends_the_operation(target: Config, operation: str) -> None:
    source = randomness()

    async def operate(session: AsyncSession) -> Any:
        if operation == "silence":
            return await session.query("silence")
        while operation == "query":
            assert await session.query("select 1") == [("1",)]
        async for _ in session.copy_to("copy t to stdout"):
            pass
        return None

    async def main() -> set[str]:
        texts = set()
        for _ in range(repeat(12, 120)):
            session = await AsyncSession.connect(target)
            task = asyncio.ensure_future(operate(session))
            await asyncio.sleep(source.uniform(0, 0.01))
            await session.close()
            with pytest.raises(Closed) as caught:
                await asyncio.wait_for(task, 10)
            assert session.closed
            assert sockets_to(target.port) == 0
            assert caught.value.message in {_CLOSED_IN_USE, _CLOSED}
            texts.add(caught.value.message)
        return texts

    assert _CLOSED_IN_USE in run(main)


def test_query_cancelled_by_anyio_closes_the_session(target: Config) -> None:
    """Its answer was not read."""
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(note_loop_error)
        session = await AsyncSession.connect(target)
        with anyio.move_on_after(0.02) as scope:
            await session.query("silence")
        assert scope.cancelled_caught
        assert session.closed
        assert sockets_to(target.port) == 0
        await assert_no_other_task()

    anyio.run(main, backend="asyncio")
