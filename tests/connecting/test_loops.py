"""Connects with many kinds and numbers of event loops, in forked processes, and without available threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls import AsyncSession, Config, IoError, Session, connect_async
from babar_tls.testing import CertificateAuthority, ScramServer

from . import lifetime
from .lifetime import (
    FAR_TIMEOUT,
    PASSWORD,
    PREAMBLE,
    Program,
    measure,
    moment,
    note_loop_error,
    outcome,
    randomness,
    repeat,
    run,
    sockets_to,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

no_leaks, no_leaked_threads = lifetime.no_leaks, lifetime.no_leaked_threads
backend, certificate, root, config, honest, ports = (
    lifetime.backend,
    lifetime.certificate,
    lifetime.root,
    lifetime.config,
    lifetime.honest,
    lifetime.ports,
)

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def target(config: Config, backend: str, honest: ScramServer) -> Config:
    return config.replace(port=honest.port, tls_backend=backend)


async def connect_and_query(target: Config) -> None:
    async with await AsyncSession.connect(target) as session:
        assert await session.query("select 1") == [("1",)]


# Loops in threads


def test_64_event_loops_in_threads_can_connect(target: Config) -> None:
    done: list[int] = []

    async def main() -> None:
        for _ in range(repeat(1, 10)):
            await connect_and_query(target)
        done.append(1)

    threads = [threading.Thread(target=run, args=(main,)) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 64


def test_successive_event_loops_can_connect(target: Config) -> None:
    """State of a closed loop is not reused."""
    for _ in range(repeat(5, 100)):
        run(lambda: connect_and_query(target))


def _without_pending_tasks(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore pending tasks, which the test destroys intentionally."""
    if "was destroyed but it is pending" not in context["message"]:
        note_loop_error(loop, context)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", ["honest", "silent"])
def test_loop_closed_during_a_connect_closes_the_socket(
    *, config: Config, backend: str, kind: str, kept: bool, ports: Mapping[str, int]
) -> None:
    """This does not depend on whether the program keeps a reference to the task."""
    source = randomness()
    target = config.replace(
        port=ports[kind], tls_backend=backend, connect_timeout=FAR_TIMEOUT if kind == "honest" else 1
    )
    tasks = []
    seconds = run(lambda: measure(config.replace(port=ports["honest"], tls_backend=backend)))
    for _ in range(repeat(8, 200)):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(_without_pending_tasks)
        task = loop.create_task(AsyncSession.connect(target))
        loop.run_until_complete(asyncio.sleep(moment(source, seconds)))
        if task.done():
            loop.run_until_complete(outcome(task))
        elif kept:
            tasks.append(task)
        loop.close()
        del task
    assert wait_until(lambda: sockets_to(target.port) == 0)
    tasks.clear()


# Kinds of loops


def test_uvloop_can_connect(target: Config) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        await asyncio.gather(*(connect_and_query(target) for _ in range(10)))
        async with await connect_async(target) as session:
            assert not session.closed

    run(main, loop_factory=uvloop.new_event_loop)


def test_uvloop_cancellation_at_a_random_time(target: Config) -> None:
    uvloop = pytest.importorskip("uvloop")
    source = randomness()

    async def main() -> set[str]:
        seconds = await measure(target)
        return {
            await outcome(asyncio.wait_for(AsyncSession.connect(target), moment(source, seconds)))
            for _ in range(repeat(12, 500))
        }

    assert run(main, loop_factory=uvloop.new_event_loop) <= {"TimeoutError", "session"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connect_in_asyncio_debug_mode_reports_no_error(
    target: Config, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Asyncio then requires non-blocking sockets and calls from the loop's thread."""

    async def main() -> None:
        await asyncio.gather(*(connect_and_query(target.replace(host=host)) for _ in range(5)))
        assert asyncio.get_running_loop().get_debug()

    run(main, debug=True)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_cancellation_in_asyncio_debug_mode(target: Config) -> None:
    source = randomness()

    async def main() -> set[str]:
        seconds = await measure(target)
        return {
            await outcome(asyncio.wait_for(AsyncSession.connect(target), moment(source, seconds)))
            for _ in range(repeat(8, 300))
        }

    assert run(main, debug=True) <= {"TimeoutError", "session"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_default_executor_is_not_needed(
    config: Config, backend: str, host: str, certificate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application may have shut it down. Name lookup and PBKDF2 do not use it."""
    with ScramServer({"app": PASSWORD}, certificate, iterations=30_000) as server:
        target = config.replace(port=server.port, tls_backend=backend, host=host)

        async def main() -> None:
            await asyncio.get_running_loop().shutdown_default_executor()
            await asyncio.wait_for(connect_and_query(target), 10)

        run(main)


def test_busy_default_executor_does_not_delay_a_connect(target: Config) -> None:
    async def main() -> None:
        release = threading.Event()
        loop = asyncio.get_running_loop()
        blocked = [loop.run_in_executor(None, release.wait, FAR_TIMEOUT) for _ in range(64)]
        try:
            await asyncio.wait_for(connect_and_query(target.replace(host="localhost")), 10)
        finally:
            release.set()
            await asyncio.gather(*blocked)

    run(main)


# Threads and context


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let only the test's servers start threads."""
    assert wait_until(lambda: not any(thread.name.startswith("babar-tls") for thread in threading.enumerate()))
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if not thread.name.startswith("ScriptedServer"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_asyncio_connect_without_a_thread_is_an_io_error(target: Config, host: str) -> None:
    async def main() -> None:
        for _ in range(3):
            with pytest.raises(IoError, match="thread") as caught:
                await asyncio.wait_for(AsyncSession.connect(target.replace(host=host)), 5)
            assert not isinstance(caught.value, babar_tls.TimeoutError)

    run(main)


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_blocking_connect_needs_no_thread(target: Config, host: str) -> None:
    """The calling thread looks the name up."""
    with Session.connect(target.replace(host=host)) as session:
        assert session.query("select 1") == [("1",)]


def test_asyncio_connect_works_after_a_failed_thread_start(target: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure has no permanent effect."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        await asyncio.to_thread(wait_until, lambda: not any("babar" in thread.name for thread in threading.enumerate()))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(IoError):
                await AsyncSession.connect(target)
        await connect_and_query(target)

    run(main)


_REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


class _ContextHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append((_REQUEST.get(), record.getMessage()))


@pytest.mark.parametrize("loop_factory", ["asyncio", "uvloop"])
def test_log_records_have_the_context_of_the_caller(
    config: Config, backend: str, loop_factory: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler can find the request that a warning belongs to."""
    caplog.set_level(logging.DEBUG, "babar_tls")  # the same warning is logged again only for DEBUG
    factory = asyncio.new_event_loop if loop_factory == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    certificate = CertificateAuthority("ed25519").issue(
        "127.0.0.1"
    )  # without a hash for channel binding (RFC 5929 section 4.1)
    (tmp_path / "root.crt").write_bytes(certificate.root_pem)
    logger, handler = logging.getLogger("babar_tls"), _ContextHandler()

    async def request(target: Config, name: str) -> None:
        _REQUEST.set(name)
        await connect_and_query(target)

    logger.addHandler(handler)
    try:
        with ScramServer({"app": PASSWORD}, certificate, tls_backend="stdlib") as server:
            target = config.replace(
                port=server.port, tls_backend=backend, tls_root_cert_path=str(tmp_path / "root.crt")
            )

            async def main() -> None:
                await asyncio.gather(*(request(target, f"request {number}") for number in range(5)))

            run(main, loop_factory=factory)
    finally:
        logger.removeHandler(handler)
    names = [name for name, text in handler.seen if "channel binding is not possible" in text]
    assert sorted(names) == [f"request {number}" for number in range(5)]


# Forks

FORKING = """
def connections(port):
    found = set()
    for line in open("/proc/net/tcp").read().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].partition(":")[2], 16) == port:
            found.add(f"socket:[{fields[9]}]")
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}") in found
        except OSError:
            pass
    return count

async def several():
    async def one():
        async with await AsyncSession.connect(target(ports[0])) as session:
            assert len(await session.query("select 1")) == 1
    await asyncio.gather(*(one() for _ in range(5)))

loop = asyncio.new_event_loop()
loop.set_exception_handler(without_pending_tasks)
opened = loop.run_until_complete(AsyncSession.connect(target(ports[0])))
blocking = Session.connect(target(ports[0]))
for _ in range(ROUNDS):
    tasks = [loop.create_task(AsyncSession.connect(target(port))) for port in ports * 4]
    loop.run_until_complete(asyncio.sleep(random.uniform(0, 0.04)))
    child = os.fork()
    if not child:
        loop.close = lambda: None  # it would remove the parent's pipe from the shared epoll object
        deadline = time.monotonic() + 5
        while connections(ports[1]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert connections(ports[1]) == 0, "the child has not closed its copies of the parent's sockets"
        asyncio.run(several())
        with Session.connect(target(ports[0], host="localhost")) as session:
            session.query("select 1")
        LEAVE
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(loop.run_until_complete(opened.query("select 1"))) == 1
    assert len(blocking.query("select 1")) == 1
    loop.run_until_complete(several())
    for task, port in zip(tasks, ports * 4):
        if port != ports[0]:
            task.cancel()
        session = None
        try:
            session = loop.run_until_complete(task)
        except asyncio.CancelledError:
            assert port != ports[0]
        if session is not None:
            assert len(loop.run_until_complete(session.query("select 1"))) == 1
            loop.run_until_complete(session.close())
loop.run_until_complete(opened.close())
blocking.close()
loop.close()
end()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit()"])
def test_fork_does_not_disturb_connects_and_sessions(
    backend: str, leave: str, root: Path, ports: Mapping[str, int]
) -> None:
    """Parent and child can connect afterwards."""
    code = FORKING.replace("ROUNDS", str(repeat(2, 50))).replace("LEAVE", leave)
    Program(PREAMBLE + code, backend, root, 0, ports["honest"], ports["silent"]).assert_clean_exit()


FORK_IN_A_COROUTINE = """
async def main():
    tasks = [asyncio.ensure_future(AsyncSession.connect(target(ports[0]))) for _ in range(4)]
    await asyncio.sleep(random.uniform(0, 0.03))
    child = os.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", ""])
    for task in tasks:
        async with await task as session:
            assert len(await session.query("select 1")) == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

for _ in range(ROUNDS):
    asyncio.run(main())
end()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_and_exec_in_a_coroutine_does_not_disturb_connects(
    backend: str, root: Path, ports: Mapping[str, int]
) -> None:
    code = FORK_IN_A_COROUTINE.replace("ROUNDS", str(repeat(3, 50)))
    Program(PREAMBLE + code, backend, root, 0, ports["honest"]).assert_clean_exit()
