"""A thousand connects from one event loop, a hundred at a time: how long, how many failed, and what the loop missed.

Each run is a process of its own. A task in the same loop sleeps for a millisecond again and again and notes by how
much it overslept: a stall is time in which nothing else in that program would have been served. Two cores have the
server to serve too, so `quiet` is the same measurement of a loop that does nothing in a process beside such a storm:
what the machine itself costs. The document, besides what `babar_tls.bench.record` says::

    "parameters": {"rounds": …, "count": …, "concurrency": …, "through": "pgbouncer" | null},
    "cases": [{…, "seconds": summary of all connects' wall time, "cpu_per_connect": summary, "failed": …, "errors": […],
               "busy": part of all cores' time that anybody used, median | null,
               "stall": median of the ten worst, of the middle round, "worst_stall": likewise}],
    "quiet": {"stall": …, "worst_stall": …} | null
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from .children import run_job
from .clients import Loop, our_specs, usable
from .figures import ratio, summary, summary_of_known, target
from .peers import peer_specs
from .places import server_place
from .record import Record
from .spec import OURS, Spec, find

if TYPE_CHECKING:
    from collections.abc import Callable


_SPARE = 20  # connections that the server has beyond


def run(
    *,
    rounds: int = 3,
    count: int = 1000,
    concurrency: int = 100,
    dsn: str | None = None,
    through: str | None = None,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measure.

    Args:
        rounds: How often everything is measured.
        count: Connects of each client in a round.
        concurrency: How many at a time.
        dsn: The server, which must allow for as many and some more; `None` for one of our own.
        through: ``pgbouncer`` to put our own behind one.
        advance: Called with 1 after each round.

    Returns:
        The document; see above.
    """
    record = Record("storm", {"rounds": rounds, "count": count, "concurrency": concurrency, "through": through})
    with server_place(dsn, {"max_connections": str(concurrency + _SPARE)}, through=through) as place:
        with Loop() as loop:
            specs = [client.spec for client in usable(_specs(record), place, record, loop)]
        common = {"place": place.as_dict(), "count": count, "concurrency": concurrency}
        results: dict[str, list[dict[str, Any]]] = {spec.name: [] for spec in specs}
        quiet = []
        for number in range(rounds):
            first = number % len(specs) if specs else 0
            for spec in (*specs[first:], *specs[:first]):
                results[spec.name].append(run_job("storm", client=spec.as_dict(), **common))
            if specs:
                quiet.append(run_job("quiet", client=specs[0].as_dict(), **common))
            if advance is not None:
                advance(1)
    cases = [{**spec.as_dict(), "name": spec.name, **_figures(results[spec.name])} for spec in specs]
    return record.finish(cases, _targets(cases), server=place.version, quiet=_stalls(quiet) if quiet else None)


def _specs(record: Record) -> list[Spec]:
    # A storm is the first of a process more often than not, so no keys are remembered.
    return our_specs(record, style="asyncio", key_cache=False) + peer_specs(style="asyncio")


def _figures(results: list[dict[str, Any]]) -> dict[str, Any]:
    busy = summary_of_known(result["busy"] for result in results)
    return {
        "seconds": summary([result["seconds"] for result in results]),
        "cpu_per_connect": summary([result["cpu_per_connect"] for result in results]),
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


def _targets(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ours = find(cases, driver=OURS, backend="stdlib")
    asyncpg = find(cases, driver="asyncpg")

    def against_asyncpg(figure: Callable[[dict[str, Any]], float]) -> float | None:
        return ratio(figure(ours) if ours else None, figure(asyncpg) if asyncpg else None)

    return [
        target("failed connects", ours["failed"] if ours else None, unit="connects", at_most=0),
        target(
            "stall of the loop, median of the ten worst, against asyncpg",
            against_asyncpg(lambda case: case["stall"]),
            unit="times",
            at_most=0.07,
        ),
        target(
            "wall clock, against asyncpg",
            against_asyncpg(lambda case: case["seconds"]["median"]),
            unit="times",
            at_most=0.78,
        ),
    ]
