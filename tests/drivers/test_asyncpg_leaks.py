"""Connections of asyncpg are freed at once, and no moment of a failure leaves anything open."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import asyncpg

from babar_tls import AsyncSession
from babar_tls.integrations import asyncpg as secured

from .asyncpg_clients import both_loops, config, resources, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import PostgresServer

pytestmark = both_loops

VERSION = tuple(map(int, asyncpg.__version__.split(".")[:2]))
reference_counting = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="only reference counting frees objects at once"
)


@pytest.fixture
def collector_is_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def until(condition: Any) -> None:
    """Wait until the condition is true; `run` limits the time."""
    while not condition():  # noqa: ASYNC110 - these states have no event
        await asyncio.sleep(0.01)


def parts(connection: Any) -> list[weakref.ref[Any]]:
    """Return weak references to a connection, and to what babar-tls adds to it."""
    transport = connection._transport
    return [weakref.ref(each) for each in (connection, transport, transport._stream, transport._tls)]


@reference_counting
@pytest.mark.usefixtures("collector_is_off")
@pytest.mark.parametrize("has_cancelled", [False, True])
def test_dropped_connection_is_freed_and_closed(
    server: PostgresServer, backend: str, loop: str, has_cancelled: bool
) -> None:
    """Asyncpg warns and closes it; a reference cycle would delay that until the next garbage collection."""

    async def main() -> None:
        before = resources()
        connection = await secured.connect(config(server, backend))
        assert await connection.fetchval("select 123") == 123
        if has_cancelled:
            with pytest.raises(TimeoutError):
                await connection.fetchval("select pg_sleep(30)", timeout=0.05)
            assert await connection.fetchval("select 1") == 1
        pid = connection.get_server_pid()
        protocol, references = connection._protocol, parts(connection)
        with pytest.warns(ResourceWarning, match="unclosed connection"):
            del connection
        assert references[0]() is None
        assert not protocol.is_connected()
        del protocol
        await until(lambda: resources() == before)
        freed = 2 if has_cancelled else 4  # asyncpg defines a class for each cancellation, which refers to the stream
        assert [reference() for reference in references[:freed]] == [None] * freed
        count = f"select count(*) from pg_stat_activity where pid = {pid}"
        await until(lambda: server.sql(count) == "0")

    run(main, loop)


@reference_counting
@pytest.mark.skipif(VERSION < (0, 32), reason="older versions of asyncpg keep closed connections in this test")
@pytest.mark.usefixtures("collector_is_off")
@pytest.mark.parametrize("end", ["close", "terminate", "pool"])
def test_closed_connection_is_freed(server: PostgresServer, backend: str, loop: str, end: str) -> None:
    async def main() -> None:
        before = resources()
        if end == "pool":
            async with secured.create_pool(config(server, backend), min_size=1, max_size=1) as pool:
                assert await pool.fetchval("select 1") == 1
                references = parts(pool._holders[0]._con)
            del pool
        else:
            connection = await secured.connect(config(server, backend))
            references = parts(connection)
            if end == "close":
                await connection.close()
            else:
                connection.terminate()
            del connection
        await until(lambda: resources() == before and not any(reference() for reference in references))

    run(main, loop)


@reference_counting
@pytest.mark.usefixtures("collector_is_off")
def test_refused_connections_leave_no_objects(server: PostgresServer, backend: str, loop: str) -> None:
    """An error with its traceback refers to the frames of the connect."""

    async def refuse() -> None:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await secured.connect(config(server, backend, password="wrong"))

    async def main() -> None:
        await refuse()
        before = resources()
        for _ in range(5):
            await refuse()
        await until(lambda: resources() == before)

    run(main, loop)


def test_cancellation_at_each_step_after_the_login(
    server: PostgresServer, backend: str, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `detach` on, the socket passes from the session to the stream, the event loop and asyncpg."""
    null = Path(os.devnull).stat()
    detach = AsyncSession.detach
    steps = 0  # iterations of the event loop from `detach` to the cancellation

    def detach_and_cancel(session: AsyncSession) -> Any:
        task = asyncio.current_task()
        assert task is not None

        def count(left: int) -> None:
            if left:
                session._connection.loop.call_soon(count, left - 1)
            else:
                task.cancel()

        count(steps)
        return detach(session)

    async def connect_and_cancel() -> bool:
        """Return True if the connection was ready before."""
        task = asyncio.ensure_future(secured.connect(config(server, backend)))
        await asyncio.wait([task])
        guards = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]  # with numbers that have become free
        try:
            if not task.cancelled():
                assert await task.result().fetchval("select 1") == 1
                await task.result().close()
            await asyncio.sleep(0.01)
            gc.collect()
            assert [os.path.samestat(os.fstat(each), null) for each in guards] == [True] * 3
        finally:
            for each in guards:
                os.close(each)
        return not task.cancelled()

    async def main() -> None:
        nonlocal steps
        if VERSION < (0, 32):  # asyncpg itself leaves a future with an exception if a connect is cancelled
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await (await secured.connect(config(server, backend))).close()
        monkeypatch.setattr(AsyncSession, "detach", detach_and_cancel)
        before = resources()
        while not await connect_and_cancel():
            await until(lambda: resources() == before)
            steps += 1
        await until(lambda: resources() == before)
        assert steps > 2

    run(main, loop)
