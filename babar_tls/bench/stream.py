"""``COPY … TO STDOUT`` over TLS: megabytes a second, and the client's CPU time for a gigabyte.

The server makes its rows as it sends them (``repeat``), each of them one CopyData message; the client looks at each
and forgets it. Small rows weigh each driver's work for a message, big ones that of TLS. The document, besides what
`babar_tls.bench.record` says::

    "parameters": {"rounds": …, "megabytes": …, "row_bytes": […], "through": "pgbouncer" | null},
    "cases": [{…, "row_bytes": …, "bytes": received, "wall": …, "cpu": …,
               "megabytes_per_second": by the median, "cpu_per_gigabyte": seconds, by the median}]

A megabyte is 10**6 bytes, a gigabyte 10**9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .clients import Loop, our_specs, usable
from .figures import ratio, target
from .peers import peer_specs
from .places import server_place
from .record import Record
from .spec import OURS, STYLES, Client, Spec, find
from .timing import PROCESS, Case, measure, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


#: Of a row, by default: small ones and big ones.
ROW_BYTES = (1000, 8000)


def run(
    *,
    rounds: int = 5,
    megabytes: int = 256,
    row_bytes: Sequence[int] = ROW_BYTES,
    dsn: str | None = None,
    through: str | None = None,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measure.

    Args:
        rounds: How often everything is measured.
        megabytes: How much each client receives at a time, of each size of rows.
        row_bytes: Sizes of rows, in bytes, without the line's end.
        dsn: The server, `None` for one of our own.
        through: ``pgbouncer`` to put our own behind one.
        advance: Called with 1 after each round.

    Returns:
        The document; see above.
    """
    record = Record(
        "stream", {"rounds": rounds, "megabytes": megabytes, "row_bytes": list(row_bytes), "through": through}
    )
    with server_place(dsn, through=through) as place, Loop() as loop:
        clients = usable(_specs(record), place, record, loop, _sql(1, 1))
        streams = [_Stream(client, loop, size, megabytes) for size in row_bytes for client in clients]
        series = measure([stream.case for stream in streams], rounds, advance)
    cases = []
    for stream in streams:
        figures = series[stream.case.name].as_dict()
        cases.append(
            {
                **stream.client.spec.as_dict(),
                "name": stream.case.name,
                "row_bytes": stream.row_bytes,
                "bytes": stream.received,
                **figures,
                "megabytes_per_second": stream.received / figures["wall"]["median"] / 1e6,
                "cpu_per_gigabyte": figures["cpu"]["median"] / stream.received * 1e9,
            }
        )
    targets = [wanted for size in row_bytes for wanted in _targets(cases, size)]
    return record.finish(cases, targets, server=place.version)


def _specs(record: Record) -> list[Spec]:
    ours = [spec for style in STYLES for spec in our_specs(record, style=style)]
    return ours + peer_specs(streams=True)


def _sql(row_bytes: int, rows: int) -> str:
    return f"copy (select repeat('x', {row_bytes}) from generate_series(1, {rows})) to stdout"  # noqa: S608 - numbers


class _Stream:
    """A client and what it is to receive; the connection is there before the clock runs."""

    def __init__(self, client: Client, loop: Loop, row_bytes: int, megabytes: int) -> None:
        self.client = client
        self.row_bytes = row_bytes
        self.received = 0
        self._loop = loop
        self._session: Any = None
        self._sql = _sql(row_bytes, max(1, megabytes * 10**6 // (row_bytes + 1)))
        self.case = Case(
            name=f"{client.spec.name}, rows of {row_bytes} bytes",
            prepare=self._open,
            call=self._receive,
            finish=self._close,
            clock=PROCESS,
        )

    def _open(self) -> None:
        self._session = self._loop.run(self.client.open())
        settle()

    def _receive(self) -> None:
        self.received = self._loop.run(self.client.stream(self._session, self._sql))

    def _close(self) -> None:
        self._loop.run(self.client.close(self._session))


def _targets(cases: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    cases = [case for case in cases if case["row_bytes"] == size]
    rates = [case["megabytes_per_second"] for case in cases if case["driver"] != OURS]
    psycopg = find(cases, driver="psycopg", style="blocking")
    targets = []
    for style in STYLES:
        ours = find(cases, backend="stdlib", style=style)
        rate, cpu = (ours["megabytes_per_second"], ours["cpu_per_gigabyte"]) if ours else (None, None)
        what = f"{style}, rows of {size} bytes"
        targets += [
            target(
                f"MB/s, against the best peer: {what}",
                ratio(rate, max(rates, default=None)),
                unit="times",
                at_least=0.97,
            ),
            target(
                f"CPU per GB, against psycopg's: {what}",
                ratio(cpu, psycopg["cpu_per_gigabyte"] if psycopg else None),
                unit="times",
                at_most=1.0,
            ),
        ]
    return targets
