"""Bulk data from a real server: complete, in order, in the messages of the server, for all sizes and readers."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import AsyncSession, Busy, Closed, ServerError, Session, TlsMode

from .drivers import BACKENDS, STYLES, connected

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

SIZES = [0, 1, 100, 2042, 2043, 8187, 8192, 16_384, 65_531, 300_000, 5_000_000, 3]
MODES = [TlsMode.DISABLE, TlsMode.REQUIRE]


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
def test_rows_of_any_size_are_returned_one_by_one(
    tls_server: PostgresServer, style: str, backend: str, mode: TlsMode
) -> None:
    sizes = ", ".join(map(str, SIZES))
    sql = f"copy (select repeat(chr(96 + n::int), s) from unnest(array[{sizes}]) with ordinality as t (s, n)) to stdout"
    with connected(tls_server.config(tls_backend=backend, tls_mode=mode), style) as session:
        for _ in range(2):
            rows = list(session.copy_to(sql))
            assert [len(row) for row in rows] == [size + 1 for size in SIZES]
            assert [row[:1] for row in rows[1:]] == [bytes([98 + n]) for n in range(len(SIZES) - 1)]
            assert all(row == row[:1] * (len(row) - 1) + b"\n" for row in rows[1:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_changing_size_are_complete(tls_server: PostgresServer, style: str, backend: str) -> None:
    sql = "copy (select repeat('x', (n * 7919) % 3001) || n from generate_series(1, 20000) n) to stdout"
    with connected(tls_server.config(tls_backend=backend), style) as session:
        for number, row in enumerate(session.copy_to(sql), 1):
            assert row == b"x" * (number * 7919 % 3001) + b"%d\n" % number
        assert number == 20_000


def test_many_rows_of_a_query_are_complete(tls_server: PostgresServer, style: str) -> None:
    sql = "select n, case when n % 3 = 0 then null else repeat('y', n % 50) end from generate_series(1, 50000) n"
    with connected(tls_server.config(), style) as session:
        rows = session.query(sql)
    assert rows == [(str(n), None if n % 3 == 0 else "y" * (n % 50)) for n in range(1, 50_001)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_before_an_error_are_returned_first(tls_server: PostgresServer, style: str, backend: str) -> None:
    """The session can be used afterwards."""
    with connected(tls_server.config(tls_backend=backend), style) as session:
        rows: list[bytes] = []
        with pytest.raises(ServerError, match="division by zero"):
            rows.extend(session.copy_to("copy (select n, 1 / (90000 - n) from generate_series(1, 100000) n) to stdout"))
        assert len(rows) == 89_999
        assert session.query("select 1") == [("1",)]


def test_cancel_ends_copy_after_the_data_on_its_way(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session:
        count = 0
        with pytest.raises(ServerError) as caught:  # noqa: PT012 - the cancellation is within
            for row in session.copy_to("copy (select generate_series(1, 100000000)) to stdout"):
                count += 1
                assert row == b"%d\n" % count
                if count == 1000:
                    session.cancel()
        assert caught.value.code == "57014"
        assert session.query("select 1") == [("1",)]


def test_terminated_server_process_is_no_end_of_copy(tls_server: PostgresServer, style: str) -> None:
    with connected(tls_server.config(), style) as session, Session.connect(tls_server.config()) as other:
        rows = iter(session.copy_to("copy (select generate_series(1, 100000000)) to stdout"))
        next(rows)
        other.query(f"select pg_terminate_backend({session.backend_pid})")
        with pytest.raises((ServerError, Closed)):
            for _ in rows:
                pass
        assert session.closed


def test_slow_reader_leaves_data_at_the_server(tls_server: PostgresServer) -> None:
    """The memory of the client does not grow."""

    async def main() -> int:
        count = 0
        async with await AsyncSession.connect(tls_server.config()) as session:
            tracemalloc.start()
            async for row in session.copy_to("copy (select repeat('x', 999) from generate_series(1, 40000)) to stdout"):
                assert len(row) == 1000
                if count < 20:
                    await asyncio.sleep(0.005)  # time enough for the loop to take in all, if it did
                count += 1
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        return count

    try:
        assert asyncio.run(main()) == 40_000
    finally:
        tracemalloc.stop()


def test_second_reader_of_copy_is_refused(tls_server: PostgresServer) -> None:
    """The first reader receives all data."""

    async def main() -> None:
        async with await AsyncSession.connect(tls_server.config()) as session:
            rows = session.copy_to("copy (select n from generate_series(1, 3) n, pg_sleep(0.2)) to stdout")
            first = asyncio.ensure_future(rows.__anext__())
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await rows.__anext__()
            assert [await first, *[row async for row in rows]] == [b"1\n", b"2\n", b"3\n"]

    asyncio.run(main())


def test_fast_reader_does_not_starve_other_tasks(tls_server: PostgresServer) -> None:
    async def main() -> None:
        turns = 0
        done = False

        async def others() -> None:
            nonlocal turns
            while not done:
                turns += 1
                await asyncio.sleep(0)

        async with await AsyncSession.connect(tls_server.config()) as session:
            task = asyncio.create_task(others())
            async for _ in session.copy_to("copy (select repeat('x', 9999) from generate_series(1, 5000)) to stdout"):
                pass
            done = True
            await task
        assert turns > 5

    asyncio.run(main())
