"""Many connects from one event loop at the same time: their duration, their failures, and the stalls of the event loop.

Each run is a separate process. A task in the same event loop repeatedly sleeps for a millisecond, and measures how much
later it continues. Such a stall delays all other tasks of the program. The server runs on the same cores, so
`quiet` is the same measurement in a process whose event loop is idle while another process connects: the stalls that
the machine causes. The document, besides the fields in `babar_tls.bench.document`::

    "parameters": {"rounds": …, "count": …, "concurrency": …, "through": "pgbouncer" | null},
    "cases": [{…, "seconds": summary of the time of all connects, "cpu_per_connect": summary, "failed": …,
               "errors": […], "busy": part of the time of all cores that all processes used, median | null,
               "stall": median of the ten longest, median of all rounds, "worst_stall": the longest, median}],
    "quiet": {"stall": …, "worst_stall": …} | null
"""

from __future__ import annotations

import asyncio
import inspect
import os
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from ...diagnostics.counts import count
from ..child_process import ChildProcess
from ..clients import make_in_child, our_specs, run_client_job, usable_specs
from ..document import DocumentBuilder
from ..machine import busy_seconds
from ..peers import peer_specs
from ..server import benchmark_server
from ..summaries import summary, summary_of_known
from ..tables import Table, milliseconds, number, short_name
from ..timing import Advance, no_progress
from ..workload import Option, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..client_spec import Client, Spec


_SPARE = 20  # connections
_TICK = 0.001  # seconds
_LONGEST = 10  # stalls
_MOST_ERRORS = 3  # different ones in a document


def measure(
    *,
    rounds: int,
    count: int = 1000,
    concurrency: int = 100,
    dsn: str | None = None,
    through: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Measure; each client connects `count` times in each round, `concurrency` times at the same time."""
    sizes = {"count": count, "concurrency": concurrency}
    document = DocumentBuilder("storm", {"rounds": rounds, **sizes, "through": through})
    with benchmark_server(dsn, {"max_connections": str(concurrency + _SPARE)}, through) as server:
        # In practice a storm follows the start of a process, so no keys are cached.
        specs = our_specs(document, ["asyncio"], key_cache=False) + peer_specs(style="asyncio")
        specs = usable_specs(specs, server.config, document)
        results: dict[Spec, list[dict[str, Any]]] = {spec: [] for spec in specs}
        quiet = []
        for number_of_round in range(rounds):
            first = number_of_round % len(specs) if specs else 0
            for spec in (*specs[first:], *specs[:first]):
                results[spec].append(run_client_job(connect_concurrently, spec, server.config, **sizes))
            if specs:
                quiet.append(run_client_job(measure_idle_loop, specs[0], server.config, **sizes))
            advance(1)
    cases = [{**spec.as_case(), **_figures(found)} for spec, found in results.items()]
    return document.finish(cases, server=server.version, quiet=_stalls(quiet) if quiet else None)


def _figures(results: list[dict[str, Any]]) -> dict[str, Any]:
    busy = summary_of_known(result["busy"] for result in results)
    return {
        **{name: summary([result[name] for result in results]) for name in ("seconds", "cpu_per_connect")},
        "busy": busy and busy["median"],
        "failed": sum(result["failed"] for result in results),
        "errors": list(dict.fromkeys(error for result in results for error in result["errors"])),
        **_stalls(results),
    }


def _stalls(results: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "stall": statistics.median(statistics.median(result["stalls"]) for result in results),
        "worst_stall": statistics.median(result["stalls"][0] for result in results),
    }


def connect_concurrently(
    *, spec: dict[str, Any], conninfo: str, count: int, concurrency: int
) -> Iterator[dict[str, Any]]:
    """Connect and close, and yield the figures; runs in a child process."""
    yield asyncio.run(_connect_concurrently(make_in_child(spec, conninfo), count, concurrency))


def measure_idle_loop(*, count: int, concurrency: int, **client: Any) -> Iterator[dict[str, Any]]:
    """Yield the stalls of an idle event loop while a child process of this child process connects."""
    with ChildProcess(connect_concurrently, count=count, concurrency=concurrency, **client) as child:
        done = threading.Event()

        def wait() -> None:
            try:
                child.result()
            finally:
                done.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        yield {"stalls": asyncio.run(_measure_stalls(done.is_set))}
        waiting.join()


async def _connect_concurrently(client: Client, count: int, concurrency: int) -> dict[str, Any]:
    failures: list[str] = []

    async def work(remaining: Iterator[int]) -> None:
        for _ in remaining:
            try:
                closing = client.close(await client.open())
                if inspect.isawaitable(closing):
                    await closing
            except Exception as exc:  # each driver has its own exceptions, and all count
                failures.append(f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}")

    await work(iter(range(2)))  # loads what is loaded at the first use
    failures.clear()
    finished = False
    measuring = asyncio.ensure_future(_measure_stalls(lambda: finished))
    await asyncio.sleep(0)
    busy = busy_seconds()
    wall, cpu = time.perf_counter(), time.process_time()
    remaining = iter(range(count))
    await asyncio.gather(*(work(remaining) for _ in range(min(concurrency, count))))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    busy_after = busy_seconds()
    finished = True
    return {
        "seconds": wall,
        "cpu_per_connect": cpu / count,
        "busy": None if busy is None or busy_after is None else (busy_after - busy) / wall / (os.cpu_count() or 1),
        "failed": len(failures),
        "errors": list(dict.fromkeys(failures))[:_MOST_ERRORS],
        "stalls": await measuring,
    }


async def _measure_stalls(is_finished: Callable[[], bool]) -> list[float]:
    """Return the longest stalls, the longest first."""
    stalls = []
    while not is_finished():
        before = time.perf_counter()
        await asyncio.sleep(_TICK)
        stalls.append(max(0.0, time.perf_counter() - before - _TICK))
    return sorted(stalls, reverse=True)[:_LONGEST] or [0.0]


def tables(document: dict[str, Any]) -> list[Table]:
    """Return the table of all clients and the idle event loop."""
    parameters, quiet = document["parameters"], document["quiet"]
    rows = [
        (
            short_name(case),
            number(case["seconds"]["median"], 2),
            milliseconds(case["cpu_per_connect"]["median"]),
            "-" if case.get("busy") is None else f"{case['busy']:.0%}",
            number(case["failed"]),
            milliseconds(case["stall"], 1),
            milliseconds(case["worst_stall"], 1),
        )
        for case in document["cases"]
    ]
    if quiet:
        idle = ("an idle event loop", "-", "-", "-", "-")
        rows.append((*idle, milliseconds(quiet["stall"], 1), milliseconds(quiet["worst_stall"], 1)))
    return [
        Table(
            f"{count(parameters['count'], 'connect')} from asyncio, {parameters['concurrency']} at a time",
            ("client", "seconds", "CPU ms each", "cores busy", "failed", "stall, ms", "worst, ms"),
            rows,
            "Cores busy: the part of the time of all cores that was used, also by the server; at 100 % a client can be "
            "faster only if it computes less. Stall: the delay of other tasks in the event loop, the median of the ten "
            "longest. The last line is a process whose event loop is idle while another process connects: the stalls "
            "that the machine causes.",
        )
    ]


WORKLOAD = Workload(
    name="storm",
    summary="a thousand connects from asyncio, a hundred at a time: duration, failures, stalls of the event loop",
    measure=measure,
    tables=tables,
    rounds=3,
    quick_rounds=1,
    options=(Option("concurrency", 100, "connects at a time"),),
    shared_options=("dsn", "through", "count"),
)
