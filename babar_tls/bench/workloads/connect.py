"""Connect and close: TCP, TLS with verification, SCRAM, ReadyForQuery, Terminate.

Every driver verifies certificate chain and hostname; `babar_tls.bench.peers` describes their channel binding. `floor`
is not a driver but a minimal client of each TLS library; see `babar_tls.bench.floor`.

CPU time is that of the whole process, which includes native threads. Some clients continue work after they have
returned (psqlpy closes connections in the background), so each case begins when the process uses no more CPU time, and
each round has another order. With a simulated round-trip time a case ends when the session is ready.

The document, besides the fields in `babar_tls.bench.document`::

    "parameters": {"rounds": …, "far_rounds": with a simulated round-trip time, "rtt": [milliseconds],
                   "through": "pgbouncer" | null},
    "cases": [{…, "rtt": null | milliseconds, "wall": …, "cpu": …, "times_psycopg": {"wall": …, "cpu": …},
               "times_floor": {"wall": …, "cpu": …} (only ours with SSLRequest: the floor of the same TLS library),
               "timings": {phase: median seconds} (only ours)}]
"""

from __future__ import annotations

import statistics
from itertools import product
from typing import TYPE_CHECKING, Any

from ...diagnostics.counts import count
from ..client_spec import FLOOR, OURS, Client, Spec, find
from ..clients import Loop, our_specs, usable
from ..document import DocumentBuilder
from ..floor import floor_specs
from ..network import delayed
from ..peers import peer_specs
from ..server import benchmark_server
from ..summaries import ratios
from ..tables import Table, milliseconds, number, short_name, spread
from ..timing import PROCESS, Advance, Case, no_progress, settle, time_cases
from ..workload import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence


def measure(
    *,
    rounds: int,
    rtt: Sequence[float] = (),
    dsn: str | None = None,
    through: str | None = None,
    advance: Advance = no_progress,
) -> dict[str, Any]:
    """Measure connects; `rtt` are additional round-trip times in milliseconds."""
    far_rounds = _far_rounds(rounds)
    parameters = {"rounds": rounds, "far_rounds": far_rounds, "rtt": list(rtt), "through": through}
    document = DocumentBuilder("connect", parameters)
    with benchmark_server(dsn, through=through) as server, Loop() as loop:
        near = usable(_specs(document), server.config, document, loop)
        cases = _measure(near, loop, rounds, None, advance)
        for delay in rtt:
            with delayed(server.config, delay / 1e3) as config:
                far = usable([client.spec for client in near], config, document, loop)
                cases += _measure(far, loop, far_rounds, delay, advance)
    return document.finish(cases, server=server.version)


_THROUGH_POOLER = "The pooler terminates TLS, so the channel is not bound; babar-tls and psycopg require SCRAM."


def _far_rounds(rounds: int) -> int:
    """Return the rounds with a simulated round-trip time, in which a disturbance has less weight."""
    return -(-rounds // 5)


def _specs(document: DocumentBuilder) -> list[Spec]:
    ours: list[Spec] = []
    for direct, cached in product((False, True), repeat=2):
        ours += our_specs(document, direct=direct, key_cache=cached)
    backends = list(dict.fromkeys(spec.backend for spec in ours))
    ours.sort(key=lambda spec: (backends.index(spec.backend), spec.style == "asyncio"))
    return ours + peer_specs(direct=True) + floor_specs(backends)


def _measure(
    clients: Sequence[Client], loop: Loop, rounds: int, rtt: float | None, advance: Advance
) -> list[dict[str, Any]]:
    timings: dict[str, list[dict[str, float]]] = {client.spec.name: [] for client in clients}
    timed = [_case(client, loop, timings[client.spec.name], ready=rtt is not None) for client in clients]
    series = time_cases(timed, rounds, advance)
    cases = []
    for spec in (client.spec for client in clients):
        case = {**spec.as_case(), "rtt": rtt, **series[spec.name].as_dict(samples=True)}
        if rtt is not None:
            case["name"] = f"{spec.name}, {rtt:g} ms away"
        if phases := timings[spec.name]:
            case["timings"] = {phase: statistics.median(item[phase] for item in phases) for phase in phases[0]}
        cases.append(case)
    psycopg = find(cases, driver="psycopg", style="blocking", direct=False)
    for case in cases:
        case["times_psycopg"] = ratios(case, psycopg)
        if case["driver"] == OURS and not case["direct"]:
            floor = find(cases, driver=FLOOR, backend=case["backend"], key_cache=case["key_cache"])
            case["times_floor"] = ratios(case, floor)
    return cases


def _case(client: Client, loop: Loop, timings: list[dict[str, float]], *, ready: bool) -> Case:
    """Return a case of connect and close, or with `ready` of connect only."""
    sessions: list[Any] = []

    def call() -> None:
        sessions.append(loop.run(client.open()))
        if not ready:
            finish()

    def finish() -> None:
        while sessions:
            session = sessions.pop()
            loop.run(client.close(session))
            if client.spec.driver == OURS:
                timings.append(dict(session.security.timings))

    return Case(name=client.spec.name, prepare=settle, call=call, finish=finish, clock=PROCESS)


def tables(document: dict[str, Any]) -> list[Table]:
    """Return the tables of all clients, the floors, the phases, and the simulated round-trip times."""
    parameters = document["parameters"]
    near = [case for case in document["cases"] if case["rtt"] is None]
    found = [
        Table(
            "Connect: TCP, TLS verified in full, SCRAM, ready, closed",
            ("client", "ms", "p90", "p99", "CPU ms", "x psycopg", "its CPU"),
            [
                (
                    short_name(case),
                    *spread(case["wall"]),
                    milliseconds(case["cpu"]["median"]),
                    *(number(case["times_psycopg"][clock], 2) for clock in ("wall", "cpu")),
                )
                for case in near
            ],
            f"Medians of {count(parameters['rounds'], 'round')}, each of which measures all clients in turns. "
            f"{_THROUGH_POOLER if parameters.get('through') else 'babar-tls and psycopg bind the channel.'} A floor is "
            "not a driver: straight-line Python on one TLS library and the compiled helper, without deadlines, policy "
            "or errors.",
        )
    ]
    compared = [case for case in near if case.get("times_floor")]
    if compared:
        rows = [
            (short_name(case), *(number(case["times_floor"][clock], 2) for clock in ("wall", "cpu")))
            for case in compared
        ]
        note = "The time of a driver beyond the floor is the cost of its own code."
        found.append(Table("babar-tls and the floor of its TLS library", ("client", "x floor", "its CPU"), rows, note))
    phased = [case for case in near if case.get("timings") and not case["direct"] and not case["key_cache"]]
    if phased:
        phases = list(phased[0]["timings"])
        rows = [(short_name(case), *(milliseconds(case["timings"][phase]) for phase in phases)) for case in phased]
        found.append(Table("Phases of babar-tls, ms (SSLRequest, no cached keys)", ("client", *phases), rows))
    if parameters["rtt"]:
        found.append(_far_table(document))
    return found


def _far_table(document: dict[str, Any]) -> Table:
    delays = document["parameters"]["rtt"]
    found: dict[str, dict[float, str]] = {}
    for case in document["cases"]:
        if case["rtt"] is not None:
            name = short_name(case).removesuffix(f", {case['rtt']:g} ms away")
            found.setdefault(name, {})[case["rtt"]] = milliseconds(case["wall"]["median"], 1)
    rows = [(name, *(figures.get(rtt, "-") for rtt in delays)) for name, figures in found.items()]
    return Table("Across a network, ms until ready", ("client", *(f"RTT {rtt:g} ms" for rtt in delays)), rows)


WORKLOAD = Workload(
    name="connect",
    summary="connect and close, compared with psycopg, asyncpg, pg8000 and psqlpy",
    measure=measure,
    tables=tables,
    rounds=100,
    quick_rounds=10,
    shared_options=("dsn", "through", "rtt"),
    steps=lambda rounds, delays: rounds + _far_rounds(rounds) * delays,
)
