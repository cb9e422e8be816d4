"""Memory of asyncpg over babar-tls, measured in a process of its own, and use after a fork."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("asyncpg", reason="needs the extra asyncpg")

from babar_tls.integrations import asyncpg as secured

from .asyncpg_clients import both_loops, config, run, run_script

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

_MEASURE = """
import asyncio, resource, sys
from babar_tls.integrations import asyncpg as secured

async def cancel(connection, times):
    for _ in range(times):
        try:
            await connection.fetchval("select pg_sleep(0.3)", timeout=0.001)
        except TimeoutError:
            pass
        assert await connection.fetchval("select 1") == 1
        assert len(connection._cancellations) <= 1, connection._cancellations

async def main():
    connection = await secured.connect(sys.argv[2])
    await cancel(connection, 200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await cancel(connection, 1000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    await asyncio.sleep(0.1)
    assert not connection._cancellations
    await connection.close()

if sys.argv[1] == "uvloop":
    import uvloop
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
else:
    asyncio.run(main())
"""


@both_loops
def test_a_thousand_cancellations_need_less_than_two_megabytes(server: PostgresServer, loop: str) -> None:
    conninfo = server.conninfo(user="app", password="secret", channel_binding="require")
    assert int(run_script(_MEASURE, loop, conninfo)) < 2048  # kibibytes


_SLOW_SINK = """
import asyncio, resource, sys
from babar_tls.integrations import asyncpg as secured

async def main():
    connection = await secured.connect(sys.argv[1])
    async def sink(data):
        nonlocal size, pieces
        size += len(data)
        pieces += 1
        if pieces % 64 == 0:
            await asyncio.sleep(0.002)
    size = pieces = 0
    await connection.copy_from_query("select repeat('x', 10000) from generate_series(1, 1000)", output=sink)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await connection.copy_from_query("select repeat('x', 10000) from generate_series(1, 10000)", output=sink)
    assert size == 10001 * 11000
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    await connection.close()

asyncio.run(main())
"""


def test_slow_consumer_of_100_megabytes_needs_less_than_five(server: PostgresServer, backend: str) -> None:
    conninfo = server.conninfo(user="app", password="secret", channel_binding="require")
    script = _SLOW_SINK.replace("connect(sys.argv[1])", f"connect(sys.argv[1], tls_backend={backend!r})")
    assert int(run_script(script, conninfo)) < 5 * 1024  # kibibytes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_pool_works_in_a_forked_child(server: PostgresServer) -> None:
    async def main() -> None:
        async with secured.create_pool(config(server), min_size=1, max_size=1) as pool:
            assert await pool.fetchval("select 1") == 1

    run(main)
    child = os.fork()
    if not child:
        status = 1
        try:
            run(main)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run(main)
