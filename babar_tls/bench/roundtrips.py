"""How often a client waits for the network until it may send a query, counted by a proxy in between, TCP's included.

The document, besides what `babar_tls.bench.record` says::

    "parameters": {"rounds": …, "rtt": [milliseconds], "through": "pgbouncer" | null},
    "cases": [{…, "round_trips": the most that were counted after the first connect, "fewest": likewise,
               "first": of the first connect to a server, when nothing is known of it,
               "reported": what `SecurityReport.round_trips` says (ours) | null, "agrees": at every connect | null,
               "at_rtt": {milliseconds: median seconds until ready}}]

Ours insists on channel binding. So policy leaves the server one way to authenticate, which is what allows us to send
the first message of SCRAM before the server has asked for it.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from .clients import Loop, make, miss, our_specs, usable
from .figures import target
from .network import CountingProxy, delayed
from .peers import peer_specs
from .places import server_place
from .record import Record
from .spec import OURS, STYLES, Client, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .places import Place


_WANTED = {True: 4, False: 5}


def run(
    *,
    rounds: int = 5,
    rtt: Sequence[float] = (),
    dsn: str | None = None,
    through: str | None = None,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Count.

    Args:
        rounds: How often each client connects.
        rtt: Round-trip times to simulate as well, in milliseconds.
        dsn: The server, `None` for one of our own.
        through: ``pgbouncer`` to put our own behind one.
        advance: Called with 1 after each round, of which each round-trip time has as many again.

    Returns:
        The document; see above.
    """
    record = Record("roundtrips", {"rounds": rounds, "rtt": list(rtt), "through": through})
    with server_place(dsn, through=through) as place, Loop() as loop:
        counts = [_Count(spec) for spec in _specs(record)]
        for count in counts:
            try:
                count.run(place, loop, rounds)
            except Exception as exc:  # whatever a driver raises, the others are to be counted
                miss(record, count.spec, exc)
        if advance is not None:
            advance(rounds)
        cases = [count.as_dict() for count in counts if count.counted]
        for milliseconds in rtt:
            with delayed(place, milliseconds / 1e3) as far:
                for client in usable([count.spec for count in counts if count.counted], far, record, loop):
                    case = next(case for case in cases if case["name"] == client.spec.name)
                    case["at_rtt"][f"{milliseconds:g}"] = _until_ready(client, loop, rounds)
            if advance is not None:
                advance(rounds)
    return record.finish(cases, _targets(cases), server=place.version)


def _specs(record: Record) -> list[Spec]:
    ours = []
    for direct in (False, True):
        for style in STYLES:
            ours += our_specs(record, style=style, direct=direct)
    return ours + peer_specs(direct=True)


class _Count:
    """One client's, each through a proxy of its own: for all that the client knows, a server that it never saw."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.counted: list[int] = []
        self._reported: list[int] = []

    def run(self, place: Place, loop: Loop, rounds: int) -> None:
        """Connect once, and `rounds` times more."""
        with CountingProxy(place.address or place.host, place.port) as proxy:
            client = make(self.spec, place.through(proxy.port))
            for _ in range(rounds + 1):
                proxy.take()
                session = loop.run(client.open())
                self.counted.append(proxy.take())
                if self.spec.driver == OURS:
                    self._reported.append(session.security.round_trips)
                loop.run(client.close(session))

    def as_dict(self) -> dict[str, Any]:
        """The case."""
        first, *later = self.counted
        return {
            **self.spec.as_dict(),
            "name": self.spec.name,
            "round_trips": max(later, default=first),
            "fewest": min(later, default=first),
            "first": first,
            "reported": self._reported[-1] if self._reported else None,
            "agrees": self.counted == self._reported if self._reported else None,
            "at_rtt": {},
        }


def _until_ready(client: Client, loop: Loop, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        session = loop.run(client.open())
        seconds.append(time.perf_counter() - before)
        loop.run(client.close(session))
    return statistics.median(seconds)


def _targets(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ours = [case for case in cases if case["driver"] == OURS]
    targets = []
    for direct, wanted in _WANTED.items():
        most = max((case["round_trips"] for case in ours if case["direct"] is direct), default=None)
        name = "with direct TLS" if direct else "with SSLRequest"
        targets.append(target(f"most round trips of any engine, {name}", most, unit="round trips", at_most=wanted))
    wrong = sum(not case["agrees"] for case in ours) if ours else None
    targets.append(target("engines whose own count differs from the proxy's", wrong, unit="clients", at_most=0))
    return targets
