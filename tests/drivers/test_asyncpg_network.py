"""asyncpg over babar-tls when the network or the server fails: the error names the cause, and nothing hangs."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="tests of the asyncpg integration")

import asyncpg

import babar_tls
from babar_tls.integrations import asyncpg as secured
from babar_tls.testing import PostgresServer

from .asyncpg_clients import both_loops, causes, config, run
from .recording_relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = both_loops

LOST = asyncpg.ConnectionDoesNotExistError
BIG = "select repeat('x', 3000000)"
COPY = "select repeat('x', 1000) from generate_series(1, 20000)"


@pytest.fixture
def relay(server: PostgresServer) -> Iterator[Relay]:
    with Relay(server) as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Start a server that the test may kill."""
    with PostgresServer(roles={"app": "secret"}) as running:
        yield running


async def _fails_while_paused(connection: Any, fault: Any, expected: type[Exception] = LOST) -> Exception:
    """Cause a fault while a slow consumer of a COPY has paused reading; return the error of the COPY."""
    is_done = False

    async def consume(_data: bytes) -> None:
        nonlocal is_done
        if not is_done:
            is_done = True
            await asyncio.sleep(0.1)  # until the buffers of the operating systems are full
            await fault()
            await asyncio.sleep(0.3)

    with pytest.raises(expected) as caught:
        await connection.copy_from_query(COPY, output=consume)
    assert is_done
    assert connection.is_closed()
    return caught.value


def test_flipped_byte_is_reported_as_a_tls_error(server: PostgresServer, relay: Relay, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend, port=relay.port))
        relay.fault = "flip"
        with pytest.raises(LOST) as caught:
            await connection.fetchval(BIG)
        assert babar_tls.TlsError in causes(caught.value)
        assert "port of a PostgreSQL server" not in str(caught.value.__cause__)
        assert connection.is_closed()

    run(main, loop)


def test_end_without_close_notify_is_reported_as_closed(
    server: PostgresServer, relay: Relay, backend: str, loop: str
) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend, port=relay.port))
        relay.fault = "fin"
        with pytest.raises(LOST) as caught:
            await connection.fetchval("select pg_sleep(30)")
        assert babar_tls.Closed in causes(caught.value)
        assert "without ending TLS" in str(caught.value.__cause__)

    run(main, loop)


def test_reset_is_reported_as_closed(server: PostgresServer, relay: Relay, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend, port=relay.port))
        relay.fault = "reset"
        with pytest.raises(LOST) as caught:
            await connection.fetchval("select pg_sleep(30)")
        assert babar_tls.Closed in causes(caught.value)

    run(main, loop)


@pytest.mark.parametrize("fault", ["fin", "reset", "flip"])
def test_fault_while_reading_is_paused_is_reported(
    server: PostgresServer, relay: Relay, backend: str, loop: str, fault: str
) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend, port=relay.port))

        async def cause() -> None:
            relay.fault = fault

        error = await _fails_while_paused(connection, cause)
        assert (babar_tls.TlsError if fault == "flip" else babar_tls.Closed) in causes(error)

    run(main, loop)


def test_idle_connection_notices_the_end(server: PostgresServer, relay: Relay, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend, port=relay.port))
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())
        relay.fault = "fin"
        await closed.wait()
        with pytest.raises(asyncpg.InterfaceError):
            await connection.fetchval("select 1")

    run(main, loop)


def test_seven_bytes_at_a_time_are_accepted(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        with Relay(server, piece=7) as slow:
            connection = await secured.connect(config(server, backend, port=slow.port))
            assert len(await connection.fetchval("select repeat('x', 30000)")) == 30000
            await connection.close()

    run(main, loop)


def test_terminated_backend_keeps_its_cause(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        pid = connection.get_server_pid()
        query = asyncio.ensure_future(connection.fetchval("select pg_sleep(30)"))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.sql, f"select pg_terminate_backend({pid})")
        with pytest.raises((LOST, asyncpg.AdminShutdownError)) as caught:
            await query
        # asyncpg before 0.32 drops the server's message.
        expected = babar_tls.Closed if asyncpg.__version__ < "0.32" else asyncpg.AdminShutdownError
        assert expected in causes(caught.value)
        assert connection.is_closed()

    run(main, loop)


def test_backend_terminated_while_reading_is_paused_causes_no_hang(
    server: PostgresServer, backend: str, loop: str
) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        pid = connection.get_server_pid()

        async def terminate() -> None:
            await asyncio.to_thread(server.sql, f"select pg_terminate_backend({pid})")

        error = await _fails_while_paused(connection, terminate, Exception)
        assert {asyncpg.AdminShutdownError, babar_tls.Closed} & set(causes(error))

    run(main, loop)


def test_pool_reconnects_after_its_connections_were_terminated(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        async with secured.create_pool(config(server, backend), min_size=3, max_size=3) as pool:

            def pids() -> set[int]:
                return {holder._con.get_server_pid() for holder in pool._holders if holder.is_connected()}

            terminated = pids()
            assert len(terminated) == 3
            for pid in terminated:
                await asyncio.to_thread(server.sql, f"select pg_terminate_backend({pid})")
            while terminated & pids():  # noqa: ASYNC110 - a pool has no event for it
                await asyncio.sleep(0.01)
            assert await asyncio.gather(*[pool.fetchval("select 1") for _ in range(9)]) == [1] * 9

    run(main, loop)


def test_killed_server_fails_the_query_and_a_later_connect_succeeds(own_server: PostgresServer, loop: str) -> None:
    async def main() -> None:
        for backend in babar_tls.available_backends():
            connections = [await secured.connect(config(own_server, backend)) for _ in range(2)]
            query = asyncio.ensure_future(connections[0].fetchval("select pg_sleep(30)"))
            await asyncio.sleep(0.1)

            async def kill() -> None:
                pid = int((Path(own_server.data_dir) / "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGQUIT)

            error = await _fails_while_paused(connections[1], kill, Exception)
            assert {asyncpg.CrashShutdownError, babar_tls.Closed} & set(causes(error))
            with pytest.raises((LOST, asyncpg.CrashShutdownError, asyncpg.AdminShutdownError)):
                await query
            with pytest.raises(OSError, match=str(own_server.port)):
                await secured.connect(config(own_server, backend))
            await asyncio.to_thread(own_server.stop)
            await asyncio.to_thread(own_server.start)

    run(main, loop)
