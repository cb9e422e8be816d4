"""asyncpg's operations over babar-tls, each on every backend and event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import warnings
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

import asyncpg

from babar_tls.integrations import asyncpg as secured

from .asyncpg_clients import both_loops, config, run

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

pytestmark = both_loops


class OwnRecord(asyncpg.Record):  # type: ignore[misc]  # asyncpg is untyped
    def __getattr__(self, name: str) -> Any:
        return self[name]


def test_values_of_all_sizes(server: PostgresServer, backend: str, loop: str) -> None:
    """Sizes around those of TLS records and of the receive buffer, in both directions."""

    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        for size in (0, 1, 16383, 16384, 16385, (1 << 18) - 1, (1 << 18) + 1, 3_000_000):
            value = (b"0123456789" * (size // 10 + 1))[:size]
            assert await connection.fetchval("select $1::bytea", value) == value
        await connection.close()

    run(main, loop)


def test_copy_in_and_out(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        await connection.execute("create temporary table numbers (n int, name text)")
        records = [(number, f"number {number}") for number in range(20_000)]
        assert await connection.copy_records_to_table("numbers", records=records) == "COPY 20000"
        assert await connection.fetchval("select sum(n) from numbers") == sum(range(20_000))
        received = io.BytesIO()
        result = await connection.copy_from_query("select n from numbers order by n", output=received)
        assert result == "COPY 20000"
        assert received.getvalue() == b"".join(b"%d\n" % number for number in range(20_000))
        source = io.BytesIO(b"".join(b"%d\tx\n" % number for number in range(1000)))
        assert await connection.copy_to_table("numbers", source=source) == "COPY 1000"
        with pytest.raises(asyncpg.BadCopyFileFormatError):
            await connection.copy_to_table("numbers", source=io.BytesIO(b"1\t2\t3\n"))
        assert await connection.fetchval("select count(*) from numbers") == 21_000
        await connection.close()

    run(main, loop)


def test_executemany_of_many_rows(server: PostgresServer, backend: str, loop: str) -> None:
    """Asyncpg pauses writing while the server does not read."""

    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        await connection.execute("create temporary table numbers (n int, name text)")
        rows = [(number, "x" * 100) for number in range(20_000)]
        await connection.executemany("insert into numbers values ($1, $2)", rows)
        counted = await connection.fetchrow("select count(*), sum(n), min(length(name)) from numbers")
        assert tuple(counted) == (20_000, sum(range(20_000)), 100)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.executemany("insert into numbers values (1 / $1, $2)", [(1, "x"), (0, "x"), (1, "x")])
        assert await connection.fetchval("select count(*) from numbers") == 20_000
        await connection.close()

    run(main, loop)


def test_cursors_and_transactions(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        async with connection.transaction():
            cursor = connection.cursor("select generate_series(1, 1000)", prefetch=7)
            assert [row[0] async for row in cursor] == list(range(1, 1001))
            position = await connection.cursor("select generate_series(1, 10)")
            await position.forward(5)
            assert [row[0] for row in await position.fetch(2)] == [6, 7]

        async def fail() -> None:
            async with connection.transaction():
                await connection.execute("create temporary table never (n int)")
                await connection.execute("select 1 / 0")

        with pytest.raises(asyncpg.DivisionByZeroError):
            await fail()
        assert await connection.fetchval("select to_regclass('pg_temp.never')") is None
        await connection.close()

    run(main, loop)


def test_notifications_notices_and_query_loggers(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        listening, sending = [await secured.connect(config(server, backend)) for _ in range(2)]
        notifications: asyncio.Queue[tuple[int, str, str]] = asyncio.Queue()
        notices: list[str] = []
        queries: list[str] = []
        listening.add_log_listener(lambda _connection, message: notices.append(message.message))
        await listening.add_listener("topic", lambda _connection, *event: notifications.put_nowait(event))
        with sending.query_logger(lambda record: queries.append(record.query)):
            await sending.execute("notify topic, 'hello'")
        pid = sending.get_server_pid()
        assert await notifications.get() == (pid, "topic", "hello")  # while no query runs
        await listening.execute("do $$ begin raise notice 'noticed'; raise warning 'warned'; end $$")
        await asyncio.sleep(0)
        assert notices == ["noticed", "warned"]
        assert queries == ["notify topic, 'hello'"]
        await listening.reset()
        await listening.close()
        await sending.close()

    run(main, loop)


def test_own_classes_and_settings_of_the_connection(server: PostgresServer, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(
            config(server),
            record_class=OwnRecord,
            command_timeout=0.05,
            statement_cache_size=0,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=100,
        )
        row = await connection.fetchrow("select 1 as number")
        assert type(row) is OwnRecord
        assert row.number == 1
        assert await connection.fetchval("select count(*) from pg_prepared_statements") == 0
        with pytest.raises(TimeoutError):
            await connection.execute("select pg_sleep(30)")
        assert await connection.fetchval("select 1", timeout=10) == 1
        await connection.close()

    run(main, loop)


def test_statement_timeout_leaves_the_connection_usable(server: PostgresServer, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server), server_settings={"statement_timeout": "50"})
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.fetchval("select pg_sleep(30)")
        assert await connection.fetchval("select 1") == 1
        await connection.close()

    run(main, loop)


def test_terminate_during_a_query_ends_it(server: PostgresServer, backend: str, loop: str) -> None:
    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        ended = []
        connection.add_termination_listener(lambda _connection: ended.append(True))
        query = asyncio.ensure_future(connection.fetchval("select pg_sleep(30)"))
        await asyncio.sleep(0.05)
        connection.terminate()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await query
        assert connection.is_closed()
        connection.terminate()
        await connection.close()
        await asyncio.sleep(0)
        assert ended == [True]

    run(main, loop)


def test_warnings_of_the_event_loop_in_debug_mode(server: PostgresServer, backend: str, loop: str) -> None:
    """Debug mode checks the threads of calls, and reports coroutines that were not awaited."""

    async def main() -> None:
        connection = await secured.connect(config(server, backend))
        with pytest.raises(TimeoutError):
            await connection.fetchval("select pg_sleep(30)", timeout=0.05)
        assert await connection.fetchval("select 1") == 1
        await connection.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main, loop, debug=True)


def test_event_loops_in_several_threads_share_no_data(server: PostgresServer, backend: str, loop: str) -> None:
    """The loops receive at the same time, and threads take receive buffers from one list."""

    def check(letter: str) -> None:
        async def main() -> None:
            connections = [await secured.connect(config(server, backend)) for _ in range(2)]
            for size in (10, 40_000, 1_000_000, 300_000):
                query = f"select repeat('{letter}', {size})"
                assert await asyncio.gather(*[each.fetchval(query) for each in connections]) == [letter * size] * 2
            for each in connections:
                await each.close()

        factory = pytest.importorskip(loop).new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:  # `run` changes the warnings of the whole process
            runner.run(main())

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        for future in [executor.submit(check, letter) for letter in "abcd"]:
            future.result()
