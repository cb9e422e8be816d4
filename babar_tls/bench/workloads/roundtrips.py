"""Network round trips until a session is ready, counted by a proxy, TCP's handshake included.

The document, besides the fields in `babar_tls.bench.document`::

    "parameters": {"rounds": …, "rtt": [milliseconds], "through": "pgbouncer" | null},
    "cases": [{…, "round_trips": the largest number after the first connect, "fewest": the smallest,
               "first": at the first connect to a server, without cached facts about it,
               "reported": `SecurityReport.round_trips` (only ours) | null, "agrees": at every connect | null,
               "at_rtt": {milliseconds: median seconds until ready}}]

babar-tls requires channel binding, so the server has only one way to authenticate. Then babar-tls sends the first
message of SCRAM together with the StartupMessage.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from ..client_spec import OURS, Client, Spec
from ..clients import Loop, add_missing, make, our_specs, usable
from ..document import DocumentBuilder
from ..network import CountingProxy, delayed
from ..peers import peer_specs
from ..server import benchmark_server, through_port
from ..tables import Table, milliseconds, number, short_name
from ..timing import Advance, no_progress
from ..workload import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...config import Config


def measure(
    *,
    rounds: int,
    rtt: Sequence[float] = (),
    dsn: str | None = None,
    through: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Count; `rtt` are additional round-trip times in milliseconds, with which each connect is timed."""
    document = DocumentBuilder("roundtrips", {"rounds": rounds, "rtt": list(rtt), "through": through})
    cases: dict[Spec, dict[str, Any]] = {}
    with benchmark_server(dsn, through=through) as server, Loop() as loop:
        ours = [spec for direct in (False, True) for spec in our_specs(document, direct=direct)]
        for spec in ours + peer_specs(direct=True):
            try:
                cases[spec] = _count(spec, server.config, loop, rounds)
            except Exception as exc:  # each driver has its own exceptions, and the other clients must be measured
                add_missing(document, spec, exc)
        advance(rounds)
        for delay in rtt:
            with delayed(server.config, delay / 1e3) as config:
                for client in usable(cases, config, document, loop):
                    cases[client.spec]["at_rtt"][f"{delay:g}"] = _seconds_until_ready(client, loop, rounds)
            advance(rounds)
    return document.finish(list(cases.values()), server=server.version)


def _count(spec: Spec, config: Config, loop: Loop, rounds: int) -> dict[str, Any]:
    """Connect once and `rounds` times more through a new proxy, so that the client has no cached facts."""
    counted, reported = [], []
    with CountingProxy(config.hostaddr or config.host, config.port) as proxy:
        client = make(spec, through_port(config, proxy.port))
        for _ in range(rounds + 1):
            proxy.take()
            session = loop.run(client.open())
            counted.append(proxy.take())
            if spec.driver == OURS:
                reported.append(session.security.round_trips)
            loop.run(client.close(session))
    first, *later = counted
    return {
        **spec.as_case(),
        "round_trips": max(later, default=first),
        "fewest": min(later, default=first),
        "first": first,
        "reported": reported[-1] if reported else None,
        "agrees": counted == reported if reported else None,
        "at_rtt": {},
    }


def _seconds_until_ready(client: Client, loop: Loop, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        session = loop.run(client.open())
        seconds.append(time.perf_counter() - before)
        loop.run(client.close(session))
    return statistics.median(seconds)


def tables(document: dict[str, Any]) -> list[Table]:
    """Return the table of all clients."""
    delays = document["parameters"]["rtt"]
    rows = [
        (
            short_name(case),
            " to ".join(dict.fromkeys([number(case["fewest"]), number(case["round_trips"])])),
            number(case["first"]),
            {True: "agrees", False: f"{case['reported']}", None: "-"}[case["agrees"]],
            *(milliseconds(case["at_rtt"].get(f"{rtt:g}"), 1) for rtt in delays),
        )
        for case in document["cases"]
    ]
    headings = ("client", "round trips", "first connect", "own count", *(f"ms, RTT {rtt:g}" for rtt in delays))
    return [Table("Round trips until ready, TCP's included, counted by a proxy", headings, rows)]


WORKLOAD = Workload(
    name="roundtrips",
    summary="network round trips until ready, counted by a proxy",
    measure=measure,
    tables=tables,
    rounds=5,
    quick_rounds=2,
    shared_options=("dsn", "through", "rtt"),
    steps=lambda rounds, distances: rounds * (1 + distances),
)
