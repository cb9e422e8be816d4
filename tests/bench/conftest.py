"""One document of each workload for all tests, of very short runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from babar_tls.bench.workloads import all as all_workloads
from babar_tls.bench.workloads import connect, drivers, handshake, kdf, memory, roundtrips, scale, storm, stream

from .document_cache import DocumentCache

RUNS = {
    "connect": lambda: connect.measure(rounds=2, rtt=[1]),
    "handshake": lambda: handshake.measure(rounds=2),
    "kdf": lambda: kdf.measure(iterations=20, rounds=2),
    "stream": lambda: stream.measure(rounds=1, megabytes=1, row_bytes=[1000]),
    "storm": lambda: storm.measure(rounds=1, count=12, concurrency=4),
    "roundtrips": lambda: roundtrips.measure(rounds=1, rtt=[1]),
    "memory": lambda: memory.measure(rounds=1, sessions=4),
    "scale": lambda: scale.measure(count=8),
    "drivers": lambda: drivers.measure(rounds=1, queries=2, bulk=1, rows=10, pool=2, uvloop=True),
}


@pytest.fixture(scope="session")
def documents(lasting_sockets: None) -> DocumentCache:
    cache = DocumentCache(RUNS)
    cache.runs["all"] = lambda: all_workloads.combine({name: cache[name] for name in RUNS}, {"rounds": None})
    return cache


@pytest.fixture(scope="session")
def lasting_sockets(pytestconfig: pytest.Config) -> None:
    """Exclude the two sockets that psqlpy keeps until the process ends from the check for leaked sockets."""
    try:
        import psqlpy
        from psqlpy.exceptions import BaseConnectionPoolError
    except ImportError:
        return
    suite = pytestconfig.pluginmanager.get_plugin(str(Path(__file__).parents[1] / "conftest.py"))
    before = suite._sockets()

    async def begin() -> None:
        pool = psqlpy.connect_pool(dsn="postgres://app@127.0.0.1:1/nothing")
        with pytest.raises(BaseConnectionPoolError):
            await pool.connection()
        pool.close()

    asyncio.run(begin())
    pytestconfig.stash[suite.SOCKETS_BEFORE] |= set(suite._sockets()) - set(before)
