"""What an open session costs in memory, each client in a fresh process that opens a hundred.

The document, besides what `babar_tls.bench.record` says::

    "parameters": {"rounds": …, "sessions": …, "through": "pgbouncer" | null},
    "cases": [{…, "resident": growth of the process in RAM for each open session, summary | null,
               "traced": what Python's own allocator has of it (ours), summary | null}]

Buffers that an engine keeps outside of Python's allocator are in the first figure alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .children import run_job
from .clients import Loop, our_specs, usable
from .figures import summary_of_known
from .machine import resident_bytes
from .peers import peer_specs
from .places import server_place
from .record import Record
from .spec import STYLES

if TYPE_CHECKING:
    from collections.abc import Callable


_WARMUP = 10  # sessions, so that what is loaded and cached at first does not count
_SPARE = 20


def run(
    *,
    rounds: int = 3,
    sessions: int = 100,
    dsn: str | None = None,
    through: str | None = None,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measure.

    Args:
        rounds: How often everything is measured.
        sessions: How many are open at a time.
        dsn: The server, which must allow for as many and a tenth more; `None` for one of our own.
        through: ``pgbouncer`` to put our own behind one.
        advance: Called with 1 after each round.

    Returns:
        The document; see above.
    """
    record = Record("memory", {"rounds": rounds, "sessions": sessions, "through": through})
    if resident_bytes() is None:
        record.miss("memory in RAM", "this system has no /proc/self/statm")
    settings = {"max_connections": str(sessions + sessions // 10 + _SPARE)}
    with server_place(dsn, settings, through=through) as place:
        with Loop() as loop:
            ours = [spec for style in STYLES for spec in our_specs(record, style=style)]
            specs = [client.spec for client in usable(ours + peer_specs(), place, record, loop)]
        results: dict[str, list[dict[str, Any]]] = {spec.name: [] for spec in specs}
        for _ in range(rounds):
            for spec in specs:
                job = {"client": spec.as_dict(), "place": place.as_dict(), "sessions": sessions, "warmup": _WARMUP}
                results[spec.name].append(run_job("memory", **job))
            if advance is not None:
                advance(1)
    cases = [
        {
            **spec.as_dict(),
            "name": spec.name,
            "resident": summary_of_known(result["resident"] for result in results[spec.name]),
            "traced": summary_of_known(result["traced"] for result in results[spec.name]),
        }
        for spec in specs
    ]
    return record.finish(cases, [], server=place.version)
