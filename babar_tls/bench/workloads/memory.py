"""Memory of an open session; a separate process measures each client.

The document, besides the fields in `babar_tls.bench.document`::

    "parameters": {"rounds": …, "sessions": …, "through": "pgbouncer" | null},
    "cases": [{…, "resident": growth of the process in RAM for each open session, summary | null,
               "traced": the part that Python's allocator has allocated (only ours), summary | null}]

Buffers that a backend keeps outside of Python's allocator are only in the first figure.
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

from ..client_spec import OURS
from ..clients import Loop, make_in_child, our_specs, run_client_job, usable_specs
from ..document import DocumentBuilder
from ..machine import resident_bytes
from ..peers import peer_specs
from ..server import benchmark_server
from ..summaries import summary_of_known
from ..tables import Table, number, short_name
from ..timing import Advance, no_progress
from ..workload import Option, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..client_spec import Spec


_WARMUP = 10  # sessions that are not measured, because the first ones load modules and fill caches
_SPARE = 20  # connections


def measure(
    *,
    rounds: int,
    sessions: int,
    dsn: str | None = None,
    through: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Measure; the server must allow a tenth more connections than `sessions`."""
    document = DocumentBuilder("memory", {"rounds": rounds, "sessions": sessions, "through": through})
    if resident_bytes() is None:
        document.add_missing("memory in RAM", "/proc/self/statm does not exist on this system")
    settings = {"max_connections": str(sessions + sessions // 10 + _SPARE)}
    with benchmark_server(dsn, settings, through) as server:
        specs = usable_specs(our_specs(document) + peer_specs(), server.config, document)
        results: dict[Spec, list[dict[str, Any]]] = {spec: [] for spec in specs}
        for _ in range(rounds):
            for spec in specs:
                results[spec].append(run_client_job(measure_sessions, spec, server.config, sessions=sessions))
            advance(1)
    cases = []
    for spec, found in results.items():
        figures = {kind: summary_of_known(result[kind] for result in found) for kind in ("resident", "traced")}
        cases.append({**spec.as_case(), **figures})
    return document.finish(cases, server=server.version)


def measure_sessions(*, spec: dict[str, Any], conninfo: str, sessions: int) -> Iterator[dict[str, Any]]:
    """Yield the bytes of an open session in RAM and, only for ours, of Python's allocator; runs in a child process."""
    client = make_in_child(spec, conninfo)
    with Loop() as loop:
        for _ in range(_WARMUP):
            loop.connect_and_close(client)
        gc.collect()
        before = resident_bytes()
        held = [loop.run(client.open()) for _ in range(sessions)]
        gc.collect()
        after = resident_bytes()
        traced = None
        if client.spec.driver == OURS:
            tracemalloc.start()
            base = tracemalloc.get_traced_memory()[0]
            more = [loop.run(client.open()) for _ in range(max(1, sessions // 10))]
            gc.collect()
            traced = (tracemalloc.get_traced_memory()[0] - base) / len(more)
            tracemalloc.stop()
            held += more
        for session in held:
            loop.run(client.close(session))
    resident = None if before is None or after is None else (after - before) / sessions
    yield {"resident": resident, "traced": traced}


def tables(document: dict[str, Any]) -> list[Table]:
    """Return the table of all clients."""
    rows = [
        (
            short_name(case),
            *(number(case[kind] and case[kind]["median"], scale=1e-3) for kind in ("resident", "traced")),
        )
        for case in document["cases"]
    ]
    return [
        Table(
            f"Memory of an open session, KB ({document['parameters']['sessions']} open)",
            ("client", "in RAM", "allocated by Python"),
            rows,
            "Allocated memory can exceed memory in RAM, because pages that were never written to are not in RAM.",
        )
    ]


WORKLOAD = Workload(
    name="memory",
    summary="memory of an open session",
    measure=measure,
    tables=tables,
    rounds=3,
    quick_rounds=1,
    options=(Option("sessions", 100, "open at a time"),),
    shared_options=("dsn", "through"),
)
