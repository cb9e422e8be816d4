"""Cancellation of asyncpg's queries: the CancelRequest passes through TLS only, and its failure causes no hang."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="tests of the asyncpg integration")

import asyncpg

from babar_tls import AsyncSession
from babar_tls.integrations import asyncpg as secured

from .asyncpg_clients import both_loops, config, resources, run
from .recording_relay import Relay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from babar_tls.testing import PostgresServer

pytestmark = both_loops

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
CANCEL_CODE = struct.pack("!i", 80877102)
#: The server ignores a cancel request that arrives before the query: then the next query waits for the end of this one.
SLEEP = "select pg_sleep(5)"


async def _by_wait_for(connection: Any) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.fetchval(SLEEP), 0.05)


async def _by_timeout(connection: Any) -> None:
    with pytest.raises(TimeoutError):
        await connection.fetchval(SLEEP, timeout=0.05)


async def _by_task(connection: Any) -> None:
    task = asyncio.ensure_future(connection.fetchval(SLEEP))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


VERSION = tuple(map(int, asyncpg.__version__.split(".")[:2]))
CLOSES = pytest.mark.skipif(
    VERSION < (0, 32),
    reason="asyncpg before 0.32 does not close the connection: it waits for the end of the query",
)
WAYS = pytest.mark.parametrize("cancel", [_by_wait_for, _by_timeout, _by_task])


def assert_encrypted(relay: Relay, connections: int) -> None:
    """Assert that every connection began with SSLRequest and ClientHello, and that no CancelRequest was readable."""
    assert len(relay.sent) == connections
    for sent in relay.sent:
        assert sent.startswith(SSL_REQUEST + b"\x16\x03")
        assert CANCEL_CODE not in sent


@WAYS
def test_cancel_request_is_only_sent_through_tls(
    server: PostgresServer, backend: str, loop: str, cancel: Callable[[Any], Awaitable[None]]
) -> None:
    async def main() -> None:
        with Relay(server) as relay:
            connection = await secured.connect(config(server, backend, port=relay.port))
            for _ in range(3):
                await cancel(connection)
                assert await asyncio.wait_for(connection.fetchval("select 1"), 10) == 1
            await connection.close()
            assert_encrypted(relay, 4)
            assert not connection._cancellations

    run(main, loop)


@WAYS
def test_cancel_request_of_a_pool_is_only_sent_through_tls(
    server: PostgresServer, backend: str, loop: str, cancel: Callable[[Any], Awaitable[None]]
) -> None:
    async def main() -> None:
        with Relay(server) as relay:
            async with secured.create_pool(config(server, backend, port=relay.port), min_size=2, max_size=2) as pool:
                await asyncio.gather(cancel(pool), cancel(pool))
                assert await asyncio.gather(*[pool.fetchval("select 1") for _ in range(4)]) == [1] * 4
            assert_encrypted(relay, 4)

    run(main, loop)


def test_driver_never_gets_the_key_of_the_server(server: PostgresServer, loop: str) -> None:
    async def main() -> None:
        session = await AsyncSession.connect(config(server))
        secret_key = session._secret_key
        stream = session.detach()
        try:
            assert secret_key not in stream.greeting
            assert stream.driver_key in stream.greeting
        finally:
            stream.close()

    run(main, loop)


@CLOSES
@WAYS
def test_failed_cancellation_closes_the_connection(
    server: PostgresServer, backend: str, loop: str, cancel: Callable[[Any], Awaitable[None]]
) -> None:
    async def main() -> None:
        with Relay(server) as relay:
            connection = await secured.connect(config(server, backend, port=relay.port))
            relay.refuses = True
            await cancel(connection)
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await asyncio.wait_for(connection.fetchval("select 1"), 10)
            assert connection.is_closed()
            assert not connection._cancellations

    run(main, loop)


@CLOSES
def test_failed_cancellation_leaves_a_pool_usable(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        with Relay(server) as relay:
            async with secured.create_pool(config(server, backend, port=relay.port), min_size=1, max_size=1) as pool:
                relay.refuses = True
                await _by_timeout(pool)
                relay.refuses = False
                assert await asyncio.wait_for(pool.fetchval("select 1"), 10) == 1

    run(main, loop)


def test_terminate_during_a_cancellation_leaves_nothing_behind(server: PostgresServer, backend: str, loop: str) -> None:
    before = resources()

    async def main() -> None:
        with Relay(server) as relay:
            connection = await secured.connect(config(server, backend, port=relay.port, connect_timeout=2))
            relay.fault = "stall"  # the cancel request is never answered
            task = asyncio.ensure_future(_by_timeout(connection))
            await asyncio.sleep(0.2)
            connection.terminate()
            await task
            assert connection.is_closed()

    run(main, loop)
    assert resources() == before


def test_close_during_a_query_cancels_it(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        pid = connection.get_server_pid()
        query = asyncio.ensure_future(connection.fetchval(SLEEP))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(connection.close(), 10)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
            await query
        while server.sql(f"select count(*) from pg_stat_activity where pid = {pid}") != "0":  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    run(main, loop)


def test_connects_that_fail_or_are_cancelled_leave_nothing_behind(
    server: PostgresServer, backend: str, loop: str
) -> None:
    """200 connects; a further 50 are refused, and 100 cancelled at random moments."""
    generator = random.Random(15)  # noqa: S311 - not a secret
    target = config(server, backend)

    async def connect(kind: str) -> None:
        if kind == "refused":
            with pytest.raises(asyncpg.InvalidPasswordError):
                await secured.connect(target, password="wrong")
        elif kind == "cancelled":
            task = asyncio.ensure_future(secured.connect(target))
            await asyncio.sleep(generator.random() * 0.03)
            if not task.cancel():
                await (await task).close()
            else:
                await asyncio.wait([task])
                if not task.cancelled():
                    await task.result().close()
        else:
            connection = await secured.connect(target)
            await (connection.close() if generator.random() < 0.5 else asyncio.sleep(0, connection.terminate()))

    async def main() -> None:
        if VERSION < (0, 32):  # asyncpg itself leaves a future with an exception if a connect is cancelled
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await connect("accepted")  # what is made once stays
        await connect("refused")
        before = resources()
        kinds = ["accepted"] * 200 + ["refused"] * 50 + ["cancelled"] * 100
        generator.shuffle(kinds)
        for start in range(0, len(kinds), 5):
            await asyncio.gather(*[connect(kind) for kind in kinds[start : start + 5]])
        for _ in range(100):
            if resources() == before:
                break
            await asyncio.sleep(0.05)
        assert resources() == before

    run(main, loop)
