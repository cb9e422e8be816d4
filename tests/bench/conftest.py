"""One document of each workload for all tests: runs too short to mean anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from babar_tls.bench import connect, handshake, kdf, memory, overview, roundtrips, scale, storm, stream

from .documents import Documents

RUNS = {
    "connect": lambda: connect.run(rounds=2, rtt=[1]),
    "handshake": lambda: handshake.run(rounds=2),
    "kdf": lambda: kdf.run(iterations=20, rounds=2),
    "stream": lambda: stream.run(rounds=1, megabytes=1, row_bytes=[1000]),
    "storm": lambda: storm.run(rounds=1, count=12, concurrency=4),
    "roundtrips": lambda: roundtrips.run(rounds=1, rtt=[1]),
    "memory": lambda: memory.run(rounds=1, sessions=4),
    "scale": lambda: scale.run(count=8),
}


@pytest.fixture(scope="session")
def documents(lasting_sockets: None) -> Documents:
    """Documents by the name of their workload, made when they are first asked for."""
    made = Documents(RUNS)
    made.runs["all"] = lambda: overview.run({name: made[name] for name in RUNS}, {"rounds": None})
    return made


@pytest.fixture(scope="session")
def lasting_sockets(pytestconfig: pytest.Config) -> None:
    """The pair of sockets that psqlpy's runtime keeps until the process ends is not what a test has left behind."""
    try:
        import psqlpy
        from psqlpy.exceptions import BaseConnectionPoolError
    except ImportError:
        return
    suite = pytestconfig.pluginmanager.get_plugin(str(Path(__file__).parents[1] / "conftest.py"))
    before = suite._sockets()

    async def begin() -> None:
        pool = psqlpy.connect_pool(dsn="postgres://nobody@127.0.0.1:1/nothing")
        with pytest.raises(BaseConnectionPoolError):
            await pool.connection()
        pool.close()

    asyncio.run(begin())
    pytestconfig.stash[suite.SOCKETS_BEFORE] |= set(suite._sockets()) - set(before)
