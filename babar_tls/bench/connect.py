"""From nothing to a ready session, and its end: TCP, TLS with verification, SCRAM, ready, closed.

Every driver verifies certificate chain and hostname; `babar_tls.bench.peers` says which of them bind the channel.
`floor` is not a driver but the minimum that the protocol requires, by each TLS library (`babar_tls.bench.floor`): the
difference is what a driver adds.

CPU time is that of the whole process, native threads included. Work that a client leaves behind (psqlpy closes
connections in the background) must not count for the next client: before each case the process comes to rest, and each
round has another order. The document, besides the fields in `babar_tls.bench.record`::

    "parameters": {"rounds": …, "far_rounds": with a simulated round trip, "rtt": [milliseconds],
                   "through": "pgbouncer" | null},
    "cases": [{…, "rtt": null | milliseconds, "wall": …, "cpu": …, "times_psycopg": {"wall": …, "cpu": …},
               "times_floor": {"wall": …, "cpu": …} (only ours by SSLRequest: the floor of the same TLS library),
               "timings": {phase: median seconds} (only ours)}]

With a simulated round trip of `rtt` a case ends when the session is ready: how a client says goodbye is not counted.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from .clients import Loop, our_specs, usable
from .figures import median, ratio, target
from .floor import floor_specs
from .network import delayed
from .peers import peer_specs
from .places import server_place
from .record import Record
from .spec import FLOOR, OURS, STYLES, Client, Spec, find
from .timing import PROCESS, Case, measure, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def run(
    *,
    rounds: int = 100,
    rtt: Sequence[float] = (),
    dsn: str | None = None,
    through: str | None = None,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measure.

    Args:
        rounds: How often everything is measured.
        rtt: Round-trip times to simulate as well, in milliseconds.
        dsn: The server, `None` for one of our own.
        through: ``pgbouncer`` to put our own behind one.
        advance: Called with 1 after each round, of which each round-trip time has `far_rounds`.

    Returns:
        The document; see above.
    """
    parameters = {"rounds": rounds, "far_rounds": far_rounds(rounds), "rtt": list(rtt), "through": through}
    record = Record("connect", parameters)
    with server_place(dsn, through=through) as place, Loop() as loop:
        near = usable(_specs(record), place, record, loop)
        cases = _measure(near, loop, rounds, None, advance)
        for milliseconds in rtt:
            with delayed(place, milliseconds / 1e3) as far:
                clients = usable([client.spec for client in near], far, record, loop)
                cases += _measure(clients, loop, far_rounds(rounds), milliseconds, advance)
    return record.finish(cases, _targets(cases), server=place.version)


def far_rounds(rounds: int) -> int:
    """How often is enough with a simulated round trip, beside which a disturbance is little."""
    return -(-rounds // 5)


def _specs(record: Record) -> list[Spec]:
    ours = []
    for style in STYLES:
        for direct in (False, True):
            for cached in (False, True):
                ours += our_specs(record, style=style, direct=direct, key_cache=cached)
    backends = list(dict.fromkeys(spec.backend for spec in ours))
    return sorted(ours, key=lambda spec: backends.index(spec.backend)) + peer_specs(direct=True) + floor_specs(backends)


def _measure(
    clients: Sequence[Client], loop: Loop, rounds: int, rtt: float | None, advance: Callable[[int], object] | None
) -> list[dict[str, Any]]:
    timings: dict[str, list[dict[str, float]]] = {client.spec.name: [] for client in clients}
    cases = [_case(client, loop, timings[client.spec.name], ready=rtt is not None) for client in clients]
    series = measure(cases, rounds, advance)
    described = []
    for client in clients:
        spec = client.spec
        name = spec.name if rtt is None else f"{spec.name}, {rtt:g} ms away"
        case: dict[str, Any] = {**spec.as_dict(), "name": name, "rtt": rtt}
        case.update(series[spec.name].as_dict(samples=True))
        if timings[spec.name]:
            case["timings"] = _medians(timings[spec.name])
        described.append(case)
    reference = find(described, driver="psycopg", style="blocking", direct=False)
    for case in described:
        case["times_psycopg"] = _times(case, reference)
        if case["driver"] == OURS and not case["direct"]:
            same = {"backend": case["backend"], "key_cache": case["key_cache"]}
            case["times_floor"] = _times(case, find(described, driver=FLOOR, **same))
    return described


def _times(case: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, float | None]:
    return {clock: ratio(median(case, clock), median(reference, clock)) for clock in ("wall", "cpu")}


def _case(client: Client, loop: Loop, timings: list[dict[str, float]], *, ready: bool) -> Case:
    """A connect and a close, or with `ready` a connect alone."""
    held: list[Any] = []

    def call() -> None:
        session = loop.run(client.open())
        held.append(session)
        if not ready:
            finish()

    def finish() -> None:
        while held:
            session = held.pop()
            loop.run(client.close(session))
            if client.spec.driver == OURS:
                timings.append(dict(session.security.timings))

    return Case(name=client.spec.name, prepare=settle, call=call, finish=finish, clock=PROCESS)


def _medians(timings: list[dict[str, float]]) -> dict[str, float]:
    return {phase: statistics.median(item[phase] for item in timings) for phase in timings[0]}


def _targets(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is wanted: of `stdlib`, the default backend, against its peers; of each backend against its floor."""
    near = [case for case in cases if case["rtt"] is None and not case["direct"]]
    ours = {
        cached: find(near, driver=OURS, backend="stdlib", style="blocking", key_cache=cached)
        for cached in (False, True)
    }
    ours_asyncio = find(near, driver=OURS, backend="stdlib", style="asyncio", key_cache=False)
    psycopg = find(near, driver="psycopg", style="blocking")
    peers = [case for case in near if case["driver"] not in (OURS, FLOOR)]

    def fastest(style: str) -> float | None:
        return min((case["wall"]["median"] for case in peers if case["style"] == style), default=None)

    def times_psycopg(clock: str, cached: bool) -> float | None:
        return ratio(median(ours[cached], clock), median(psycopg, clock))

    return [
        target("wall clock, against psycopg", times_psycopg("wall", False), unit="times", at_most=0.70),
        target("wall clock with cached keys, against psycopg", times_psycopg("wall", True), unit="times", at_most=0.62),
        target("client CPU, against psycopg", times_psycopg("cpu", False), unit="times", at_most=0.45),
        target("client CPU with cached keys, against psycopg", times_psycopg("cpu", True), unit="times", at_most=0.35),
        target(
            "wall clock, against the fastest blocking peer",
            ratio(median(ours[False], "wall"), fastest("blocking")),
            unit="times",
            at_most=1.0,
        ),
        target(
            "wall clock in asyncio, against the fastest asyncio peer",
            ratio(median(ours_asyncio, "wall"), fastest("asyncio")),
            unit="times",
            at_most=1.0,
        ),
        *(
            target(
                f"wall clock of {case['backend']}, against its floor",
                case["times_floor"]["wall"],
                unit="times",
                at_most=1.08,
            )
            for case in near
            if case["driver"] == OURS and case["style"] == "blocking" and not case["key_cache"]
        ),
    ]
